"""Event displays: the faces of the detector unrolled into one plane, every sensor in its true size.

The plane is a map of the surface around the xenon, seen from outside, with the target behind it: in the middle the face
that looks away from the beam, the endcaps beside it, the two ends of the opening angle above and below, and apart, to
the right, the face that looks back at the beam. Which face is which follows from the normals.
"""

from __future__ import annotations

from itertools import chain
from typing import Any, Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, Patch
from matplotlib.patheffects import withStroke
from matplotlib.transforms import AffineDeltaTransform
from numpy.typing import ArrayLike, NDArray

from xecgnn.detector import Detector
from xecgnn.evaluation.display.layers import Layer, Scale, event_layers, valid_readings
from xecgnn.evaluation.display.photon import Photon, known
from xecgnn.names import SEAM

__all__ = [
    "HOLLOW",
    "LOOKS",
    "Photon",
    "draw_edges",
    "draw_event",
    "draw_photon",
    "draw_sensors",
    "sensor_pairs",
    "start_point",
    "unroll",
]

Array = NDArray[np.float64]

HOLLOW: dict[str, Any] = {"facecolor": "white", "edgecolor": "0.55", "linewidth": 0.3}  # no reading; visible in print
GAP, SCALE = 10.0, 20.0  # cm: distance of the face that stands apart, length of the bar that gives the scale
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
        ("prediction", "#D55E00", "s", 5.0, 1.0),
    )
}  # fmt: skip
CIRCLE = np.exp(2j * np.pi * np.arange(24) / 24)
OUTLINES = {"square": np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]), "disc": np.stack([CIRCLE.real, CIRCLE.imag], 1)}


def unroll(detector: Detector) -> Array:
    """Sensor positions (S, 2) cm in the plane: to the right along z, upwards along the arc v.

    True to scale are lengths along z, along the slope of an endcap, along the arc at the sensor's own radius, and the
    steps between neighbouring faces.
    """
    u, v, w = detector.to_uvw(detector.position).T  # [S] each
    plane = np.stack([u, v * (1 + w / detector.radius)], axis=1)  # holds as it is for the face in the middle
    cos, sin, size = np.cos(v / detector.radius), np.sin(v / detector.radius), detector.sizes
    n_x, n_y, n_z = detector.normal.T
    normal = np.stack([n_y * sin - n_x * cos, n_y * cos + n_x * sin, n_z])  # along r, v, z
    means = [(normal[:, face.sensor_ids].mean(1), face.sensor_ids) for face in detector.faces.values()]
    edge = 0.0
    for (n_r, n_v, n_z), ids in sorted(means, key=lambda entry: -entry[0][0]):
        if n_r > max(abs(n_v), abs(n_z)):  # looks away from the beam, and comes first
            edge = np.abs(u[ids]).max()
        elif -n_r > max(abs(n_v), abs(n_z)):  # looks back at it, and comes last
            rest = np.setdiff1d(np.arange(len(plane)), ids)
            plane[ids, 0] += (plane[rest, 0] + size[rest]).max() + GAP - (plane[ids, 0] - size[ids]).min()
        elif abs(n_v) > abs(n_z):  # above or below
            plane[ids, 1] = v[ids] + np.sign(v[ids]) * w[ids]
        else:  # beside: the path along the slope, from the edge of the middle
            path = (abs(n_z) * w[ids] + n_r * (np.abs(u[ids]) - edge)) / np.hypot(n_r, n_z)
            plane[ids, 0] = np.sign(u[ids]) * (edge + path)
    return plane


def sensor_pairs(detector: Detector, relation: str) -> NDArray[np.int64]:
    """Sensor ids (2, pairs) that `lattice`, `hex` or `seam` edges join, each pair once, self edges left out."""
    faces = detector.faces
    edges = [face.sensor_ids[face.edge_index] for face in faces.values() if face.layout == relation]
    if relation == SEAM:
        for (a, b), (i, j) in detector.seams().items():
            edges.append(np.stack([faces[a].sensor_ids[i], faces[b].sensor_ids[j]]))
    if not edges:
        raise KeyError(f"no relation {relation!r} in {detector.name}; relations: lattice, hex, seam")
    pairs = np.concatenate(edges, axis=1)
    return pairs[:, pairs[0] < pairs[1]]


