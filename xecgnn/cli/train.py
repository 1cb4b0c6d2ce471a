"""xecgnn-train: train a network on ROOT files, compare it with the baselines, leave its artifacts in one folder."""

from __future__ import annotations

import logging
from pathlib import Path

from xecgnn.cli.command import command
from xecgnn.cli.training import prepare, run_training
from xecgnn.config import TrainConfig
from xecgnn.names import TARGETS

__all__ = ["main", "train"]

log = logging.getLogger("xecgnn.train")


def train(config: TrainConfig, default_name: str = "train") -> Path:
    """Train as the settings say; returns the folder with the artifacts (see `find_start` for `checkpoint`)."""
    from xecgnn.evaluation.report import report
    from xecgnn.evaluation.run import evaluate_run
    from xecgnn.evaluation.runs import EvaluatedRun
    from xecgnn.tasks.reweighting import SampleReweighter
    from xecgnn.training.checkpoint import load_model
    from xecgnn.training.folder import BEST
    from xecgnn.training.objective import RegressionObjective

    config, start, model, data = prepare(config)

    # The targets of the training sample scale the outputs of the network, and weight the events.
    targets = data.training_targets()
    for name in model.tasks:
        model.task(name).fit_scaling(targets[name])
    model.fit_readings(data.sample())
    reweighter = SampleReweighter(config.reweighting)
    reweighter.fit(targets)

    objective = RegressionObjective(model, reweighter, config.training.compile)
    with run_training(config, start, objective, data, default_name) as run:
        # Look at the best weights, over all events.
        if run.is_main:
            checkpoint = run.folder / f"{BEST}.pth"
            best = load_model(checkpoint).to(run.device)
            training = data.loader(config.data.train_path, shuffle=True, truth=[TARGETS[name] for name in model.tasks])
            evaluated = EvaluatedRun(run.folder)
            evaluate_run(best, training, data.test_dataloader(), evaluated, config.evaluation, data.references())
            if config.export.onnx:
                _export(checkpoint, run.folder / f"{run.folder.name}.onnx")
            run.report(*report(evaluated))
    return run.folder


def _export(checkpoint: Path, output: Path) -> None:
    """Write the averaged network for other programs; a failure costs no more than that."""
    from xecgnn.export.config import ExportConfig
    from xecgnn.export.convert import export_checkpoint

    try:
        export_checkpoint(ExportConfig(checkpoint=checkpoint, output=output, overwrite=True))
    except Exception as error:
        log.warning("%s is not written: %s; to try again: xecgnn-export %s", output, error, checkpoint)


main = command(
    TrainConfig,
    prog="xecgnn-train",
    description="Train a network that reconstructs the photon from ROOT files.",
    config=True,
)(train)


if __name__ == "__main__":
    main()
