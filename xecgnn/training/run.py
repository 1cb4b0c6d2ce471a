"""The surroundings of a training: its folder, its loggers, its Lightning trainer, and what happens on Ctrl-C."""

from __future__ import annotations

import ctypes
import logging
import platform
import signal
import sys
import warnings
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from filelock import FileLock
from lightning.pytorch.callbacks import Callback, LearningRateMonitor, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from xecgnn.settings import flattened
from xecgnn.tasks.ranking import direction
from xecgnn.training.config import LoggingConfig, TrainingConfig
from xecgnn.training.ema import WarmEMA
from xecgnn.training.metrics.callback import MetricsCallback
from xecgnn.training.metrics.history import METRICS

__all__ = [
    "BEST",
    "LAST",
    "build_loggers",
    "build_trainer",
    "check_monitor",
    "dated",
    "fit",
    "log_artifacts",
    "make_run_folder",
    "mlflow_run_id",
    "pick_device",
    "reuse_freed_memory",
]

log = logging.getLogger(__name__)

BEST, LAST = "checkpoint_best", "checkpoint_last"


def make_run_folder(artifacts_dir: str, run_name: str) -> Path:
    """A new folder artifacts_dir/run_name, made by rank 0; one with results in it is never written into."""
    folder = Path(artifacts_dir) / run_name
    if rank_zero_only.rank != 0:  # type: ignore[attr-defined]
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    last = folder / f"{LAST}.pth"
    if {path.name for path in folder.iterdir()} - {"config.yaml", METRICS}:  # what a run without a checkpoint leaves
        hint = f", or continue it with --resume_from {last}" if last.exists() else ""
        raise FileExistsError(f"{folder} exists; choose another --run_name{hint}")
    return folder


def dated(name: str) -> str:
    """A run name of its own: name, date and time."""
    return f"{name}_{datetime.now():%Y%m%d_%H%M%S}"


def reuse_freed_memory() -> None:
    """Ask glibc to keep freed memory. By default large blocks go back to the system after every layer, and the next
    one pays for fresh pages: about a fifth of a training step on a CPU. Does nothing elsewhere.
    """
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(-4, 0)  # M_MMAP_MAX: no block of its own mapping
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD


def pick_device(wanted: str) -> str:
    """Lightning's accelerator for a `training.device` setting; asking for a missing GPU is an error."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ValueError("training.device: 'cuda' asked for, but torch sees no GPU; allowed here: auto, cpu")
    return "gpu" if wanted != "cpu" and torch.cuda.is_available() else "cpu"


def build_loggers(
    config: LoggingConfig, run_name: str, params: Mapping[str, Any], run_id: str | None = None
) -> list[Logger]:
    """MLflow and TensorBoard loggers.

    Args:
        params: nested settings, logged flat once.
        run_id: MLflow run to go on with; its parameters are already there.
    """
    loggers: list[Logger] = []
    if config.tensorboard:
        loggers.append(TensorBoardLogger(config.tensorboard_dir, name="", version=run_name))
    if config.mlflow:
        for name in ("mlflow", "alembic"):  # silences the list of database migrations
            logging.getLogger(name).setLevel(logging.WARNING)
        with FileLock(Path("mlruns.db.lock").resolve()):  # the first use creates the database: parallel jobs would race
            if run_id is not None and not _has_run(config.mlflow_uri, run_id):
                log.warning("MLflow run %s is not in %s: a new one is started.", run_id, config.mlflow_uri)
                run_id = None
            store = MLFlowLogger(
                config.experiment,
                run_name=run_name,
                tracking_uri=config.mlflow_uri,
                artifact_location=Path("mlruns").resolve().as_uri(),
                run_id=run_id,
            )
            _ = store.experiment, store.run_id
        if run_id is None:
            store.log_hyperparams(flattened(params))
        loggers.append(store)
    return loggers


def _has_run(uri: str, run_id: str) -> bool:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        MlflowClient(uri).get_run(run_id)
    except MlflowException:
        return False
    return True


def mlflow_run_id(loggers: list[Logger]) -> str | None:
    """The MLflow run of a list of loggers, if any."""
    return next((logger.run_id for logger in loggers if isinstance(logger, MLFlowLogger)), None)


def log_artifacts(loggers: list[Logger], files: list[Path], metrics: Path, numbers: Mapping[str, float]) -> None:
    """Copy the plots of a run, the folder with its metrics, and the numbers at its end to MLflow."""
    for logger in loggers:
        if isinstance(logger, MLFlowLogger):
            for path in files:
                if path.suffix == ".pdf":
                    logger.experiment.log_artifact(logger.run_id, str(path))
            logger.experiment.log_artifacts(logger.run_id, str(metrics), METRICS)
            for name, value in numbers.items():
                logger.experiment.log_metric(logger.run_id, name, value)


def check_monitor(monitor: str, known: list[str]) -> None:
    """Raise ValueError for a metric that cannot choose the best epoch."""
    if monitor not in known:
        allowed = ", ".join(known)
        raise ValueError(f"checkpoint.monitor: no metric {monitor!r} to choose an epoch by; allowed: {allowed}")


def build_trainer(
    config: TrainingConfig, folder: Path, loggers: list[Logger], progress_bar: bool, monitor: str = "val_loss"
) -> pl.Trainer:
    """The one Lightning trainer: EMA, best (by `monitor`) and last checkpoint, system metrics, precision, devices."""
    accelerator = pick_device(config.device)
    devices = config.num_devices
    if accelerator == "gpu" and devices > torch.cuda.device_count():
        raise ValueError(f"training.num_devices: {devices} asked for, there are {torch.cuda.device_count()} GPUs")
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings(
        "ignore", module="lightning"
    )  # hints about workers, folders and intervals chosen on purpose
    callbacks: list[Callback] = [
        _checkpoint(folder, BEST, monitor),
        _checkpoint(folder, LAST, None),
        MetricsCallback(folder / METRICS),
    ]
    if config.ema_decay >= 0:
        callbacks.insert(0, WarmEMA(config.ema_decay))
    if loggers:
        callbacks.append(LearningRateMonitor())
    if progress_bar:
        callbacks.append(_ProgressBar())
    return pl.Trainer(
        accelerator=accelerator,
        devices=devices,
        num_nodes=config.num_nodes,
        strategy="ddp" if devices * config.num_nodes > 1 else "auto",
        precision=_precision(config.amp, accelerator),
        max_epochs=config.epochs,
        gradient_clip_val=config.grad_clip or None,
        accumulate_grad_batches=config.grad_accum_steps,
        logger=loggers,
        callbacks=callbacks,
        default_root_dir=str(folder),
        enable_progress_bar=progress_bar,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )


def fit(trainer: pl.Trainer, module: pl.LightningModule, data: pl.LightningDataModule, resume_from: str | None) -> None:
    """Train; Ctrl-C surfaces as KeyboardInterrupt (Lightning itself would end the process with code 1).

    Several processes part at the end: what follows is for rank 0 alone.
    """
    try:
        trainer.fit(module, datamodule=data, ckpt_path=resume_from, weights_only=True)
    except SystemExit:
        if not trainer.interrupted:
            raise
        kept = Path(trainer.default_root_dir) / f"{LAST}.pth"
        log.info("\nInterrupted. %s", f"Continue with --resume_from {kept}" if kept.exists() else "No epoch done yet.")
        raise KeyboardInterrupt from None
    except BaseException:
        launcher = trainer.strategy.launcher
        if launcher is not None:  # the other processes would wait for this one
            launcher.kill(signal.SIGTERM)
        raise
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _checkpoint(folder: Path, name: str, monitor: str | None) -> ModelCheckpoint:
    """Keeps one file: that of the best `monitor`, or the newest. (`save_last` would skip epochs without a new best.)"""
    callback = ModelCheckpoint(
        dirpath=folder, filename=name, monitor=monitor, mode=direction(monitor or ""), save_on_train_epoch_end=True,
        enable_version_counter=False,
    )  # fmt: skip
    callback.FILE_EXTENSION = ".pth"
    return callback


def _precision(amp: str, accelerator: str) -> Any:
    if amp == "auto":
        amp = "bf16" if accelerator == "gpu" and torch.cuda.is_bf16_supported() else "none"
    return {"none": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}[amp]


class _ProgressBar(TQDMProgressBar):
    """One line per epoch that stays; nothing in between where the output is a file."""

    def __init__(self) -> None:
        super().__init__(refresh_rate=1 if sys.stdout.isatty() else 1_000_000, leave=True)

    def init_validation_tqdm(self) -> Any:
        bar = super().init_validation_tqdm()
        bar.disable = True
        return bar

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        return {name: value for name, value in super().get_metrics(trainer, pl_module).items() if name != "v_num"}