def draw_sensors(ax: Axes, detector: Detector, values: ArrayLike | None = None, **style: Any) -> PolyCollection:
    """Draw every sensor once, the names of the faces around the one in the middle, and a scale; axes are in cm.

    `values` (S,) become colours, hollow where invalid (NaN or above `INVALID_LIMIT`); `style` is that of a collection:
    `cmap`, `norm`, or `facecolors` where there are no values. Returns what a colour bar needs.
    """
    plane, size = unroll(detector), detector.sizes[:, None]
    low, high = plane - size, plane + size
    readings = np.zeros(len(plane)) if values is None else valid_readings(values)
    look: dict[str, Any] = {"linewidths": 0, "edgecolors": "none", "snap": False}  # whole pixels make uneven gaps
    look |= {"norm": Normalize(np.fmin.reduce(readings), np.fmax.reduce(readings))} | style
    # Sensors with one outline in one collection: a PDF of them is small, and made in half the time.
    to_screen: Any = ax.transData
    at: dict[str, Any] = {"offset_transform": to_screen, "transform": AffineDeltaTransform(to_screen)}
    for name, kind in detector.sensor_kinds.items():
        for mask, own in (np.isnan(readings), HOLLOW), (~np.isnan(readings), look):
            ids = np.flatnonzero((detector.sensor_type == name) & mask)
            own = {k: np.asarray(v)[ids] if np.shape(v)[:1] == mask.shape else v for k, v in own.items()}
            sensors = PolyCollection([kind.size * OUTLINES[kind.shape]], offsets=plane[ids], **at, **own)
            ax.add_collection(sensors, autolim=False)
        if values is not None:
            sensors.set_array(readings[ids])
    ax.update_datalim(np.concatenate([low, high]))
    for name, face in detector.faces.items():
        (left, bottom), (right, top) = low[face.sensor_ids].min(0), high[face.sensor_ids].max(0)
        if max(left, bottom) > 0 or min(right, top) < 0:  # not the face in the middle
            y, align = (bottom - 2, "top") if top < 0 else (top + 2, "bottom")
            ax.text((left + right) / 2, y, name, ha="center", va=align, clip_on=True)
    left, bottom = low.min(0)
    ax.plot([left, left + SCALE], [bottom - 8, bottom - 8], color="black", lw=1.5)
    ax.text(left + SCALE / 2, bottom - 10, f"{SCALE:g} cm", ha="center", va="top", clip_on=True)
    ax.set_aspect("equal")
    ax.set_axis_off()
    return sensors


def draw_edges(ax: Axes, detector: Detector, relation: str, **style: Any) -> None:
    """Draw the edges of a relation as lines between sensors, without seams that the map tears to twice the length."""
    pairs, plane = sensor_pairs(detector, relation), unroll(detector)
    length, true_length = (np.linalg.norm(at[pairs[1]] - at[pairs[0]], axis=1) for at in (plane, detector.position))
    ax.add_collection(LineCollection(list(plane[pairs.T[length < 2 * true_length]]), **style))


def draw_event(
    detector: Detector,
    npho: ArrayLike,
    time: ArrayLike,
    *,
    truth: Photon | None = None,
    prediction: Photon | None = None,
    title: str = "",
    scale: Scale | Literal["both"] = "both",
) -> Figure:
    """Photon counts and times of one event with S sensors, side by side.

    Args:
        detector: what recorded it.
        npho: (S,) photons; shown per active area, so that sensors of different size compare.
        time: (S,) s; shown in ns after the earliest.
        truth: the photon, drawn with `draw_photon`.
        prediction: the same as a network sees it.
        title: above the figure.
        scale: of the colours: log, linear, or both in two rows.
    """
    rows = list(event_layers(detector, npho, time, scale).values())
    figure = Figure(figsize=(12, 0.9 + 4.7 * len(rows)), layout="constrained")
    figure.suptitle(title, fontsize="large")
    photons = known(truth, prediction)
    dead = np.isnan(valid_readings(npho))
    center, half = unroll(detector)[dead, None, None], detector.sizes[dead, None, None, None]
    crosses = (center + half * [[[1, 1], [-1, -1]], [[1, -1], [-1, 1]]]).reshape(-1, 2, 2)  # lines, of two ends
    for ax, layer in zip(figure.subplots(len(rows), 2, squeeze=False).flat, chain(*rows), strict=True):
        sensors = draw_sensors(ax, detector, layer.values, cmap=layer.cmap, norm=layer.norm)
        bar = figure.colorbar(sensors, ax=ax, label=layer.label, extend=layer.extend, shrink=0.9, pad=0.01)
        bar.set_ticks(layer.ticks(), labels=[f"{tick:g}" for tick in layer.ticks()])
        bar.minorticks_off()
        ax.add_collection(LineCollection(list(crosses), colors="black", linewidths=0.5))
        for name, photon in photons.items():
            draw_photon(ax, detector, name, photon, start_point(detector, rows[0][0], photon, *photons.values()))
    flight = f"first interaction, {FLIGHT:g} cm of flight"
    handles: list[Artist] = [Line2D([], [], label=f"{name}: {flight}", **LOOKS[name]) for name in photons]
    handles.append(Patch(**HOLLOW, label="no valid reading"))
    handles.append(Line2D([], [], color="black", marker="x", ls="none", ms=6, mew=0.8, label="no valid npho (dead)"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
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
