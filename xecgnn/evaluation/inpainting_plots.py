"""inpainting_resolution_<run_name>.pdf: residuals of masked sensors, resolution and bias along npho."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from xecgnn.evaluation.inpainting import ALL, BINS, METHODS, NPHO, RELATIVE, InpaintingResiduals
from xecgnn.evaluation.pages import LOOKS, new_page, write_pages
from xecgnn.evaluation.panels import STYLES
from xecgnn.evaluation.summary import number

__all__ = ["figures", "write_plots"]

MIN_SENSORS = 20  # in a bin that is shown
FLOOR: dict[str, Any] = {"color": "0.4", "lw": 1.2, "label": "statistical floor"}


def write_plots(path: Path, measured: InpaintingResiduals, run_name: str) -> None:
    """Write the PDF, under its name only when complete."""
    write_pages(path, figures(measured, run_name))


def figures(measured: InpaintingResiduals, run_name: str) -> Iterator[Figure]:
    """Residuals by face; resolution, then bias, along npho by face and for all of them."""
    shown = [i for i in range(len(measured.faces)) if measured.statistics(NPHO, 0, i).number >= MIN_SENSORS]
    footer = f"{run_name}   |   {measured.masked} masked sensors of {measured.events} events"
    if not shown:
        yield new_page("Too few masked sensors to plot", footer)
        return
    figure = new_page("Residuals of masked sensors", footer)
    for ax, face in zip(_grid(figure, len(shown)), shown, strict=False):
        _residuals(ax, measured, face)
    yield figure
    for metric, title in (("resolution_68", "68 % quantile of |predicted - true|"), ("bias", "Bias")):
        figure = new_page(f"{title} along the true npho", footer)
        axs = _grid(figure, 1 + len(shown))
        _profile(axs[0], measured, metric, NPHO, ALL)
        for ax, face in zip(axs[1:], shown, strict=False):
            _profile(ax, measured, metric, RELATIVE, face)
        handles, labels = axs[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper right", ncols=len(labels))
        yield figure


def _residuals(ax: Axes, measured: InpaintingResiduals, face: int) -> None:
    """Residuals of all methods on a face, in a window set by the network."""
    window = 4 * measured.statistics(NPHO, 0, face).resolution_68
    edges = np.linspace(-window, window, 61) if window > 0 else np.linspace(-1, 1, 61)
    for method, (color, _), style in zip(range(len(METHODS)), LOOKS, STYLES, strict=False):
        found = measured.statistics(NPHO, method, face)
        label = f"{METHODS[method]}: 68 % = {number(found.resolution_68)}, bias = {number(found.bias)}"
        counts = measured.residuals.histogram((NPHO, method, face), edges)
        ax.stairs(counts, edges, color=color, ls=style, lw=1.4, label=label)
    ax.set(title=measured.faces[face], xlabel="npho predicted - true [photons]", ylabel="sensors")
    ax.set(xlim=edges[[0, -1]], ylim=(0, 1.45 * ax.get_ylim()[1]))
    ax.legend(fontsize=7, loc="upper left", borderaxespad=0.2)


def _profile(ax: Axes, measured: InpaintingResiduals, metric: str, quantity: int, face: Any) -> None:
    """A metric of all methods in bins of true npho with its errors; the horizontal bar is the bin."""
    parts = [i for i in range(1, len(BINS) - 2) if measured.statistics(quantity, 0, face, i).number >= MIN_SENSORS]
    ax.set_title("all faces" if face == ALL else measured.faces[face])
    if not parts:
        ax.text(0.5, 0.5, "too few sensors in each bin", ha="center", transform=ax.transAxes)
        return
    low, high = BINS[parts], BINS[np.add(parts, 1)]
    x = np.sqrt(low * high)
    for method, (color, marker) in zip(range(len(METHODS)), LOOKS, strict=False):
        found = [measured.statistics(quantity, method, face, i) for i in parts]
        y = np.array([getattr(values, metric) for values in found])
        if metric == "bias":
            errors = np.array([[values.bias_error] * 2 for values in found])
        else:
            ends = [(values.resolution_68_low, values.resolution_68_high) for values in found]
            errors = np.abs(np.array(ends) - y[:, None])
        style: dict[str, Any] = {"fmt": marker, "color": color, "ms": 3.5, "lw": 1, "label": METHODS[method]}
        ax.errorbar(x, y, xerr=[x - low, high - x], yerr=errors.T, **style)
    if metric == "bias":
        ax.axhline(0, color="0.5", lw=0.8, ls=":")
        ax.set_yscale("symlog", linthresh=10, subs=[2, 5])
    else:
        ax.plot(x, [measured.floor(quantity, face, i)[metric] for i in parts], **FLOOR)
        ax.set_yscale("log")
    unit = "photons" if quantity == NPHO else "%"
    symbol = "bias" if metric == "bias" else "68 % of |Δnpho|" + (" / npho" if quantity == RELATIVE else "")
    ax.set(xscale="log", xlabel="true npho [photons]", ylabel=f"{symbol} [{unit}]")
    for axis in (ax.xaxis, ax.yaxis):  # plain numbers, between the decades too where there are few of them
        axis.set_major_formatter("{x:g}")
    if metric != "bias":
        ax.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.4)))
    elif quantity == RELATIVE:
        ax.yaxis.set_minor_formatter("{x:g}")


def _grid(figure: Figure, count: int) -> list[Axes]:
    """Axes in rows of at most four."""
    columns = min(4 if count > 6 else 3, count)
    grid = figure.add_gridspec(-(-count // columns), columns)
    return [figure.add_subplot(grid[divmod(place, columns)]) for place in range(count)]
