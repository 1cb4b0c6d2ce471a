"""Statistics of many residuals in groups, as a stream: power sums and histograms, memory that does not grow."""

from __future__ import annotations

import math
from types import EllipsisType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from xecgnn.estimate import QUANTILE, Estimate, ranks

__all__ = ["METRICS", "GroupedResiduals", "Where", "floor_estimates"]

Floats = NDArray[np.floating]
Place: TypeAlias = int | list[int] | slice  # of groups along one axis
Where: TypeAlias = Place | EllipsisType | tuple[Place, ...]  # index of an array of groups
METRICS = ("bias", "mae", "rmse", "resolution_68")  # mean of r, of |r|, root of that of r^2, 68 % quantile of |r|

# Edges of the histograms, the same below zero: steps of 5 %, between which quantiles are interpolated.
SIZES = np.geomspace(1e-3, 1e7, 481)
EDGES = np.concatenate([-SIZES[::-1], SIZES])


class GroupedResiduals:
    """Residuals r = predicted - true in an array of groups of the given shape.

    `where` indexes that array, and what it picks is joined. The intervals take every residual as independent; those of
    one event share where its light comes from.
    """

    def __init__(self, shape: tuple[int, ...], unit: str = "") -> None:
        self.unit = unit
        self.sums = np.zeros((*shape, 5))  # number, sum of r, |r|, r^2, r^4
        self.counts = np.zeros((*shape, len(EDGES) + 1), dtype=np.int64)

    def add(self, groups: tuple[Any, ...], residuals: Floats) -> None:
        """Add residuals (K,), each to the group that `groups`, one index (K,) per axis of the shape, says."""
        r = residuals.astype(np.float64)
        np.add.at(self.sums, groups, np.stack([np.ones_like(r), r, np.abs(r), r**2, r**4], -1))
        np.add.at(self.counts, (*groups, np.searchsorted(EDGES, r)), 1)

    def number(self, where: Where = ...) -> int:
        """How many residuals there are in some groups."""
        return int(self.sums[where].reshape(-1, 5)[:, 0].sum())

    def estimates(self, where: Where = ...) -> dict[str, Estimate]:
        """METRICS of all residuals in some groups; NaN where there are none, or one is not finite."""
        n, total, absolute, square, fourth = self.sums[where].reshape(-1, 5).sum(0).tolist()
        if n == 0 or not math.isfinite(square):
            return dict.fromkeys(METRICS, Estimate(math.nan, math.nan, math.nan, int(n), self.unit))
        rms = math.sqrt(square / n)
        counts = self.counts[where].reshape(-1, self.counts.shape[-1]).sum(0)
        inner = len(SIZES)
        folded = counts[inner:] + counts[inner::-1]  # of |r|: below SIZES[0], between the sizes, above the last
        folded[0] = counts[inner]
        below = np.concatenate([[0], np.cumsum(folded)[:-1]])
        low, width, high = np.interp(ranks(n) * n, below, np.concatenate([[0.0], SIZES])).tolist()

        def of_mean(total: float, squares: float) -> Estimate:
            """Mean with its error, from the sums of the values and of their squares."""
            error = math.sqrt(max(squares / n - (total / n) ** 2, 0) / max(n - 1, 1))
            return Estimate.symmetric(total / n, error, int(n), self.unit)

        rmse = Estimate.symmetric(rms, of_mean(square, fourth).error / (2 * rms or 1), int(n), self.unit)
        width_68 = Estimate(width, low, high, int(n), self.unit)
        values = of_mean(total, square), of_mean(absolute, square), rmse, width_68
        return dict(zip(METRICS, values, strict=True))

    def histogram(self, where: Where, edges: Floats) -> Floats:
        """Numbers of residuals (n,) between edges (n + 1,), interpolated inside the bins of the stream."""
        below = np.cumsum(self.counts[where].reshape(-1, self.counts.shape[-1]).sum(0))[:-1]
        return np.diff(np.interp(edges, EDGES, below))


def floor_estimates(number: Floats, variance: Floats, unit: str = "") -> dict[str, Estimate]:
    """METRICS that normal residuals of given variances would have: number (n,) of those that share the variance (n,).

    They are exact: their intervals are empty.
    """
    sigma, number = np.sqrt(variance[number > 0]), number[number > 0]
    values = dict.fromkeys(METRICS, math.nan)
    if len(sigma) and not np.isnan(sigma).any():
        share = number / number.sum()
        with np.errstate(divide="ignore"):
            inside = share @ erf(SIZES / sigma[:, None] / np.sqrt(2))  # share of the residuals within +-SIZES
        mae, rmse = float(share @ sigma) * math.sqrt(2 / math.pi), math.sqrt(share @ sigma**2)
        values = {"bias": 0.0, "mae": mae, "rmse": rmse, "resolution_68": float(np.interp(QUANTILE, inside, SIZES))}
    return {name: Estimate(value, value, value, int(number.sum()), unit) for name, value in values.items()}
