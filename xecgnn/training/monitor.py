"""The `system/*` metrics: is the machine computing, waiting for data, or about to run out of memory?"""

from __future__ import annotations

import time
from typing import Any

import psutil
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

__all__ = ["SystemMonitor"]

GB = 1e9


class SystemMonitor(Callback):
    """Logs once per epoch the metrics of seed 000, with their names.

    Time between two batches is waiting for data; the rest of the epoch is computing. Nothing synchronises a GPU.
    """

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start = self._mark = time.perf_counter()
        self._waiting = 0.0
        self._events = 0
        self._batches = 0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._waiting += time.perf_counter() - self._mark

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._events += batch.num_graphs
        self._batches += 1
        self._mark = time.perf_counter()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._training_seconds = time.perf_counter() - getattr(self, "_start", time.perf_counter())

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        seconds = getattr(self, "_training_seconds", 0.0) or time.perf_counter() - self._start
        metrics = {
            "epoch_duration_sec": time.perf_counter() - self._start,
            "throughput_events_per_sec": self._events * trainer.world_size / seconds,
            "avg_data_load_sec": self._waiting / max(1, self._batches),
            "compute_efficiency": 1.0 - min(self._waiting / seconds, 1.0),
            "ram_used_gb": psutil.virtual_memory().used / GB,
            **_gpu_memory(pl_module.device),
        }
        for logger in trainer.loggers:
            logger.log_metrics({f"system/{name}": value for name, value in metrics.items()}, step=trainer.global_step)


def _gpu_memory(device: torch.device) -> dict[str, float]:
    if device.type != "cuda":
        return {}
    allocated, reserved = torch.cuda.memory_allocated(device), torch.cuda.memory_reserved(device)
    total = torch.cuda.get_device_properties(device).total_memory
    return {
        "memory_allocated_GB": allocated / GB,
        "memory_reserved_GB": reserved / GB,
        "memory_peak_GB": torch.cuda.max_memory_allocated(device) / GB,
        "gpu_utilization_pct": 100.0 * allocated / total,
        "memory_fragmentation": 1.0 - allocated / reserved if reserved else 0.0,
    }
