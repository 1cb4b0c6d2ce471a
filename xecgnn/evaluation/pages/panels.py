"""Profiles along a variable, and the single panels of the pages; each panel is drawn into one matplotlib `Axes`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import cycle
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from numpy.typing import NDArray

from xecgnn.estimate import QUANTILE, Estimate, quantile, tail
from xecgnn.evaluation.measures import Method
from xecgnn.evaluation.pages.page import DASHES, GREY, RED, above, looks
from xecgnn.table import number
from xecgnn.tasks.axes import Axis

__all__ = [
    "Profile",
    "bins",
    "confusion",
    "error_panels",
    "errorbars",
    "prediction_against_truth",
    "profile",
    "residual_histogram",
    "steps",
]

Array = NDArray[np.float64]
COUNTS = "Blues"
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

    @classmethod
    def of(cls, points: Iterable[tuple[float, float, float, Estimate]]) -> Profile:
        """From x, x_low, x_high and the estimate of each bin."""
        return cls(*np.array([(*x, found.value, found.low, found.high) for *x, found in points]).T)


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
    place = np.floor((x - low) / (high - low) * count)
    found = [np.flatnonzero(place == i) for i in range(count)]
    return [part for part in found if len(part) >= MIN_EVENTS]


def profile(x: Array, values: Array, estimate: Callable[[Array], Estimate]) -> Profile:
    """An estimate of values (E,) in bins of x (E,)."""
    return Profile.of((x[part].mean(), x[part].min(), x[part].max(), estimate(values[part])) for part in bins(x))


def errorbars(ax: Axes, points: Profile, label: str, color: str, marker: str) -> None:
    """Points with errors; the horizontal bar is the bin."""
    x_error = points.x - points.x_low, points.x_high - points.x
    y_error = points.y - points.y_low, points.y_high - points.y
    ax.errorbar(points.x, points.y, y_error, x_error, fmt=marker, color=color, ms=3.5, lw=1, label=label)


def residual_histogram(ax: Axes, axis: Axis, methods: Sequence[Method], column: int) -> None:
    """Residuals of one quantity, in a window set by the first method; the legend has 68 % quantile, bias and tail."""
    found = [(m.title, m.residuals[:, column]) for m in methods]
    widths = [quantile(np.abs(r)).value for _, r in found]
    labels = [
        f"{title}: {number(width)}, {number(r.mean())}, {tail(r).value:.2g}"
        for (title, r), width in zip(found, widths, strict=True)
    ]
    window = 4 * widths[0] or 1.0
    head = f"68 %, bias [{axis.unit}], tail [%]"
    steps(ax, [r for _, r in found], (-window, window), labels, _colors(methods), head)
    ax.axvline(0, color=GREY, lw=0.8, ls=":")
    ax.set_xlabel(f"{axis.symbol} predicted - true [{axis.unit}]")


def error_panels(top: Axes, bottom: Axes, joint: Axis, methods: Sequence[Method]) -> None:
    """Joint errors: histogram, and below it the share of events with a smaller error."""
    label = f"{joint.name.replace('_', ' ')} {joint.label}"
    errors = [method.errors[:, 0] for method in methods]
    quantiles = [quantile(values).value for values in errors]
    window = (0.0, 1.5 * max(quantiles) or 1.0)
    labels = [f"{m.title}: {number(value)}" for m, value in zip(methods, quantiles, strict=True)]
    steps(top, errors, window, labels, _colors(methods), f"68 % [{joint.unit}]")
    x = np.linspace(*window, 200)
    for values, color, dash in zip(errors, _colors(methods), cycle(DASHES), strict=False):
        bottom.plot(x, np.searchsorted(np.sort(values), x) / len(values), color=color, ls=dash)
    bottom.axhline(QUANTILE, color=GREY, lw=0.8, ls=":")
    top.set_xlabel(label)
    bottom.set(xlabel=label, ylabel="share of events below", xlim=window, ylim=(0, 1))


def prediction_against_truth(ax: Axes, axis: Axis, predicted: Array, true: Array) -> None:
    """Number of events by truth and prediction, with the diagonal."""
    low, high = np.quantile(true, [0.001, 0.999])
    if high <= low:  # monochromatic sample
        low, high = np.quantile(predicted, [0.001, 0.999])
    margin = 0.05 * (high - low) or 1.0
    window = (low - margin, high + margin)
    counts, x, y = np.histogram2d(true, predicted, 50, [window, window])
    if counts.any():
        mesh = ax.pcolormesh(x, y, np.where(counts > 0, counts, np.nan).T, cmap=COUNTS, norm=LogNorm(vmin=0.3))
        ax.figure.colorbar(mesh, ax=ax, label="events", pad=0.02, format="{x:g}")
    ax.plot(window, window, color=RED, lw=1, ls="--")
    ax.set(xlabel=f"true {axis.label}", ylabel=f"predicted {axis.label}")


def confusion(ax: Axes, probabilities: Array, true: NDArray[np.int64]) -> None:
    """Share of each true class (row) by predicted class, with the number of events."""
    classes = probabilities.shape[1]
    counts = np.bincount(true * classes + probabilities.argmax(1), minlength=classes**2).reshape(classes, classes)
    shares = counts / counts.sum(1, keepdims=True).clip(min=1)
    mesh = ax.imshow(shares, cmap=COUNTS, vmin=0, vmax=1, origin="lower")
    for (row, column), share in np.ndenumerate(shares):
        look: dict[str, Any] = {"ha": "center", "va": "center", "color": "white" if share > 0.5 else "black"}
        ax.text(column, row, f"{100 * share:.0f} %\n{counts[row, column]}", **look)
    title = f"accuracy {np.trace(counts) / counts.sum():.3f}"
    ax.set(xlabel="predicted class", ylabel="true class", title=title, xticks=range(classes), yticks=range(classes))
    ax.figure.colorbar(mesh, ax=ax, label="share of the true class")


def steps(
    ax: Axes,
    samples: Sequence[Array],
    window: tuple[float, float],
    labels: Sequence[str],
    colors: Sequence[str],
    head: str,
) -> None:
    """Histograms as outlines, the first one filled, and how many values are below and above the window."""
    tops: list[float] = []
    for values, label, color, dash in zip(samples, labels, colors, cycle(DASHES), strict=False):
        counts, edges = np.histogram(values, 60, window)
        outside = f"← {(values < window[0]).sum()}, {(values > window[1]).sum()} →"
        ax.stairs(counts, edges, color=color, alpha=0.25, fill=not tops, lw=0)
        ax.stairs(counts, edges, color=color, lw=1.4, label=f"{label}; {outside}", ls=dash)
        tops.append(counts.max())
    # The peak of another method may be cut, so that the first is seen.
    ax.set(xlim=window, ylim=(0, 1.05 * min(max(tops), 2 * tops[0]) or 1), ylabel="events")
    above(ax, f"{head}; ← events outside →")


def _colors(methods: Sequence[Method]) -> list[str]:
    return [color for color, _ in looks(method.title for method in methods).values()]
