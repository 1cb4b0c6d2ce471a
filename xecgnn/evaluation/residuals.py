"""Statistics of many residuals in groups, as a stream: power sums and histograms, memory that does not grow."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

__all__ = ["GroupedResiduals", "ResidualStatistics", "floor_statistics"]

Floats = NDArray[np.floating]

# Edges of the histograms, the same below zero: steps of 5 %, between which quantiles are interpolated.
SIZES = np.geomspace(1e-3, 1e7, 481)
EDGES = np.concatenate([-SIZES[::-1], SIZES])


class ResidualStatistics(NamedTuple):
    """Of n residuals r = predicted - true, in their unit; NaN where there are none, or one is not finite.

    The errors take every residual as independent; those of one event share where its light comes from.
    """

    number: int
    bias: float  # mean of r
    bias_error: float  # its standard error
    mae: float  # mean of |r|
    rmse: float  # square root of the mean of r^2
    resolution_68: float  # 68 % quantile of |r|
    resolution_68_low: float  # its 68 % interval, from the order statistics
    resolution_68_high: float


class GroupedResiduals:
    """Residuals in an array of groups of the given shape; `where` indexes that array, and what it picks is joined."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.sums = np.zeros((*shape, 4))  # number, sum of r, |r|, r^2
        self.counts = np.zeros((*shape, len(EDGES) + 1), dtype=np.int64)

    def add(self, groups: tuple[Any, ...], residuals: Floats) -> None:
        """Add residuals (K,), each to the group that `groups`, one index (K,) per axis of the shape, says."""
        r = residuals.astype(np.float64)
        np.add.at(self.sums, groups, np.stack([np.ones_like(r), r, np.abs(r), r**2], -1))
        np.add.at(self.counts, (*groups, np.searchsorted(EDGES, r)), 1)

    def statistics(self, where: Any) -> ResidualStatistics:
        """Statistics of all residuals in some groups."""
        from xecgnn.tasks.metrics import QUANTILE  # torchmetrics brings matplotlib

        number, total, absolute, square = self.sums[where].reshape(-1, 4).sum(0)
        if number == 0 or not np.isfinite(square):
            return ResidualStatistics(int(number), *[np.nan] * 7)
        mean = total / number
        error = np.sqrt(max(square / number - mean**2, 0) / max(number - 1, 1))
        counts = self.counts[where].reshape(-1, self.counts.shape[-1]).sum(0)
        inner = len(SIZES)
        folded = counts[inner:] + counts[inner::-1]  # of |r|: below SIZES[0], between the sizes, above the last
        folded[0] = counts[inner]
        half = np.sqrt(QUANTILE * (1 - QUANTILE) / number)
        shares = np.clip([QUANTILE, QUANTILE - half, QUANTILE + half], 0, 1)
        below = np.concatenate([[0], np.cumsum(folded)[:-1]])
        widths = np.interp(shares * number, below, np.concatenate([[0.0], SIZES]))
        return ResidualStatistics(int(number), mean, error, absolute / number, np.sqrt(square / number), *widths)

    def histogram(self, where: Any, edges: Floats) -> Floats:
        """Numbers of residuals (n,) between edges (n + 1,), interpolated inside the bins of the stream."""
        below = np.cumsum(self.counts[where].reshape(-1, self.counts.shape[-1]).sum(0))[:-1]
        return np.diff(np.interp(edges, EDGES, below))


def floor_statistics(number: Floats, variance: Floats) -> dict[str, float]:
    """What normal residuals of given variances would leave: number (n,) of residuals that share the variance (n,)."""
    from xecgnn.tasks.metrics import QUANTILE

    sigma, number = np.sqrt(variance[number > 0]), number[number > 0]
    if not len(sigma) or np.isnan(sigma).any():
        return dict.fromkeys(("bias", "mae", "rmse", "resolution_68"), np.nan)
    share = number / number.sum()
    with np.errstate(divide="ignore"):
        inside = share @ erf(SIZES / sigma[:, None] / np.sqrt(2))  # share of the residuals within +-SIZES
    return {
        "bias": 0.0,
        "mae": float(share @ sigma) * np.sqrt(2 / np.pi),
        "rmse": float(np.sqrt(share @ sigma**2)),
        "resolution_68": float(np.interp(QUANTILE, inside, SIZES)),
    }
