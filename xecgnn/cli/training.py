"""What the training commands share: where a run starts, where it writes, and the fit itself."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from xecgnn.config import RunConfig, TrainConfig, from_anywhere
from xecgnn.output import write_text
from xecgnn.settings import to_yaml

if TYPE_CHECKING:
    import torch

    from xecgnn.training.data import EventDataModule
    from xecgnn.training.objective import Objective
    from xecgnn.training.resume import Start

__all__ = ["FinishedRun", "prepare", "run_training"]

log = logging.getLogger("xecgnn.train")

ConfigT = TypeVar("ConfigT", bound=RunConfig)


class FinishedRun(NamedTuple):
    """A folder with checkpoints, and what is needed to add to it; only the main process goes on after a fit."""

    folder: Path
    is_main: bool
    device: torch.device
    loggers: list[Any]

    def report(self, text: str, files: list[Path], numbers: Mapping[str, float] | None = None) -> None:
        """Give what is drawn and the final numbers to MLflow, and say what there is to look at."""
        from xecgnn.training.folder import LOCK
        from xecgnn.training.metrics.history import METRICS
        from xecgnn.training.tracking import log_artifacts

        log_artifacts(self.loggers, files, self.folder / METRICS, numbers or {})
        artifacts = "\n".join(f"  {path.name}" for path in sorted(self.folder.iterdir()) if path.name != LOCK)
        log.info("\n%s\n\nArtifacts in %s:\n%s", text, self.folder, artifacts)


def prepare(config: ConfigT) -> tuple[ConfigT, Start, Any, EventDataModule]:
    """Before anything is written: where the run starts, device, memory, seed; the network and its data, looked at.

    Returns:
        The settings, those of the run where one goes on (see `find_start`), the start, the network and the data.
    """
    import lightning.pytorch as pl

    from xecgnn.training import run
    from xecgnn.training.data import EventDataModule
    from xecgnn.training.kinds import build_model, kind_of
    from xecgnn.training.resume import find_start

    if isinstance(config, TrainConfig) and config.export.onnx:
        from xecgnn.export.runtime import require

        require("onnx", "onnxscript", "onnxruntime")
    config, start = find_start(config, kind_of(config))
    run.pick_device(config.training.device)
    run.reuse_freed_memory()
    pl.seed_everything(config.seed, verbose=False)
    model = build_model(config)
    tasks = list(model.tasks) if isinstance(config, TrainConfig) else []
    data = EventDataModule(model.detector, config.data, config.seed, tasks=tasks)
    try:
        data.check(config.training.num_devices * config.training.num_nodes)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}; simulated files to start with:\n{_simulated(config)}") from None
    return config, start, model, data


def _simulated(config: RunConfig) -> str:
    """Command lines that simulate what there should be."""
    command = "xecgnn-simulate" + ("" if config.detector == "meg2" else f" --detector {config.detector}")
    samples = [(20000, config.data.train_path), (2000, config.data.val_path), (2000, config.data.test_path)]
    lines = []
    for seed, (events, paths) in enumerate(samples, start=1):
        if paths:
            path = Path(paths[0].replace("*", "simulated"))
            output = path if path.suffix == ".root" else path / "simulated.root"
            lines.append(f"  {command} --events {events} --seed {seed} --output {output}")
    return "\n".join(lines)


@contextmanager
def run_training(
    config: RunConfig, start: Start, objective: Objective, data: EventDataModule, default_name: str
) -> Iterator[FinishedRun]:
    """Train as the settings say, from `start`, and leave checkpoints in a folder: a new one, or that of the run.

    The folder is this process's own until the `with` block ends.
    """
    with ExitStack() as locks:
        yield _trained(config, start, objective, data, default_name, locks)


def _trained(
    config: RunConfig, start: Start, objective: Objective, data: EventDataModule, default_name: str, locks: ExitStack
) -> FinishedRun:
    from lightning.pytorch.utilities import rank_zero_only

    from xecgnn.training import checkpoint, resume, run, tracking
    from xecgnn.training import folder as folders
    from xecgnn.training.module import TrainingModule
    from xecgnn.training.starts import add_start

    monitor = config.checkpoint.monitor
    run.check_monitor(monitor, objective.metric_names())

    # What to begin with, and where to write.
    source, artifacts = start.checkpoint, Path(config.checkpoint.artifacts_dir)
    resume.check_detector(source, data.detector)
    if start.continues:
        folder = folders.open_run_folder(start.continues.parent, locks, continues=True)
        log.info("Continuing %s after %s.", folder, resume.reached(source))
    else:
        if source:
            resume.load_weights(objective.model, source, config.model_dump(mode="json"))
        elif config.training.freeze_encoder:
            raise ValueError("training.freeze_encoder: nothing to keep, checkpoint.init_from names no checkpoint")
        folder = artifacts / (config.run_name or folders.dated(default_name))
        folder = folders.open_run_folder(folder, locks, new_name=not config.run_name)
    network = objective.model
    config.run_name = folder.name
    settings = from_anywhere(config.model_dump(mode="json"))
    if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
        folders.check_space(folder, sum(p.numel() * p.element_size() for p in network.parameters()))
        write_text(folder / "config.yaml", to_yaml(settings))
        add_start(folder, data.detector, data.files)

    run_id = source[checkpoint.KEY].get("mlflow_run_id") if start.continues else None
    name = str(folder.relative_to(artifacts)) if folder.is_relative_to(artifacts) else folder.name
    loggers = tracking.build_trackers(config.logging, name, settings, run_id)
    run_id = tracking.mlflow_run_id(loggers)
    info = checkpoint.describe_run(start.kind, settings, data.detector) | {"mlflow_run_id": run_id}
    trainer = run.build_trainer(config.training, folder, loggers, config.logging.progress_bar, monitor)
    module = TrainingModule(objective, config.training, config.seed, info, monitor)
    millions = sum(p.numel() for p in network.parameters()) / 1e6
    trained = sum(p.numel() for p in network.parameters() if p.requires_grad) / 1e6
    sizes = f"{millions:.2f} M parameters, {trained:.2f} M of them trained"
    log.info("%s for %s: %s", type(network).__name__, data.detector.name, sizes)
    run.fit(trainer, module, data, str(start.continues) if start.continues else None)
    data.trainer = None  # the loaders that follow read all events, not one rank's share
    return FinishedRun(folder, trainer.is_global_zero, trainer.strategy.root_device, loggers)
