"""xecgnn-train: train a network on ROOT files, compare it with the baselines, leave its artifacts in one folder."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from xecgnn.cli.command import parse_command, run_command
from xecgnn.config import TrainConfig, build_model
from xecgnn.names import TARGETS

if TYPE_CHECKING:
    from xecgnn.models import XECModel
    from xecgnn.tasks import SampleReweighter
    from xecgnn.training.data import EventDataModule

__all__ = ["main", "train"]

log = logging.getLogger("xecgnn.train")


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of `xecgnn-train`."""

    def command() -> None:
        config, path = parse_command(
            TrainConfig,
            argv,
            prog="xecgnn-train",
            description="Train a network that reconstructs the photon from ROOT files.",
            config=True,
        )
        train(config, default_name=Path(path or "train").stem)

    run_command(command)


def train(config: TrainConfig, default_name: str = "train") -> Path:
    """Train as the settings say; returns the folder with the artifacts.

    A `resume_from` that fits the settings is continued in its own folder; of any other only the weights are used.
    """
    import lightning.pytorch as pl
    from lightning.pytorch.utilities import rank_zero_only

    from xecgnn.evaluation import evaluate_run
    from xecgnn.tasks import SampleReweighter
    from xecgnn.training import checkpoint, run
    from xecgnn.training.data import EventDataModule
    from xecgnn.training.module import TrainingModule
    from xecgnn.training.objective import RegressionObjective

    run.pick_device(config.training.device)
    run.reuse_freed_memory()
    pl.seed_everything(config.seed, verbose=False)
    model = build_model(config)
    detector = model.detector
    data = EventDataModule(detector, config.data, config.seed, tasks=list(model.tasks))
    reweighter = SampleReweighter(config.reweighting)
    _fit_targets(data, model, reweighter, config.detector)

    # Where to start from, and where to write.
    resume_from = config.checkpoint.resume_from
    source = checkpoint.read_checkpoint(resume_from) if resume_from else {}
    continues = checkpoint.is_continuation(source, "regression", config.model_dump(mode="json"), detector)
    if continues:
        folder = Path(str(resume_from)).parent
        log.info("Continuing %s after epoch %d.", folder, source["epoch"] + 1)
    else:
        name = config.run_name or f"{default_name}_{datetime.now():%Y%m%d_%H%M%S}"
        folder = run.make_run_folder(config.checkpoint.artifacts_dir, name)
        if source:
            checkpoint.load_weights(model, source)
    config.run_name = folder.name
    settings = config.model_dump(mode="json")
    if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
        (folder / "config.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))

    # Train.
    run_id = source["xecgnn"].get("mlflow_run_id") if continues else None
    loggers = run.build_loggers(config.logging, folder.name, settings, run_id)
    info = checkpoint.describe_run("regression", settings, detector) | {"mlflow_run_id": run.mlflow_run_id(loggers)}
    trainer = run.build_trainer(config.training, folder, loggers, config.logging.progress_bar)
    objective = RegressionObjective(model, reweighter, config.training.compile)
    module = TrainingModule(objective, config.training, config.seed, info)
    log.info("%s", model)
    run.fit(trainer, module, data, resume_from if continues else None)

    # Look at the best weights, on rank 0 and over all events.
    if trainer.is_global_zero:
        best = checkpoint.load_model(folder / f"{run.BEST}.pth").to(trainer.strategy.root_device)
        data.trainer = None
        training = data.loader(config.data.train_path, shuffle=True, truth=[TARGETS[name] for name in model.tasks])
        result = evaluate_run(best, training, data.val_dataloader(), folder, folder.name)
        run.log_artifacts(loggers, result.files)
        artifacts = "\n".join(f"  {path.name}" for path in sorted(folder.iterdir()))
        log.info("\n%s\n\nArtifacts in %s:\n%s", result.table, folder, artifacts)
    return folder


def _fit_targets(data: EventDataModule, model: XECModel, reweighter: SampleReweighter, detector: str) -> None:
    """Scale the outputs of the network, and weight the events, by the targets of the training sample."""
    try:
        data.check()
        targets = data.training_targets()
    except FileNotFoundError as error:
        train_file, val_file = (_suggested_file(paths) for paths in (data.config.train_path, data.config.val_path))
        simulate = "xecgnn-simulate" + ("" if detector == "meg2" else f" --detector {detector}")
        raise FileNotFoundError(
            f"{error}; simulated files to start with:\n"
            f"  {simulate} --events 20000 --seed 1 --output {train_file}\n"
            f"  {simulate} --events 2000 --seed 2 --output {val_file}"
        ) from None
    for name in model.tasks:
        model.task(name).fit_scaling(targets[name])
    reweighter.fit(targets)


def _suggested_file(paths: list[str]) -> str:
    name = Path(paths[0].replace("*", "simulated"))
    return str(name if name.suffix == ".root" else name / "simulated.root")


if __name__ == "__main__":
    main()
