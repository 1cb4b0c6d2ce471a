"""Profiles along a variable: bins, and statistics with their errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from xecgnn.tasks.metrics import QUANTILE

__all__ = ["TAIL", "Profile", "bins", "in_tail", "mean_with_error", "profile", "quantile_with_error"]

Array = NDArray[np.float64]
Estimate = tuple[float, float, float]  # value, lower and upper end of its 68 % interval
BINS = 12
MIN_EVENTS = 20  # in a bin that is shown
TAIL = 3.0  # a residual beyond so many 68 % widths is in the tail


class Profile(NamedTuple):
    """A statistic in n bins of a variable: means and edges of the bins, values with their 68 % intervals; (n,) each."""

    x: Array
    x_low: Array
    x_high: Array
    y: Array
    y_low: Array
    y_high: Array


def bins(x: Array) -> list[NDArray[np.intp]]:
    """Indices of the events in each bin of equal width (outliers left out), in rising x; none where x is constant.

    There are fewer bins where so many would have few events each.
    """
    if len(x) < MIN_EVENTS:
        return []
    low, high = np.quantile(x, [0.002, 0.998])
    if high - low <= 1e-6 * np.abs(x).max():
        return []
    count = int(np.clip(len(x) / (1.5 * MIN_EVENTS), 1, BINS))
    number = np.floor((x - low) / (high - low) * count)
    found = [np.flatnonzero(number == i) for i in range(count)]
    return [part for part in found if len(part) >= MIN_EVENTS]


def quantile_with_error(values: Array) -> Estimate:
    """68 % quantile with the interval of its order statistics, ranks n p ± sqrt(n p (1 - p)): any distribution."""
    p, n = QUANTILE, len(values)
    half = np.sqrt(p * (1 - p) / n)
    low, middle, high = np.quantile(values, [max(p - half, 0), p, min(p + half, 1)])
    return middle, low, high


def in_tail(residuals: Array) -> NDArray[np.bool_]:
    """Residuals (E,) larger than TAIL times the 68 % quantile of their sizes."""
    size = np.abs(residuals)
    return size > TAIL * np.quantile(size, QUANTILE)


def mean_with_error(values: Array) -> Estimate:
    """Mean with its standard error."""
    mean, error = values.mean(), values.std(ddof=1) / np.sqrt(len(values))
    return mean, mean - error, mean + error


def profile(x: Array, values: Array, statistic: Callable[[Array], Estimate]) -> Profile:
    """A statistic of values (E,) in bins of x (E,)."""
    rows = [(x[part].mean(), x[part].min(), x[part].max(), *statistic(values[part])) for part in bins(x)]
    return Profile(*np.array(rows).T)
