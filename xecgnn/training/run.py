"""The surroundings of a training: its Lightning trainer, device and memory, and what happens on a signal."""

from __future__ import annotations

import ctypes
import logging
import platform
import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, LearningRateMonitor
from lightning.pytorch.loggers import Logger

from xecgnn.progress import show_bars
from xecgnn.signals import Ended, handled
from xecgnn.training.callbacks import CheckpointFiles, KeptCheckpoint, ShownProgress, StopAtSignal
from xecgnn.training.config import TrainingConfig
from xecgnn.training.ema import WarmEMA
from xecgnn.training.folder import BEST, LAST, newest_checkpoint
from xecgnn.training.metrics.callback import MetricsCallback
from xecgnn.training.metrics.history import METRICS

__all__ = ["build_trainer", "check_monitor", "fit", "pick_device", "reuse_freed_memory"]

log = logging.getLogger(__name__)

# Hints of Lightning about what is meant so. Whatever else it warns of is shown.
MEANT = (
    "The number of training batches", "Checkpoint directory .* exists", "Found .* in eval mode",
    "The .* does not have many workers", r"`isinstance\(treespec",
)  # fmt: skip


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


def check_monitor(monitor: str, known: list[str]) -> None:
    """Raise ValueError for a metric that cannot choose the best epoch."""
    if monitor not in known:
        allowed = ", ".join(known)
        raise ValueError(f"checkpoint.monitor: no metric {monitor!r} to choose an epoch by; allowed: {allowed}")


def build_trainer(
    config: TrainingConfig, folder: Path, loggers: Sequence[Logger], progress_bar: bool, monitor: str = "val_loss"
) -> pl.Trainer:
    """The one Lightning trainer: EMA, best (by `monitor`) and last checkpoint, system metrics, precision, devices."""
    accelerator = pick_device(config.device)
    devices = config.num_devices
    if accelerator == "gpu" and devices > torch.cuda.device_count():
        raise ValueError(f"training.num_devices: {devices} asked for, there are {torch.cuda.device_count()} GPUs")
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for hint in MEANT:
        warnings.filterwarnings("ignore", hint, module="lightning")
    show_bars(progress_bar)
    callbacks: list[Callback] = [
        KeptCheckpoint(folder, BEST, monitor),
        KeptCheckpoint(folder, LAST, None),
        MetricsCallback(folder / METRICS),
        ShownProgress(monitor),
        StopAtSignal(folder / f"{LAST}.pth"),
    ]
    if config.ema_decay >= 0:
        callbacks.insert(0, WarmEMA(config.ema_decay))
    if loggers:
        callbacks.append(LearningRateMonitor())
    return pl.Trainer(
        accelerator=accelerator,
        devices=devices,
        num_nodes=config.num_nodes,
        strategy="ddp" if devices * config.num_nodes > 1 else "auto",
        precision=_precision(config.amp, accelerator),
        max_epochs=config.epochs,
        gradient_clip_val=config.grad_clip or None,
        accumulate_grad_batches=config.grad_accum_steps,
        logger=list(loggers),
        callbacks=callbacks,
        plugins=[CheckpointFiles()],
        default_root_dir=str(folder),
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )


def fit(trainer: pl.Trainer, module: pl.LightningModule, data: pl.LightningDataModule, resume_from: str | None) -> None:
    """Train; signals end it as `StopAtSignal` says, and surface as `Ended` (Lightning ends the process with code 1).

    Several processes part at the end: what follows is for rank 0 alone.
    """
    stop = next(callback for callback in trainer.callbacks if isinstance(callback, StopAtSignal))  # type: ignore[attr-defined]
    try:
        with handled(stop.note):
            trainer.fit(module, datamodule=data, ckpt_path=resume_from, weights_only=True)
        if stop.number:
            raise Ended(stop.number)
    except (SystemExit, KeyboardInterrupt):
        if not (stop.number or trainer.interrupted):
            raise
        kept = newest_checkpoint(stop.path.parent)
        text = f"Continue with --resume_from {kept}" if kept else "Nothing to continue from: no step or epoch was done."
        log.info("\nEnded. %s", text)
        raise Ended(stop.number or signal.SIGINT) from None
    except BaseException:
        launcher = trainer.strategy.launcher
        if launcher is not None:  # the other processes would wait for this one
            launcher.kill(signal.SIGTERM)
        raise
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _precision(amp: str, accelerator: str) -> Any:
    if amp == "auto":
        amp = "bf16" if accelerator == "gpu" and torch.cuda.is_bf16_supported(including_emulation=False) else "none"
    return {"none": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}[amp]
