"""Numbers of each epoch, kept in a CSV and a JSON file that grow while the training runs."""

from __future__ import annotations

import csv
import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from xecgnn.output import completed, write_text
from xecgnn.training.metrics.history import CSV, METRICS, History, curves, read_metrics

__all__ = ["JSON", "EpochMetrics", "MetricsTracker", "compute_grad_norm", "is_first_process"]

log = logging.getLogger(__name__)

JSON = "training_metrics.json"
MB = 1e6
Scalar = float | Tensor


# Columns of the table. What does not exist here (no GPU, no averaged weights, batch size not told) has no value.
COLUMNS = {
    "epoch": "",
    "loss_mean": "of the batches of this epoch, in this process, as the next four",
    "loss_std": "",
    "loss_min": "",
    "loss_max": "",
    "loss_median": "",
    "lr": "of the last batch",
    "grad_norm": "L2 norm over all weights, before clipping: mean of the steps",
    "grad_norm_max": "the largest of them",
    "samples_per_sec": "over the time that training took, without validation",
    "batches_per_sec": "likewise",
    "gpu_allocated_mb": "at the end of the epoch",
    "gpu_reserved_mb": "likewise",
    "gpu_peak_mb": "since the process began",
    "ema_delta_norm": "L2 distance of the weights from their average",
    "epoch_time_sec": "with validation",
    "cumulative_time_sec": "of all epochs in the table",
}
STATISTICS: dict[str, Callable[[NDArray[np.float64]], np.floating]] = {
    "mean": np.mean, "std": np.std, "min": np.min, "max": np.max, "median": np.median,
}  # fmt: skip


class EpochMetrics(dict[str, float]):
    """One row of the table: those of COLUMNS that have a value, then others such as val_loss.

    COLUMNS are attributes as well, None without a value.
    """

    def __getattr__(self, name: str) -> float | None:
        if name not in COLUMNS:
            raise AttributeError(f"no column {name!r}; columns: {', '.join(COLUMNS)}")
        return self.get(name)

    @property
    def extra(self) -> dict[str, float]:
        """The columns that are not in COLUMNS."""
        return {name: value for name, value in self.items() if name not in COLUMNS}


