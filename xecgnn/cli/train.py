"""xecgnn-train: train a network on ROOT files, compare it with the baselines, leave its artifacts in one folder."""

from __future__ import annotations

from pathlib import Path

from xecgnn.cli.command import command
from xecgnn.cli.training import prepare, run_training
from xecgnn.config import TrainConfig
from xecgnn.names import TARGETS

__all__ = ["main", "train"]


def train(config: TrainConfig, default_name: str = "train") -> Path:
    """Train as the settings say; returns the folder with the artifacts (see `find_start` for `checkpoint`)."""
    from xecgnn.evaluation.report import report
    from xecgnn.evaluation.run import evaluate_run
    from xecgnn.evaluation.runs import EvaluatedRun
    from xecgnn.tasks.reweighting import SampleReweighter
    from xecgnn.training.checkpoint import load_model
    from xecgnn.training.objective import RegressionObjective
    from xecgnn.training.run import BEST

    config, start, model, data = prepare(config)

    # The targets of the training sample scale the outputs of the network, and weight the events.
    targets = data.training_targets()
    for name in model.tasks:
        model.task(name).fit_scaling(targets[name])
    model.fit_readings(data.sample())
    reweighter = SampleReweighter(config.reweighting)
    reweighter.fit(targets)

    objective = RegressionObjective(model, reweighter, config.training.compile)
    run = run_training(config, start, objective, data, default_name)

    # Look at the best weights, over all events.
    if run.is_main:
        best = load_model(run.folder / f"{BEST}.pth").to(run.device)
        training = data.loader(config.data.train_path, shuffle=True, truth=[TARGETS[name] for name in model.tasks])
        evaluated = EvaluatedRun(run.folder)
        evaluate_run(best, training, data.test_dataloader(), evaluated, config.evaluation, data.references())
        run.report(*report(evaluated))
    return run.folder


main = command(
    TrainConfig,
    prog="xecgnn-train",
    description="Train a network that reconstructs the photon from ROOT files.",
    config=True,
)(train)


if __name__ == "__main__":
    main()
