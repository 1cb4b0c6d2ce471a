"""inpainting_resolution_<run_name>.pdf: residuals of masked sensors, resolution and bias along npho.

Kinds of sensors stand apart: the same light is another npho on another active area, with another statistical floor.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from xecgnn.evaluation.inpainting import BINS, FLOOR, METHODS, QUANTITIES, RELATIVE, InpaintingResiduals
from xecgnn.evaluation.pages.page import DASHES, GREY, LOOKS, grid, legend, new_page, say
from xecgnn.evaluation.pages.panels import Profile, errorbars
from xecgnn.names import NPHO
from xecgnn.table import number

__all__ = ["inpainting_pages"]

MIN_SENSORS = 20  # in a bin that is shown


def inpainting_pages(measured: InpaintingResiduals, run_name: str) -> Iterator[Figure]:
    """Residuals by face; resolution, then bias, along npho by kind of sensor and by face."""
    shown = [i for i in range(len(measured.faces)) if measured.number(NPHO, i) >= MIN_SENSORS]
    footer = f"{run_name}   |   {measured.masked} masked sensors of {measured.events} events"
    if not shown:
        yield new_page("Too few masked sensors to plot", footer)
        return
    figure = new_page("Residuals of masked sensors", footer)
    for ax, face in zip(grid(figure, len(shown)), shown, strict=True):
        _residuals(ax, measured, face)
    yield figure
    for metric, title in (("resolution_68", "68 % quantile of |predicted - true|"), ("bias", "Bias")):
        figure = new_page(f"{title} along the true npho", footer)
        kinds = {f"all {kind}": (NPHO, faces) for kind, faces in measured.kinds.items()}
        panels = kinds | {_title(measured, face): (RELATIVE, [face]) for face in shown}
        for ax, (title, (quantity, faces)) in zip(grid(figure, len(panels)), panels.items(), strict=True):
            _profile(ax, measured, metric, quantity, faces)
            ax.set_title(title)
        legend(figure, 1 + len(METHODS))
        yield figure


def _title(measured: InpaintingResiduals, face: int) -> str:
    (kind,) = (kind for kind, faces in measured.kinds.items() if face in faces)
    return f"{measured.faces[face]} ({kind})"


def _residuals(ax: Axes, measured: InpaintingResiduals, face: int) -> None:
    """Residuals of all methods on a face, in a window set by the network."""
    found = measured.measures(NPHO, face)
    window = 4 * found[METHODS[0]]["resolution_68"].value
    edges = np.linspace(-1, 1, 61) * (window if window > 0 else 1)
    for method, (color, _), dash in zip(METHODS, LOOKS, DASHES, strict=False):
        width, bias = (number(found[method][metric].value) for metric in ("resolution_68", "bias"))
        counts = measured.residuals[NPHO, method].histogram(face, edges)
        ax.stairs(counts, edges, color=color, ls=dash, lw=1.4, label=f"{method}: 68 % = {width}, bias = {bias}")
    ax.set(title=_title(measured, face), xlabel="npho predicted - true [photons]", ylabel="sensors")
    ax.set(xlim=edges[[0, -1]], ylim=(0, 1.45 * ax.get_ylim()[1]))
    ax.legend(fontsize=8, loc="upper left", borderaxespad=0.2)


def _profile(ax: Axes, measured: InpaintingResiduals, metric: str, quantity: str, faces: list[int]) -> None:
    """A metric of all methods in bins of true npho with its errors; the horizontal bar is the bin."""
    parts = [i for i in range(1, len(BINS) - 2) if measured.number(quantity, faces, i) >= MIN_SENSORS]
    if not parts:
        say(ax, "too few sensors in each bin")
        return
    found = [measured.measures(quantity, faces, i) for i in parts]
    low, high = BINS[parts], BINS[np.add(parts, 1)]
    x = np.sqrt(low * high)
    for method, look in zip(METHODS, LOOKS, strict=False):
        estimates = [values[method][metric] for values in found]
        errorbars(ax, Profile.of(zip(x, low, high, estimates, strict=True)), method, *look)
    symbol = "bias" if metric == "bias" else "68 % of |Δnpho|" + (" / npho" if quantity == RELATIVE else "")
    ax.set(xscale="log", xlabel="true npho [photons]", ylabel=f"{symbol} [{QUANTITIES[quantity]}]")
    if metric == "bias":
        ax.axhline(0, color=GREY, lw=0.8, ls=":")
        ax.set_yscale("symlog", linthresh=10, subs=[2, 5])
    else:
        ax.plot(x, [values[FLOOR][metric].value for values in found], color="0.4", lw=1.2, label="statistical floor")
        ax.set_yscale("log")
    for axis in (ax.xaxis, ax.yaxis):  # plain numbers, between the decades too where there are few of them
        axis.set_major_formatter("{x:g}")
    if metric != "bias":
        ax.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.4)))
    elif quantity == RELATIVE:
        ax.yaxis.set_minor_formatter("{x:g}")