class MetricsTracker:
    """Collects the numbers of a training loop.

    A table that is already in the folder is continued: `start_epoch` drops the rows of epochs that are done again.
    Tensors stay on their device until the epoch ends, so that logging never waits for a GPU. Of several processes only
    the first one writes.

    Args:
        output_dir: folder of training_metrics.csv and training_metrics.json; made when the first epoch ends.
    """

    def __init__(self, output_dir: str | Path) -> None:
        self.output_dir = Path(output_dir)
        rows = read_metrics(self.output_dir / CSV)
        self.history = [EpochMetrics(row | {"epoch": int(row["epoch"])}) for row in rows]
        self._header: list[str] = []  # of the file, once this tracker has written it
        self._epoch: int | None = None

    @property
    def curves(self) -> History:
        """What there is to draw."""
        return curves(self.history)

    @property
    def name(self) -> str:
        """Of the run: its folder, which may be the one around metrics/."""
        folder = self.output_dir.resolve()
        return folder.parent.name if folder.name == METRICS else folder.name

    def start_epoch(self, epoch: int) -> None:
        """Begin to measure an epoch; whatever was measured of an unfinished one is forgotten."""
        kept = [row for row in self.history if row["epoch"] < epoch]
        if len(kept) < len(self.history):
            log.info("%s: epochs from %d on are done again.", self.output_dir / CSV, epoch)
            self.history, self._header = kept, []
        self._epoch = epoch
        self._losses: list[Scalar] = []
        self._norms: list[Scalar] = []
        self._lr: Scalar | None = None
        self._samples = 0
        self._start = self._last = time.perf_counter()

    def log_batch(
        self, loss: Scalar, lr: Scalar | None = None, grad_norm: Scalar | None = None, batch_size: int | None = None
    ) -> None:
        """Add a batch. Without `batch_size` there is no throughput in samples; without a step no gradient norm."""
        if self._epoch is None:
            raise ValueError("log_batch: no epoch has begun; call start_epoch first")
        self._losses.append(_kept(loss))
        if grad_norm is not None:
            self._norms.append(_kept(grad_norm))
        self._lr = lr if lr is None else _kept(lr)
        self._samples += batch_size or 0
        self._last = time.perf_counter()

    def end_epoch(
        self,
        model: nn.Module | None = None,
        ema_model: nn.Module | None = None,
        metrics: Mapping[str, Scalar] | None = None,
    ) -> EpochMetrics:
        """Close the epoch and write its row.

        Args:
            model: the network; its device is the one whose memory is looked at.
            ema_model: network with averaged weights, the same parameters in the same order.
            metrics: further columns, for example {"val_loss": 0.1}; another epoch may have others.
        """
        if self._epoch is None:
            raise ValueError("end_epoch: no epoch has begun; call start_epoch first")
        losses, norms = _numbers(self._losses), _numbers(self._norms)  # waits for the GPU: before the clock is read
        norms = norms[np.isfinite(norms)]  # fp16 skips steps whose gradient is not
        now, training = time.perf_counter(), max(self._last - self._start, 1e-9)
        before = self.history[-1].get("cumulative_time_sec", 0.0) if self.history else 0.0
        measured: dict[str, float | None] = {
            "epoch": self._epoch,
            **{f"loss_{name}": float(statistic(losses)) for name, statistic in STATISTICS.items() if len(losses)},
            "lr": None if self._lr is None else float(self._lr),
            "grad_norm": float(norms.mean()) if len(norms) else None,
            "grad_norm_max": float(norms.max()) if len(norms) else None,
            "samples_per_sec": self._samples / training if self._samples else None,
            "batches_per_sec": len(losses) / training if len(losses) else None,
            **_gpu_memory(model),
            "ema_delta_norm": None if model is None or ema_model is None else _distance(model, ema_model),
            "epoch_time_sec": now - self._start,
            "cumulative_time_sec": before + now - self._start,
            **{name: float(value) for name, value in (metrics or {}).items()},
        }
        row = EpochMetrics((name, value) for name, value in measured.items() if value is not None)
        self.history.append(row)
        self._epoch = None
        if is_first_process():
            self._write()
        return row

    def _write(self) -> None:
        """Append the last row, or write the whole table if the file has other columns or rows."""
        self.output_dir.mkdir(parents=True, exist_ok=True)
        columns = list(dict.fromkeys([*COLUMNS, *(name for row in self.history for name in row)]))
        path = self.output_dir / CSV
        texts = [{name: f"{value:.7g}" for name, value in row.items()} for row in self.history]
        if columns == self._header:
            with path.open("a", newline="") as file:
                csv.DictWriter(file, columns).writerow(texts[-1])
        else:
            with completed(path) as part, part.open("w", newline="") as file:
                writer = csv.DictWriter(file, columns)
                writer.writeheader()
                writer.writerows(texts)
            self._header = columns
        rows = [{name: _rounded(row.get(name, math.nan)) for name in columns} for row in self.history]
        write_text(self.output_dir / JSON, json.dumps({"epochs": rows}, indent=1) + "\n")


def compute_grad_norm(model: nn.Module) -> Tensor:
    """L2 norm of all gradients of a model, as a scalar on its device; 0 without gradients."""
    return nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])


def is_first_process() -> bool:
    """Whether this process is the one that writes."""
    distributed = torch.distributed
    return not (distributed.is_available() and distributed.is_initialized()) or distributed.get_rank() == 0


def _kept(value: Scalar) -> Scalar:
    # A copy: learning rates are changed in place, and compiled networks use the memory of their outputs again.
    return value.detach().clone() if isinstance(value, Tensor) else float(value)


def _numbers(values: list[Scalar]) -> NDArray[np.float64]:
    """All values in one transfer."""
    device = next((value.device for value in values if isinstance(value, Tensor)), None)
    if device is None:
        return np.array(values, dtype=np.float64)
    return torch.stack([torch.as_tensor(v, device=device).reshape(()).float() for v in values]).cpu().double().numpy()


def _gpu_memory(model: nn.Module | None) -> dict[str, float]:
    """Memory in MB on the device of the model, or on the current one without a model; empty without a GPU."""
    device = None if model is None else next((weight.device for weight in model.parameters()), None)
    if not torch.cuda.is_initialized() or (device and device.type != "cuda"):
        return {}
    return {
        "gpu_allocated_mb": torch.cuda.memory_allocated(device) / MB,
        "gpu_reserved_mb": torch.cuda.memory_reserved(device) / MB,
        "gpu_peak_mb": torch.cuda.max_memory_allocated(device) / MB,
    }


@torch.no_grad()
def _distance(model: nn.Module, averaged: nn.Module) -> float:
    pairs = zip(model.parameters(), averaged.parameters(), strict=True)
    return float(nn.utils.get_total_norm([live - average.to(live.device) for live, average in pairs]))


def _rounded(value: float) -> float | None:
    """As in the CSV; JSON has no NaN."""
    if not math.isfinite(value):
        return None
    return value if isinstance(value, int) else float(f"{value:.7g}")
