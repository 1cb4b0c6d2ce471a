"""What the training commands share: where a run starts, where it writes, and the fit itself."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from xecgnn.config import RunConfig

if TYPE_CHECKING:
    import torch

    from xecgnn.training.data import EventDataModule
    from xecgnn.training.objective import Objective

__all__ = ["FinishedRun", "check_data", "prepare", "run_training"]

log = logging.getLogger("xecgnn.train")


class FinishedRun(NamedTuple):
    """A folder with checkpoints, and what is needed to add to it; only the main process goes on after a fit."""

    folder: Path
    is_main: bool
    device: torch.device
    loggers: list[Any]

    def report(self, text: str, files: list[Path], numbers: Mapping[str, float] | None = None) -> None:
        """Report the training, give what is drawn and the final numbers to MLflow, and say what there is to look at."""
        from xecgnn.training.metrics import METRICS, report_run
        from xecgnn.training.run import log_artifacts

        report_run(self.folder)
        log_artifacts(self.loggers, files, self.folder / METRICS, numbers or {})
        artifacts = "\n".join(f"  {path.name}" for path in sorted(self.folder.iterdir()))
        log.info("\n%s\n\nArtifacts in %s:\n%s", text, self.folder, artifacts)


def prepare(config: RunConfig) -> None:
    """Before the network is built: device, memory, seed."""
    import lightning.pytorch as pl

    from xecgnn.training import run

    run.pick_device(config.training.device)
    run.reuse_freed_memory()
    pl.seed_everything(config.seed, verbose=False)


def check_data(data: EventDataModule, detector: str) -> None:
    """Look at all files before anything is written; where there are none, say how to simulate some."""
    try:
        data.check()
    except FileNotFoundError as error:
        train_file, val_file = (_suggested_file(paths) for paths in (data.config.train_path, data.config.val_path))
        test = data.config.test_path
        simulate = "xecgnn-simulate" + ("" if detector == "meg2" else f" --detector {detector}")
        raise FileNotFoundError(
            f"{error}; simulated files to start with:\n"
            f"  {simulate} --events 20000 --seed 1 --output {train_file}\n"
            f"  {simulate} --events 2000 --seed 2 --output {val_file}"
            + (f"\n  {simulate} --events 2000 --seed 3 --output {_suggested_file(test)}" if test else "")
        ) from None


def run_training(
    config: RunConfig, kind: str, objective: Objective, data: EventDataModule, default_name: str
) -> FinishedRun:
    """Train as the settings say, and leave checkpoints in a folder.

    A `resume_from` that fits the settings is continued in its own folder; of any other only the weights are used.
    """
    from lightning.pytorch.utilities import rank_zero_only

    from xecgnn.training import checkpoint, resume, run
    from xecgnn.training.module import TrainingModule

    monitor = config.checkpoint.monitor
    run.check_monitor(monitor, objective.metric_names())

    # Where to start from, and where to write.
    resume_from = config.checkpoint.resume_from
    source = checkpoint.read_checkpoint(resume_from) if resume_from else {}
    continues = resume.is_continuation(source, kind, config.model_dump(mode="json"), data.detector)
    if source and not continues:
        resume.load_weights(objective.model, source, config.model_dump(mode="json"))
    elif config.training.freeze_encoder and not continues:
        raise ValueError("training.freeze_encoder: nothing to keep, checkpoint.resume_from names no checkpoint")
    if continues:
        folder = Path(str(resume_from)).parent
        log.info("Continuing %s after epoch %d.", folder, source["epoch"] + 1)
    else:
        folder = run.make_run_folder(config.checkpoint.artifacts_dir, config.run_name or run.dated(default_name))
    config.run_name = folder.name
    settings = config.model_dump(mode="json")
    if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
        (folder / "config.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))

    run_id = source[checkpoint.KEY].get("mlflow_run_id") if continues else None
    loggers = run.build_loggers(config.logging, folder.name, settings, run_id)
    info = checkpoint.describe_run(kind, settings, data.detector) | {"mlflow_run_id": run.mlflow_run_id(loggers)}
    trainer = run.build_trainer(config.training, folder, loggers, config.logging.progress_bar, monitor)
    module = TrainingModule(objective, config.training, config.seed, info, monitor)
    sizes = [(p.numel(), p.requires_grad) for p in objective.model.parameters()]
    millions, trained = (sum(size for size, free in sizes if free or not only) / 1e6 for only in (False, True))
    log.info(
        "%s for %s: %.2f M parameters, %.2f M of them trained",
        type(objective.model).__name__, data.detector.name, millions, trained,
    )  # fmt: skip
    run.fit(trainer, module, data, resume_from if continues else None)
    data.trainer = None  # the loaders that follow read all events, not one rank's share
    return FinishedRun(folder, trainer.is_global_zero, trainer.strategy.root_device, loggers)


def _suggested_file(paths: list[str]) -> str:
    name = Path(paths[0].replace("*", "simulated"))
    return str(name if name.suffix == ".root" else name / "simulated.root")
