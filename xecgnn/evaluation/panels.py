"""Single panels of the resolution plots; each draws into one matplotlib `Axes`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from numpy.typing import NDArray

from xecgnn.evaluation.statistics import Profile, in_tail, quantile_with_error
from xecgnn.evaluation.summary import number
from xecgnn.tasks.axes import Axis
from xecgnn.tasks.metrics import QUANTILE

__all__ = [
    "Method",
    "confusion",
    "error_panels",
    "errorbars",
    "prediction_against_truth",
    "profile_panel",
    "residual_histogram",
    "say",
    "steps",
]

Array = NDArray[np.float64]
GREY = "0.5"
STYLES = ["-", "--", "-.", ":"]
COUNTS = "Blues"


class Method(NamedTuple):
    """One way of predicting: how it is drawn, and what it got wrong on E events, in shown units."""

    title: str
    color: str
    marker: str
    shown: Array  # [E, axes]
    residuals: Array  # [E, axes]
    errors: Array  # [E, resolutions]


def residual_histogram(ax: Axes, axis: Axis, methods: Sequence[Method], column: int) -> None:
    """Residuals of one quantity, in a window set by the first method; the legend has 68 % quantile, bias and tail."""
    window = 4 * quantile_with_error(np.abs(methods[0].residuals[:, column]))[0] or 1.0
    labels = []
    for method in methods:
        residual = method.residuals[:, column]
        width = quantile_with_error(np.abs(residual))[0]
        tail = 100 * in_tail(residual).mean()
        labels.append(f"{method.title}: 68 % {number(width)}, bias {number(residual.mean())}, tail {tail:.2g} %")
    colors = [method.color for method in methods]
    steps(ax, [method.residuals[:, column] for method in methods], (-window, window), colors, labels)
    ax.axvline(0, color=GREY, lw=0.8, ls=":")
    ax.set_xlabel(f"{axis.symbol} predicted - true [{axis.unit}]")


def error_panels(top: Axes, bottom: Axes, label: str, methods: Sequence[Method], column: int = 0) -> None:
    """Absolute errors: histogram, and below it the share of events with a smaller error."""
    errors = [method.errors[:, column] for method in methods]
    quantiles = [quantile_with_error(values)[0] for values in errors]
    labels = [f"{method.title}: 68 % = {number(value)}" for method, value in zip(methods, quantiles, strict=True)]
    window = (0.0, 1.5 * max(quantiles) or 1.0)
    steps(top, errors, window, [method.color for method in methods], labels)
    x = np.linspace(*window, 200)
    for method, values, style in zip(methods, errors, cycle(STYLES), strict=False):
        bottom.plot(x, np.searchsorted(np.sort(values), x) / len(values), color=method.color, ls=style)
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
    counts, x, y = np.histogram2d(true, predicted, bins=50, range=[window, window])
    if counts.any():
        mesh = ax.pcolormesh(x, y, np.where(counts > 0, counts, np.nan).T, cmap=COUNTS, norm=LogNorm(vmin=0.3))
        ax.figure.colorbar(mesh, ax=ax, label="events", pad=0.02)
    ax.plot(window, window, color="#D55E00", lw=1, ls="--")
    ax.set(xlabel=f"true {axis.label}", ylabel=f"predicted {axis.label}")


def profile_panel(ax: Axes, profiles: Sequence[Profile], methods: Sequence[Method], signed: bool = False) -> None:
    """Profiles of all methods. Signed values: zero line, scale set by the first method."""
    for points, method in zip(profiles, methods, strict=True):
        errorbars(ax, points, method.title, method.color, method.marker)
    if signed:
        limit = 3 * max(np.abs(profiles[0].y_low).max(), np.abs(profiles[0].y_high).max()) or 1.0
        ax.set_ylim(-limit, limit)
        ax.axhline(0, color=GREY, lw=0.8, ls=":")
    else:
        ax.set_ylim(bottom=0)


def errorbars(ax: Axes, points: Profile, label: str, color: str, marker: str) -> None:
    """Points with errors; the horizontal bar is the bin."""
    x_error = points.x - points.x_low, points.x_high - points.x
    y_error = points.y - points.y_low, points.y_high - points.y
    ax.errorbar(points.x, points.y, y_error, x_error, fmt=marker, color=color, ms=3.5, lw=1, label=label)


def confusion(ax: Axes, probabilities: Array, true: NDArray[np.int64]) -> None:
    """Share of each true class (row) by predicted class, with the number of events."""
    classes = probabilities.shape[1]
    counts = np.bincount(true * classes + probabilities.argmax(1), minlength=classes**2).reshape(classes, classes)
    shares = counts / counts.sum(1, keepdims=True).clip(min=1)
    mesh = ax.imshow(shares, cmap=COUNTS, vmin=0, vmax=1, origin="lower")
    for row, column in np.ndindex(classes, classes):
        color = "white" if shares[row, column] > 0.5 else "black"
        text = f"{100 * shares[row, column]:.0f} %\n{counts[row, column]}"
        ax.text(column, row, text, ha="center", va="center", color=color, fontsize=8)
    accuracy = np.trace(counts) / counts.sum()
    ax.set(xlabel="predicted class", ylabel="true class", title=f"accuracy {accuracy:.3f}")
    ax.set(xticks=range(classes), yticks=range(classes))
    ax.figure.colorbar(mesh, ax=ax, label="share of the true class")


def steps(
    ax: Axes, values: Sequence[Array], window: tuple[float, float], colors: Sequence[str], labels: Sequence[str]
) -> None:
    """Histograms as outlines, the first one filled; head room for the legend."""
    edges = np.linspace(*window, 61)
    for sample, color, label, style in zip(values, colors, labels, cycle(STYLES), strict=False):
        counts = np.histogram(sample, edges)[0]
        if sample is values[0]:
            ax.stairs(counts, edges, color=color, alpha=0.25, fill=True)
        ax.stairs(counts, edges, color=color, lw=1.4, label=label, ls=style)
    ax.set(xlim=window, ylim=(0, ax.get_ylim()[1] * 1.4), ylabel="events")
    frame = {"frameon": True, "edgecolor": "none", "framealpha": 0.9}
    ax.legend(fontsize=7, handlelength=1.5, loc="upper left", borderaxespad=0.2, **frame)


def say(ax: Axes, text: str) -> None:
    """Why a panel is empty."""
    ax.text(0.5, 0.5, text, ha="center", transform=ax.transAxes)
