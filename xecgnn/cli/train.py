"""xecgnn-train: train a network on ROOT files, compare it with the baselines, leave its artifacts in one folder."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import yaml

from xecgnn.cli.command import parse_command, run_command
from xecgnn.config import TrainConfig, build_model

__all__ = ["main", "train"]

log = logging.getLogger(__name__)


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
    """Train as the settings say; returns the folder with the artifacts."""
    import lightning.pytorch as pl

    from xecgnn.evaluation import evaluate_run
    from xecgnn.training import checkpoint as ckpt
    from xecgnn.training import run
    from xecgnn.training.data import EventDataModule
    from xecgnn.training.module import TrainingModule
    from xecgnn.training.objective import RegressionObjective
    from xecgnn.training.targets import fit_targets

    run.pick_device(config.training.device)
    pl.seed_everything(config.seed, verbose=False)
    model = build_model(config)
    detector = model.detector
    data = EventDataModule(detector, config.data, config.seed)
    # Opens the files, so that a wrong path is reported before anything is created.
    log.info("Detector %s. Training events: %d, validation events: %d.", detector.name, data.num_train, data.num_val)

    source = ckpt.read_checkpoint(config.checkpoint.resume_from) if config.checkpoint.resume_from else None
    goes_on = source is not None and ckpt.is_continuation(source, "regression", config.model_dump(mode="json"), detector)
    if goes_on:
        folder = Path(str(config.checkpoint.resume_from)).parent
        config.run_name = folder.name
    else:
        config.run_name = config.run_name or f"{default_name}_{datetime.now():%Y%m%d_%H%M%S}"
        folder = run.make_run_folder(config.checkpoint.artifacts_dir, config.run_name)
        if source is not None:
            ckpt.load_weights(model, source)
    return folder
