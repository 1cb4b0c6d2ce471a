"""All sensors on the unrolled faces, coloured; round ones in their true size.

Square ones fill their cells: the gaps between them are narrower than most pixels, and would be seen as stripes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import Normalize
from matplotlib.patheffects import withStroke
from matplotlib.transforms import AffineDeltaTransform
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from xecgnn.detector import Detector, SensorKind
from xecgnn.evaluation.display.layers import valid_readings
from xecgnn.evaluation.display.unrolled import sensor_pairs, unroll
from xecgnn.evaluation.pages.page import RED

__all__ = ["HOLLOW", "MARK", "draw_edges", "draw_sensors"]

Array = NDArray[np.float64]

HOLLOW: dict[str, Any] = {"facecolor": "0.94", "edgecolor": "0.75", "linewidth": 0.3}  # no reading; visible in print
MARK: dict[str, Any] = {"facecolor": RED, "edgecolor": "none"}  # in no colour map
TICKS = {"z": 30.0, "phi": 20.0}  # cm, deg: steps of the scales along the faces
RIM = [withStroke(linewidth=2, foreground="white")]
CIRCLE = np.exp(2j * np.pi * np.arange(24) / 24)
OUTLINES = {"square": np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]), "disc": np.stack([CIRCLE.real, CIRCLE.imag], 1)}


def draw_sensors(
    ax: Axes,
    detector: Detector,
    values: ArrayLike | None = None,
    marked: NDArray[np.bool_] | None = None,
    **style: Any,
) -> PolyCollection:
    """Draw every sensor once, the names of the faces, and scales of z and phi; the axes themselves are in cm.

    `values` (S,) become colours, hollow where invalid (NaN or above `INVALID_LIMIT`), and `MARK` where `marked` (S,);
    `style` is that of a collection: `cmap`, `norm`, or `facecolors` where there are no values. Returns what a colour
    bar needs.
    """
    plane, size = unroll(detector), detector.sizes[:, None]
    low, high = plane - size, plane + size
    readings = np.zeros(len(plane)) if values is None else valid_readings(values)
    hollow, hidden = np.isnan(readings), np.zeros(len(plane), dtype=bool) if marked is None else marked
    # Lines in the colour of the sensor, or the background shines through where two meet; whole pixels would be uneven.
    look: dict[str, Any] = {"linewidths": 0.3, "edgecolors": "face", "snap": False}
    look |= {"norm": Normalize(np.fmin.reduce(readings), np.fmax.reduce(readings))} | style
    # Sensors with one outline in one collection: a PDF of them is small, and made in half the time.
    to_screen: Any = ax.transData
    at: dict[str, Any] = {"offset_transform": to_screen, "transform": AffineDeltaTransform(to_screen)}
    for name, kind in detector.sensor_kinds.items():
        outline = _half(kind, plane[detector.sensor_type == name]) * OUTLINES[kind.shape]
        for mask, own in (hollow & ~hidden, HOLLOW), (hidden, MARK), (~hollow & ~hidden, look):
            ids = np.flatnonzero((detector.sensor_type == name) & mask)
            own = {k: np.asarray(v)[ids] if np.shape(v)[:1] == mask.shape else v for k, v in own.items()}
            sensors = PolyCollection([outline], offsets=plane[ids], **at, **own)
            ax.add_collection(sensors, autolim=False)
        if values is not None:
            sensors.set_array(readings[ids])
    ax.update_datalim(np.concatenate([low, high]))
    for name, face in detector.faces.items():
        _name(ax, name, low[face.sensor_ids].min(0), high[face.sensor_ids].max(0))
    _scales(ax, detector, low, high)
    ax.set_aspect("equal")
    ax.set_axis_off()
    return sensors


def _half(kind: SensorKind, places: Array) -> float:
    """Half of what a sensor is drawn as wide: a square fills its cell."""
    if kind.shape != "square" or len(places) < 2:
        return kind.size
    distance, _ = cKDTree(places).query(places, 2)
    return max(kind.size, float(distance[:, 1].min()) / 2)


def _name(ax: Axes, name: str, low: Array, high: Array) -> None:
    """Beside a face with the corners `low` and `high` (2,); that of the face in the middle stands on it."""
    (left, bottom), (right, top) = low, high
    y, align = (bottom - 2, "top") if top < 0 else (top + 2, "bottom")
    if left < 0 < right and bottom < 0 < top:
        y, align = top - 2, "top"
    _write(ax, (left + right) / 2, y, name, ha="center", va=align, path_effects=RIM)


def _scales(ax: Axes, detector: Detector, low: Array, high: Array) -> None:
    """phi (deg, from the x axis) at the height of the face in the middle, z (cm) below it, as ticks around the map."""
    middle = next(iter(detector.faces.values())).sensor_ids
    (left, bottom), (edge, end), (right, top) = low.min(0) - [4, 12], low[middle].min(0), high[middle].max(0)
    ax.update_datalim([[left - 2, bottom - 4]])  # the texts
    angles = np.degrees(np.array([end, top]) / detector.radius)
    for phi in TICKS["phi"] * np.arange(np.ceil(angles[0] / TICKS["phi"]), np.floor(angles[1] / TICKS["phi"]) + 1):
        v = np.radians(phi) * detector.radius
        ax.plot([left, left + 2], [v, v], color="black", lw=0.8)
        _write(ax, left - 1, v, f"{180 - phi:g}°", ha="right", va="center", fontsize="small")
    _write(ax, left - 1, top + 2, "$\\phi$", ha="right", va="bottom")
    for z in TICKS["z"] * np.arange(np.ceil(edge / TICKS["z"]), np.floor(right / TICKS["z"]) + 1):
        ax.plot([z, z], [bottom, bottom - 2], color="black", lw=0.8)
        _write(ax, z, bottom - 3, f"{z:g}", ha="center", va="top", fontsize="small")
    _write(ax, right + 8, bottom - 3, "z [cm]", ha="left", va="top", fontsize="small")


def _write(ax: Axes, x: float, y: float, text: str, **style: Any) -> None:
    """In full, wherever there is room; not at all where somebody looks elsewhere."""
    ax.annotate(text, (x, y), annotation_clip=True, **style)


def draw_edges(ax: Axes, detector: Detector, relation: str, **style: Any) -> None:
    """Draw the edges of a relation as lines between sensors, without seams that the map tears to twice the length."""
    pairs, plane = sensor_pairs(detector, relation), unroll(detector)
    length, true_length = (np.linalg.norm(at[pairs[1]] - at[pairs[0]], axis=1) for at in (plane, detector.position))
    ax.add_collection(LineCollection(list(plane[pairs.T[length < 2 * true_length]]), **style))
