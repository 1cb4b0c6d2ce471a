"""saliency_profile_<task>.pdf: on which faces, sensors and readings the outputs of a task depend."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from xecgnn.detector import Detector
from xecgnn.estimate import mean
from xecgnn.evaluation.attribution.saliency import DISTANCES, METHODS, Saliency
from xecgnn.evaluation.display.sensors import draw_sensors
from xecgnn.evaluation.pages.page import LOOKS, grid, legend, new_page, say
from xecgnn.evaluation.pages.panels import bins, errorbars, profile
from xecgnn.tasks.axes import AXES, Axis
from xecgnn.tasks.task import Task

__all__ = ["saliency_pages"]

Array = NDArray[Any]

CHANNELS = ("npho", "time")
DECADES = 1e3  # between brightest and darkest colour of a map
BRIGHTEST = 0.999  # quantile where the colours of a map end: one sensor does not take them all
SYMBOLS = ("|∂{0}/∂x|", "|contribution to {0}|")  # of the METHODS


def saliency_pages(saliency: Saliency, detector: Detector, task: Task, head: str) -> Iterator[Figure]:
    """The pages of one task, none if it has no saliencies; `head` says on each what was drawn.

    Raises:
        ValueError: the saliencies are those of another detector.
    """
    if saliency.size.shape[-1] != detector.num_sensors:
        found = saliency.size.shape[-1]
        raise ValueError(f"saliency of {found} sensors, but the detector {detector.name!r} has {detector.num_sensors}")
    outputs = dict(zip(np.flatnonzero(saliency.tasks == task.name).tolist(), task.axes, strict=False))
    if not outputs:
        return
    shares = saliency.faces / saliency.faces.sum((3, 4), keepdims=True).clip(1e-30)  # [E, 2, K, 2, F]
    shares = 100 * shares.reshape(*shares.shape[:3], -1)  # [E, 2, K, 2 * F] %
    has = np.isfinite(shares).all((2, 3))  # [E, 2]
    labels = [f"{face} {channel}" for channel in CHANNELS for face in detector.faces]
    errors = [f"{axis.symbol} {100 * saliency.completeness[k]:.2g} %" for k, axis in outputs.items()]
    footer = f"{head}   |   task {task.name}   |   {len(has)} events, {has[:, 1].sum()} of them for integrated "
    footer += f"gradients   |   completeness error {', '.join(errors)}"

    figure = new_page("Shares of the faces in the sum of |gradient|, and of |integrated gradient|", footer)
    for ax, (k, axis) in zip(grid(figure, len(outputs), len(outputs)), outputs.items(), strict=True):
        _bars(ax, [shares[has[:, method], method, k] for method in range(len(METHODS))], labels)
        ax.set_title(axis.symbol)
    legend(figure)
    yield figure

    for k, axis in outputs.items():
        title = "saliency of each sensor (x: its normalised reading; hollow: valid in no event)"
        figure = new_page(f"{axis.symbol}: {title}", footer)
        yield _maps(figure, saliency.size[:, k], detector, axis)

    figure = new_page("Largest shares in the sum of |gradient| against the true direction", footer)
    panels = product(outputs.items(), zip(AXES["emiAng"], saliency.angles.T, strict=True))
    for ax, ((k, axis), (along, x)) in zip(grid(figure, 2 * len(outputs), 2), panels, strict=True):
        _shares(ax, x, shares[:, 0, k], labels)
        ax.set(xlabel=f"true {along.label}", ylabel=f"share for {axis.symbol} [%]")
    yield figure

    title = "Saliency of a sensor by its distance from the first interaction (if unknown: from the brightest sensor)"
    figure = new_page(title, footer)
    panels = product(outputs.items(), zip(SYMBOLS, saliency.near, strict=True))
    for ax, ((k, axis), (symbol, near)) in zip(grid(figure, 2 * len(outputs), 2), panels, strict=True):
        for channel, values, (color, _), style in zip(CHANNELS, near[k], LOOKS, "-:", strict=False):
            # The last bin is open.
            ax.stairs(values[:-1], DISTANCES, baseline=None, color=color, ls=style, lw=1.4, label=channel)
        ax.set(yscale="log", xlabel="distance of the sensor [cm]", xlim=DISTANCES[[0, -1]])
        largest = np.nan_to_num(near[k]).max() or 1.0
        ax.set_ylim(largest / DECADES / 10, 2 * largest)
        ax.set_ylabel(f"mean {symbol.format(axis.symbol)} [{axis.unit}]")
    legend(figure)
    yield figure


def _bars(ax: Axes, shares: Sequence[Array], labels: Sequence[str]) -> None:
    """Mean shares of all methods (E, labels) each, with their statistical errors."""
    place = np.arange(len(labels))
    for values, (color, _), title, shift in zip(shares, LOOKS, METHODS, (-0.2, 0.2), strict=False):
        found = [mean(share) for share in values.T]
        style: dict[str, Any] = {"color": color, "label": title, "ecolor": "0.3", "error_kw": {"lw": 0.8}}
        ax.barh(place + shift, [e.value for e in found], 0.4, xerr=[e.error for e in found], **style)
    ax.set(yticks=place, yticklabels=labels, xlabel="share [%]")
    ax.invert_yaxis()


def _maps(figure: Figure, size: Array, detector: Detector, axis: Axis) -> Figure:
    """Mean sizes (2, 2, S): a row per method with one scale for npho and time; zero where no event has a reading."""
    grid = figure.subplots(len(METHODS), len(CHANNELS))
    for axs, method, symbol, values in zip(grid, METHODS, SYMBOLS, size, strict=True):
        values = np.where(values > 0, values, np.nan)
        largest = np.nanquantile(values, BRIGHTEST) if np.isfinite(values).any() else 1.0
        norm = LogNorm(largest / DECADES, largest, clip=True)
        for ax, channel, of_channel in zip(axs, CHANNELS, values, strict=True):
            sensors = draw_sensors(ax, detector, of_channel, cmap="viridis", norm=norm)
            ax.set_title(f"{method}: {channel}")
        label = f"mean {symbol.format(axis.symbol)} [{axis.unit}]"
        figure.colorbar(sensors, ax=axs, label=label, extend="both", shrink=0.9, pad=0.01)
    return figure


def _shares(ax: Axes, x: Array, shares: Array, labels: Sequence[str]) -> None:
    """The largest of the shares (E, labels) in % in bins of x (E,)."""
    known = np.isfinite(x)
    if not bins(x[known]):
        say(ax, "too few events in each bin")
        return
    for label, (color, marker) in zip(np.argsort(-shares[known].mean(0)), LOOKS, strict=False):
        errorbars(ax, profile(x[known], shares[known, label], mean), labels[label], color, marker)
    ax.set_ylim(0, 1.3 * ax.get_ylim()[1])
    ax.legend(fontsize=8, ncols=2, loc="upper center")
