"""Metrics of a whole epoch: sums and counts (or all errors, for a quantile), so that batches and ranks do not matter.

Keys are `<quantity>_<statistic>`. They are logged under these names, resolutions and accuracies with `val_` before them
(seed 000). Quantities are the axes of the task: theta, phi (deg), energy (MeV), time (ps), u, v, w (mm). With
r = predicted - true:

    <q>_bias            mean of r
    <q>_rms             standard deviation of r (the seeds' definition: the bias is taken out)
    <q>_skew            third central moment of r / rms^3
    <q>_resolution_68   68 % quantile of |r| (time, u, v, w), of |r| / E in % (energy)
    resolution_deg      68 % quantile of the opening angle in degrees (angle, angleVec)
    n_gamma_accuracy    share of events with the right class

Events whose target is not finite do not count. A prediction that is not finite makes the metric NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from xecgnn.estimate import QUANTILE

__all__ = ["Accuracy", "Moments", "Resolution", "quantile_68"]


def quantile_68(errors: Tensor) -> Tensor:
    """68 % quantile over the first dimension, interpolated as NumPy does; NaN if a value is NaN or there is none.

    (`torch.quantile` refuses more than 16 million values.)
    """
    if len(errors) == 0:
        return errors.new_full(errors.shape[1:], float("nan"))
    position = QUANTILE * (len(errors) - 1)
    ordered = errors.sort(0).values  # NaN sorts last: it must be looked for
    low, high = ordered[int(position)], ordered[min(int(position) + 1, len(errors) - 1)]
    return torch.where(ordered[-1].isnan(), ordered[-1], torch.lerp(low, high, position - int(position)))


class Moments(Metric):
    """Bias, RMS and skewness of residuals from power sums.

    Args: `names` of the residual's columns; `residuals(prediction, target)` -> (B, len(names)).
    """

    full_state_update = False
    sums: Tensor
    count: Tensor

    def __init__(self, names: Sequence[str], residuals: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.names, self.residuals = tuple(names), residuals
        self.add_state("sums", torch.zeros(3, len(self.names), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, target: Tensor) -> None:
        residual = self.residuals(*finite_targets(prediction, target))
        self.sums += torch.stack([residual.pow(power).sum(0) for power in (1, 2, 3)])
        self.count += len(residual)

    def compute(self) -> dict[str, Tensor]:
        mean, square, cube = self.sums / self.count
        variance = (square - mean**2).clamp(min=0)
        third = cube - 3 * mean * square + 2 * mean**3
        statistics = {"bias": mean, "rms": variance.sqrt(), "skew": third / variance.pow(1.5)}
        return {f"{name}_{key}": value[i] for i, name in enumerate(self.names) for key, value in statistics.items()}


class Resolution(Metric):
    """68 % quantile of absolute errors, over all events of the epoch.

    Args: `keys` of the error's columns; `errors(prediction, target)` -> (B, len(keys)), not negative.
    """

    full_state_update = False
    errors: list[Tensor]

    def __init__(self, keys: Sequence[str], errors: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.keys, self.function = tuple(keys), errors
        self.add_state("errors", [], dist_reduce_fx="cat")

    def update(self, prediction: Tensor, target: Tensor) -> None:
        self.errors.append(self.function(*finite_targets(prediction, target)))

    def compute(self) -> dict[str, Tensor]:
        # After a reduction over ranks the state is one tensor, before it a list.
        none = torch.empty(0, len(self.keys))
        errors = self.errors if isinstance(self.errors, Tensor) else torch.cat(self.errors or [none])
        return dict(zip(self.keys, quantile_68(errors), strict=True))


class Accuracy(Metric):
    """Share of events whose most probable class (B, classes) is the target (B,)."""

    full_state_update = False
    correct: Tensor
    count: Tensor

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key
        self.add_state("correct", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, target: Tensor) -> None:
        target = target.reshape(len(prediction))
        known = (target >= 0) & (target < prediction.shape[-1])  # False for NaN
        self.correct += ((prediction.argmax(-1) == target) & known).sum()
        self.count += known.sum()

    def compute(self) -> dict[str, Tensor]:
        return {self.key: self.correct / self.count}


def finite_targets(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The events (rows) whose target is finite, in float64: (n, width) each."""
    target = target.reshape(prediction.shape)
    finite = target.isfinite().all(-1)
    return prediction[finite].double(), target[finite].double()
