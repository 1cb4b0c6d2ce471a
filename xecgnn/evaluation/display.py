"""Event displays: the faces of the detector unrolled into one plane, every sensor in its true size.

The plane is a map of the surface around the xenon, seen from outside, with the target behind it: in the middle the face
that looks away from the beam, the endcaps beside it, the two ends of the opening angle above and below, and apart, to
the right, the face that looks back at the beam. Which face is which follows from the normals.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import ArrayLike, NDArray

from xecgnn.detector import Detector
from xecgnn.names import INVALID_LIMIT, SEAM

__all__ = ["draw_edges", "draw_event", "draw_sensors", "sensor_pairs", "unroll"]

Array = NDArray[np.float64]

INVALID = "0.75"  # a grey that neither colour map contains
GAP, SCALE = 10.0, 20.0  # cm: distance of the face that stands apart, length of the bar that gives the scale
CIRCLE = np.exp(2j * np.pi * np.arange(24) / 24)
OUTLINES = {"square": np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]), "disc": np.stack([CIRCLE.real, CIRCLE.imag], 1)}


def unroll(detector: Detector) -> Array:
    """Sensor positions (S, 2) cm in the plane: to the right along z, upwards along the arc v.

    True to scale are lengths along z, along the slope of an endcap, along the arc at the sensor's own radius, and the
    steps between neighbouring faces.
    """
    u, v, w = detector.to_uvw(detector.position).T  # [S] each
    plane = np.stack([u, v * (1 + w / detector.radius)], axis=1)  # holds as it is for the face in the middle
    cos, sin, size = np.cos(v / detector.radius), np.sin(v / detector.radius), _sizes(detector)
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
    if relation == SEAM:
        seams = detector.seams().items()
        edges = [np.stack([faces[a].sensor_ids[i], faces[b].sensor_ids[j]]) for (a, b), (i, j) in seams]
    else:
        edges = [face.sensor_ids[face.edge_index] for face in faces.values() if face.layout == relation]
    if not edges:
        raise KeyError(f"no relation {relation!r} in {detector.name}; relations: lattice, hex, seam")
    pairs = np.concatenate(edges, axis=1)
    return pairs[:, pairs[0] < pairs[1]]


def draw_sensors(ax: Axes, detector: Detector, values: ArrayLike | None = None, **style: Any) -> PolyCollection:
    """Draw every sensor once, the names of the faces around the one in the middle, and a scale; axes are in cm.

    `values` (S,) become colours, grey where invalid (NaN or above `INVALID_LIMIT`); `style` is that of the collection:
    `cmap`, `norm`, or `facecolors` where there are no values.
    """
    plane, size = unroll(detector), _sizes(detector)[:, None]
    shapes = [OUTLINES[detector.sensor_kinds[kind].shape] for kind in detector.sensor_type]
    outlines = [center + half * shape for center, half, shape in zip(plane, size, shapes, strict=True)]
    sensors = PolyCollection(outlines, **{"linewidths": 0, "snap": False} | style)  # whole pixels make uneven gaps
    if values is not None:
        sensors.set_array(np.ma.masked_invalid(_valid(values)))
        sensors.set_cmap(sensors.get_cmap().with_extremes(bad=INVALID))
    ax.add_collection(sensors)
    for name, face in detector.faces.items():
        low, high = (plane - size)[face.sensor_ids].min(0), (plane + size)[face.sensor_ids].max(0)
        if (low > 0).any() or (high < 0).any():  # not the face in the middle
            y, align = (low[1] - 2, "top") if high[1] < 0 else (high[1] + 2, "bottom")
            ax.text((low[0] + high[0]) / 2, y, name, ha="center", va=align, clip_on=True)
    left, low = (plane - size).min(0)
    ax.plot([left, left + SCALE], [low - 8, low - 8], color="black", lw=1.5)
    ax.text(left + SCALE / 2, low - 10, f"{SCALE:g} cm", ha="center", va="top", clip_on=True)
    ax.set_aspect("equal")
    ax.set_axis_off()
    return sensors


def draw_edges(ax: Axes, detector: Detector, relation: str, **style: Any) -> None:
    """Draw the edges of a relation as lines between sensors, without seams that the map tears to twice the length."""
    pairs, plane = sensor_pairs(detector, relation), unroll(detector)
    length, true_length = (np.linalg.norm(at[pairs[1]] - at[pairs[0]], axis=1) for at in (plane, detector.position))
    ax.add_collection(LineCollection(list(plane[pairs.T[length < 2 * true_length]]), **style))


def draw_event(
    detector: Detector, npho: ArrayLike, time: ArrayLike, *, first_interaction: ArrayLike | None = None, title: str = ""
) -> Figure:
    """Photon counts and times of one event with S sensors, side by side.

    Args:
        detector: what recorded it.
        npho: (S,) photons; shown per active area, so that sensors of different size compare, over three decades.
        time: (S,) s; shown in ns after the earliest, up to the 75 % quantile.
        first_interaction: u, v, w (cm) of a point to mark where it lies over the face in the middle.
        title: above the figure.
    """
    times = _valid(time) * 1e9
    times -= np.fmin.reduce(times)
    latest = np.nanquantile(times, 0.75) if np.isfinite(times).any() else 1.0
    light = _valid(npho) / [detector.sensor_kinds[kind].area for kind in detector.sensor_type]
    brightest = np.fmax.reduce(light, initial=1.0)
    panels = (  # light below the scale, also where the baseline makes it negative, takes the lowest colour
        (light, "viridis", LogNorm(brightest / 1e3, brightest, clip=True), "npho / active area [1/cm²]", "min"),
        (times, "plasma_r", Normalize(0, latest), "time after the earliest [ns]", "max"),
    )
    figure = Figure(figsize=(12, 5.4), layout="constrained")
    figure.suptitle(title)
    for ax, (values, cmap, norm, label, extend) in zip(figure.subplots(1, 2), panels, strict=True):
        sensors = draw_sensors(ax, detector, values, cmap=cmap, norm=norm)
        figure.colorbar(sensors, ax=ax, label=label, extend=extend, shrink=0.9, pad=0.01)
        if first_interaction is not None:
            ax.plot(*np.asarray(first_interaction)[:2], "r+", ms=14, mew=1.5, label="first interaction")
    handles = [*ax.get_legend_handles_labels()[0], Patch(color=INVALID, label="no valid reading")]
    figure.legend(handles=handles, loc="outside lower right", ncols=2, frameon=False)
    return figure


def _sizes(detector: Detector) -> Array:
    """Half width or radius (S,) cm of the active areas."""
    return np.array([detector.sensor_kinds[kind].size for kind in detector.sensor_type])


def _valid(values: ArrayLike) -> Array:
    """A float copy of the readings (S,) with NaN where they are invalid."""
    values = np.array(values, dtype=float)
    return np.where(np.abs(values) < INVALID_LIMIT, values, np.nan)
