"""Feeds the tracker from Lightning, and tells the loggers: is the machine computing, waiting, or short of memory?"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import psutil
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim import Optimizer

from xecgnn.data.batch import Readings
from xecgnn.training.ema import WarmEMA
from xecgnn.training.metrics.tracker import MB, EpochMetrics, MetricsTracker

__all__ = ["MetricsCallback"]

GB = 1e9
OTHERS = ("train_", "lr-")  # metrics of the trainer that the table has under names of its own


class MetricsCallback(Callback):
    """Keeps training_metrics.csv and .json in the folder of a run, and logs the `system/*` metrics of seed 000.

    The first process measures itself; its throughput counts the events of all. Time between two batches is waiting for
    data, the rest of the epoch is computing. Nothing waits for a GPU before the end of an epoch. The norm of the
    gradients is the one that the module keeps as `grad_norm` when it clips.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = folder

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._tracker = MetricsTracker(self.folder) if trainer.is_global_zero else None

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._tracker:
            self._tracker.start_epoch(trainer.current_epoch)
        self._batches = 0
        self._waiting = 0.0
        self._lr: float | None = None
        self._stepped = False
        self._start = self._mark = time.perf_counter()

    on_train_start = on_train_epoch_start  # a run that goes on in the middle of an epoch has no other

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Readings, batch_idx: int
    ) -> None:
        self._waiting += time.perf_counter() - self._mark

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        self._lr = max(group["lr"] for group in optimizer.param_groups)  # before the schedule changes it
        self._stepped = True

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Readings, batch_idx: int
    ) -> None:
        if self._tracker:
            loss = outputs["loss"] * trainer.accumulate_grad_batches  # Lightning has divided by it
            norm = getattr(pl_module, "grad_norm", None) if self._stepped else None
            self._tracker.log_batch(loss, self._lr, norm, len(batch) * trainer.world_size)
        self._stepped = False
        self._batches += 1
        self._training = time.perf_counter() - self._start
        self._mark = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # In every process: reading these sums them over all processes.
        measured = {name: v for name, v in trainer.callback_metrics.items() if not name.startswith(OTHERS)}
        if not self._tracker or not self._batches:
            return
        callbacks = trainer.callbacks  # type: ignore[attr-defined]
        averaged = [callback.average for callback in callbacks if isinstance(callback, WarmEMA)]
        row = self._tracker.end_epoch(pl_module, averaged[0] if averaged else None, measured)
        metrics = {
            "epoch_duration_sec": row["epoch_time_sec"],
            "throughput_events_per_sec": row["samples_per_sec"],
            "avg_data_load_sec": self._waiting / self._batches,
            "compute_efficiency": 1.0 - min(self._waiting / self._training, 1.0),
            "ram_used_gb": psutil.virtual_memory().used / GB,
            **_gpu_memory(row, pl_module.device),
        }
        for logger in trainer.loggers:
            logger.log_metrics({f"system/{name}": value for name, value in metrics.items()}, step=trainer.global_step)


def _gpu_memory(row: EpochMetrics, device: torch.device) -> dict[str, float]:
    if "gpu_peak_mb" not in row:
        return {}
    allocated, reserved = row["gpu_allocated_mb"], row["gpu_reserved_mb"]
    return {
        "memory_allocated_GB": allocated * MB / GB,
        "memory_reserved_GB": reserved * MB / GB,
        "memory_peak_GB": row["gpu_peak_mb"] * MB / GB,
        "gpu_utilization_pct": 100.0 * allocated * MB / torch.cuda.get_device_properties(device).total_memory,
        "memory_fragmentation": 1.0 - allocated / max(reserved, 1.0),
    }
