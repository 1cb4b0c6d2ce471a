"""Profiles along a variable: bins, and an estimate in each."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from xecgnn.estimate import Estimate

__all__ = ["Profile", "bins", "errorbars", "profile"]

Array = NDArray[np.float64]
BINS = 12
MIN_EVENTS = 20  # in a bin that is shown


class Profile(NamedTuple):
    """Estimates in n bins of a variable: means and edges of the bins, values with their 68 % intervals; (n,) each."""

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


def profile(x: Array, values: Array, estimate: Callable[[Array], Estimate]) -> Profile:
    """An estimate of values (E,) in bins of x (E,)."""
    rows = []
    for part in bins(x):
        found = estimate(values[part])
        rows.append((x[part].mean(), x[part].min(), x[part].max(), found.value, found.low, found.high))
    return Profile(*np.array(rows).T)


def errorbars(ax: Axes, points: Profile, label: str, color: str, marker: str) -> None:
    """Points with errors; the horizontal bar is the bin."""
    x_error = points.x - points.x_low, points.x_high - points.x
    y_error = points.y - points.y_low, points.y_high - points.y
    ax.errorbar(points.x, points.y, y_error, x_error, fmt=marker, color=color, ms=3.5, lw=1, label=label)
