"""Event displays on the unrolled faces: light and times of one event, with the photon."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, groupby
from typing import Any, Literal

import numpy as np
from matplotlib import rc_context, rcParams
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, Patch
from matplotlib.patheffects import withStroke
from numpy.typing import ArrayLike, NDArray

from xecgnn.detector import Detector
from xecgnn.evaluation.display.layers import Layer, Scale, event_layers, valid_readings
from xecgnn.evaluation.display.photon import Photon, known
from xecgnn.evaluation.display.sensors import HOLLOW, draw_sensors
from xecgnn.evaluation.display.unrolled import unroll
from xecgnn.evaluation.pages.page import PAGE, RED

__all__ = ["LOOKS", "draw_event", "draw_photon", "draw_rows", "start_point"]

Array = NDArray[np.float64]

FLIGHT = 60.0  # cm: what an arrow is the projection of
SHORTEST = 2.0  # cm: a shorter arrow is not drawn
# Style of marker and line: both are seen where they fall on one another, and on any colour by a white rim.
LOOKS: dict[str, dict[str, Any]] = {
    name: {
        "color": color, "marker": marker, "ms": size, "lw": width, "mfc": "none", "mew": 1.2, "zorder": 3,
        "path_effects": [withStroke(linewidth=width + 1.5, foreground="white")],
    }
    for name, color, marker, size, width in (
        ("truth", "black", "o", 9.0, 2.2),
        ("prediction", RED, "s", 5.0, 1.0),
    )
}  # fmt: skip


def draw_rows(
    detector: Detector, rows: Sequence[Sequence[tuple[str, Layer]]], title: str, handles: Sequence[Artist]
) -> tuple[Figure, list[Axes]]:
    """Panels of a title and a layer, in rows; neighbours on one scale share its colour bar."""
    width = 6.0 if len(rows[0]) < 3 else 5.0
    size = width * len(rows[0]), 0.9 + 0.78 * width * len(rows)
    with rc_context({"font.size": max(1.0, size[0] / PAGE[0]) * 10}):  # 8 to 10 pt where it is printed on a page
        figure = Figure(figsize=size, layout="constrained")
        figure.suptitle(title, fontsize="large")
        grid = figure.subplots(len(rows), len(rows[0]), squeeze=False)
        for axs, row in zip(grid, rows, strict=True):
            for ax, (name, layer) in zip(axs, row, strict=True):
                draw_sensors(ax, detector, layer.values, layer.marked, cmap=layer.cmap, norm=layer.norm)
                ax.set_title(name, pad=1.8 * rcParams["font.size"])
            for _, group in groupby(zip(axs, row, strict=True), lambda panel: id(panel[1][1].norm)):
                (first, (_, layer)), *others = group
                style: dict[str, Any] = {"label": layer.label, "extend": layer.extend, "shrink": 0.9, "pad": 0.01}
                scale = ScalarMappable(layer.norm, layer.cmap)
                bar = figure.colorbar(scale, ax=[first, *(ax for ax, _ in others)], **style)
                bar.set_ticks(layer.ticks(), labels=[f"{tick:g}" for tick in layer.ticks()])
                bar.minorticks_off()
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    return figure, list(grid.flat)


def draw_event(
    detector: Detector,
    npho: ArrayLike,
    time: ArrayLike,
    *,
    truth: Photon | None = None,
    prediction: Photon | None = None,
    title: str = "",
    scale: Scale | Literal["both"] = "both",
    filled: NDArray[np.bool_] | None = None,
) -> Figure:
    """Photon counts and times of one event with S sensors, side by side.

    Where sensors were filled, a row each of them: as measured, as filled, and what was predicted.

    Args:
        detector: what recorded it.
        npho: (S,) photons; shown per active area, so that sensors of different size compare.
        time: (S,) s; shown in ns after the earliest.
        truth: the photon, drawn with `draw_photon`.
        prediction: the same as a network sees it.
        title: above the figure.
        scale: of the colours: log, linear, or both in two rows.
        filled: (S,) True where npho and time are predictions of an inpainting network.
    """
    layers = list(event_layers(detector, npho, time, scale).values())
    rows = [[("", layer) for layer in pair] for pair in layers]
    if filled is not None and filled.any():
        parts = {"measured": ~filled, "filled": np.ones_like(filled), "predicted": filled}
        rows = [[(name, layer.where(part)) for name, part in parts.items()] for layer in chain(*layers)]
    photons = known(truth, prediction)
    flight = f"first interaction, {FLIGHT:g} cm of flight"
    handles: list[Artist] = [Line2D([], [], label=f"{name}: {flight}", **LOOKS[name]) for name in photons]
    handles.append(Patch(**HOLLOW, label="no valid reading"))
    handles.append(Line2D([], [], color="black", marker="x", ls="none", ms=6, mew=0.8, label="no valid npho (dead)"))
    figure, axes = draw_rows(detector, rows, title, handles)
    dead = np.isnan(valid_readings(npho))
    center, half = unroll(detector)[dead, None, None], detector.sizes[dead, None, None, None]
    crosses = (center + half * [[[1, 1], [-1, -1]], [[1, -1], [-1, 1]]]).reshape(-1, 2, 2)  # lines, of two ends
    for ax in axes:
        ax.add_collection(LineCollection(list(crosses), colors="black", linewidths=0.5))
        for name, photon in photons.items():
            draw_photon(ax, detector, name, photon, start_point(detector, layers[0][0], photon, *photons.values()))
    return figure


def start_point(detector: Detector, light: Layer, *photons: Photon) -> Array | None:
    """Where the arrow of a direction is drawn, u, v, w (cm): first known point of `photons`, else brightest sensor."""
    for photon in photons:
        if photon.point is not None:
            return np.asarray(photon.point, dtype=float)
    bright = np.isfinite(light.values).any()
    return detector.to_uvw(detector.position[np.nanargmax(light.values)]) if bright else None


def draw_photon(ax: Axes, detector: Detector, name: str, photon: Photon, start: Array | None) -> None:
    """Draw the first interaction point, and from `start` the direction: `FLIGHT` projected onto the face in the middle.

    `name` is a key of `LOOKS`; `start` is that of `start_point`. A photon that flies straight through the face is a
    point without arrow.
    """
    look = LOOKS[name]
    if photon.point is not None:
        u, v, _ = np.asarray(photon.point, dtype=float)
        ax.add_line(Line2D([u], [v], **look | {"ls": "none"}))
    if photon.direction is not None and start is not None:
        d_x, d_y, d_z = np.asarray(photon.direction, dtype=float)
        turn = start[1] / detector.radius
        step = FLIGHT * np.array([d_z, d_x * np.sin(turn) + d_y * np.cos(turn)])  # along u and v
        if np.hypot(*step) > SHORTEST:
            style = {name: look[name] for name in ("color", "lw", "zorder", "path_effects")}
            style |= {"arrowstyle": "-|>", "mutation_scale": 8 + look["ms"], "shrinkA": 0, "shrinkB": 0}
            ax.add_patch(FancyArrowPatch(tuple(start[:2]), tuple(start[:2] + step), **style))
