"""Weights that flatten the distribution of training targets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from xecgnn.tasks.config import ReweightingConfig
from xecgnn.tasks.registry import TASKS

__all__ = ["SampleReweighter", "TargetHistogram"]

MAX_WEIGHT = 10.0  # a rare event counts at most this many average ones


class TargetHistogram(nn.Module):
    """Weight of an event = 1 / population of its bin, at most MAX_WEIGHT, mean 1 over the fitted sample.

    Bins of equal width reach from the smallest to the largest target. Others take the nearest bin, NaN weighs 1.

    Args: `bins`, number of bins along each of the target's values.
    """

    low: Tensor
    width: Tensor
    weights: Tensor

    def __init__(self, bins: tuple[int, ...]) -> None:
        super().__init__()
        self.bins = bins
        self.register_buffer("low", torch.zeros(len(bins)))
        self.register_buffer("width", torch.ones(len(bins)))
        self.register_buffer("weights", torch.ones(bins).flatten())

    def extra_repr(self) -> str:
        return f"bins={self.bins}"

    def fit(self, targets: ArrayLike) -> None:
        """Count training targets (E, values) or (E,); rows that are not finite are left out."""
        values = torch.from_numpy(np.array(targets, dtype=np.float32)).reshape(-1, len(self.bins))
        values = values[values.isfinite().all(-1)]
        if len(values) == 0:
            raise ValueError("reweighting needs training targets, found none that is finite")
        low, high = values.min(0).values, values.max(0).values
        self.low.copy_(low)
        self.width.copy_(torch.where(high > low, (high - low) / torch.tensor(self.bins), 1.0))
        index = self._index(values)
        counts = torch.bincount(index, minlength=self.weights.numel()).double()
        weights = 1.0 / counts.clamp(min=1.0)  # an empty bin as one with a single event
        # Clipping lowers the mean, which raises the weights again: a few rounds settle it.
        for _ in range(20):
            weights = (weights * len(index) / (weights * counts).sum()).clamp(max=MAX_WEIGHT)
        self.weights.copy_(weights * len(index) / (weights * counts).sum())

    def forward(self, target: Tensor) -> Tensor:
        """Weights (B,) of targets (B, values)."""
        target = target.reshape(-1, len(self.bins))
        known = target.isfinite().all(-1)
        index = self._index(torch.where(known.unsqueeze(-1), target, self.low))
        return torch.where(known, self.weights[index], 1.0)

    def _index(self, values: Tensor) -> Tensor:
        """Flat bin number (E,) of finite values (E, n)."""
        index = torch.zeros(len(values), dtype=torch.int64, device=values.device)
        for column, bins in enumerate(self.bins):
            position = (values[:, column] - self.low[column]) / self.width[column]
            index = index * bins + position.clamp(0, bins - 1).long()
        return index


class SampleReweighter(nn.Module):
    """Weight per training event from the targets of one or more tasks: the product of their histograms' weights."""

    def __init__(self, config: ReweightingConfig) -> None:
        super().__init__()
        self.histograms = nn.ModuleDict()
        for name, group in config:
            if group.enabled:
                # A third value (w of u, v, w) has as many bins as the second.
                missing = TASKS[name].width - len(group.bins)
                self.histograms[name] = TargetHistogram((*group.bins, *group.bins[-1:] * missing))

    def fit(self, targets: Mapping[str, ArrayLike]) -> None:
        """Count training targets, {task: (E, width)} in physical units.

        Raises:
            KeyError: a target that is to be flattened is missing.
        """
        for name, histogram in self._items():
            if name not in targets:
                raise KeyError(f"reweighting.{name}: no such target; targets: {', '.join(targets) or 'none'}")
            histogram.fit(targets[name])

    def forward(self, targets: Mapping[str, Tensor]) -> Tensor | None:
        """Weights (B,) of a batch's targets, {task: (B, width)}; None if nothing is reweighted."""
        weight: Tensor | None = None
        for name, histogram in self._items():
            factor = histogram(targets[name])
            weight = factor if weight is None else weight * factor
        return weight

    def _items(self) -> Iterator[tuple[str, TargetHistogram]]:
        return ((name, module) for name, module in self.histograms.items() if isinstance(module, TargetHistogram))
