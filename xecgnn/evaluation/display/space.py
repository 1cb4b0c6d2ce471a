"""Event displays in space, for a browser: one HTML file that needs no network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go
from matplotlib import colormaps
from numpy.typing import ArrayLike, NDArray
from plotly.basedatatypes import BaseTraceType

from xecgnn.detector import Detector
from xecgnn.evaluation.display.layers import Layer, Scale, event_layers, extra_layers, valid_readings
from xecgnn.evaluation.display.photon import Photon, known
from xecgnn.evaluation.display.plane import LOOKS, start_point
from xecgnn.simulation.solid_angle import sensor_sides

__all__ = ["draw_event_3d", "write_html"]

Array = NDArray[np.float32]

CORNERS = {"square": 4, "disc": 10}  # of the polygon that is drawn
LOWEST, HIGHEST = 24, 255  # on the colour scale (a byte is enough); 0 are sensors without a reading
NONE_COLOR = "#8c8c8c"
FLAT = {"ambient": 1, "diffuse": 0, "specular": 0, "fresnel": 0}  # light and shade would change the colours
CONE = 12.0  # cm
CAMERA = {"up": {"x": 0, "y": 1, "z": 0}, "eye": {"x": 2.0, "y": 0.5, "z": 1.2}, "center": {"x": 0, "y": -0.1, "z": 0}}
CONFIG = {"displaylogo": False, "responsive": True, "showSendToCloud": False}  # nothing leaves the page


def draw_event_3d(
    detector: Detector,
    npho: ArrayLike,
    time: ArrayLike,
    *,
    truth: Photon | None = None,
    prediction: Photon | None = None,
    branches: Mapping[str, ArrayLike] | None = None,
    title: str = "",
    scale: Scale | Literal["both"] = "both",
) -> go.Figure:
    """One event with S sensors in space: arguments as for `draw_event`, and layers to choose from by buttons.

    Args:
        branches: what else there is per sensor, (S,) each: those in `layers.EXTRA` become layers.
    """
    base = event_layers(detector, npho, time, scale)
    extra = extra_layers(detector, npho, branches or {})
    first = next(iter(base.values()))
    choices = {f"{pair[i].name}, {kind}": pair[i] for i in (0, 1) for kind, pair in base.items()}
    choices |= {layer.name: layer for layer in extra}
    figure = go.Figure(list(_faces(detector, [*first, *extra])))
    faces, buttons = list(range(len(figure.data))), []
    for label, layer in choices.items():
        look = {f"coloraxis.{key}": value for key, value in _color_axis(layer).items()}
        arguments = [{"intensity": _intensities(detector, layer)}, look, faces]
        buttons.append({"label": label, "method": "update", "args": arguments})
    figure.add_traces(_crosses(detector, np.flatnonzero(np.isnan(valid_readings(npho)))))
    photons = known(truth, prediction)
    for name, photon in photons.items():
        start = start_point(detector, first[0], photon, *photons.values())
        figure.add_traces(_photon(detector, name, photon, start))
    axes = {f"{axis}axis": {"title": {"text": f"{axis} [cm]"}, "showspikes": False} for axis in "xyz"}
    corner = {"x": 0.01, "xanchor": "left"}
    figure.update_layout(
        title={"text": title.replace("\n", "<br>"), "font": {"size": 16}, "y": 0.98, "yanchor": "top", **corner},
        margin={"l": 0, "r": 0, "t": 70, "b": 0},
        scene={"aspectmode": "data", "camera": CAMERA, **axes},
        coloraxis={"cmin": 0, "cmax": HIGHEST, **_color_axis(first[0])},
        legend={"y": 0.02, "yanchor": "bottom", **corner},
        updatemenus=[{"type": "buttons", "buttons": buttons, "y": 0.99, "yanchor": "top", **corner}],
    )
    return figure


def write_html(figure: go.Figure, path: Path) -> None:
    """Write one self-contained page that fills the window of a browser."""
    fill = "document.body.style.margin = 0"
    figure.write_html(path, include_plotlyjs=True, config=CONFIG, default_height="100vh", post_script=fill)


def _faces(detector: Detector, layers: Sequence[Layer]) -> Iterator[go.Mesh3d]:
    """A mesh per face, every sensor a polygon: coloured by the first layer, all layers under the mouse."""
    numbers = [layer.values if layer.shown is None else layer.shown for layer in layers]
    data = np.stack([np.arange(detector.num_sensors), *numbers], axis=1).astype(np.float32)
    hover = [f"{layer.name} %{{customdata[{i}]:.4g}} {layer.unit}" for i, layer in enumerate(layers, start=1)]
    for (name, face), intensity in zip(detector.faces.items(), _intensities(detector, layers[0]), strict=True):
        corners, triangles = _polygons(detector, face.sensor_ids)
        (x, y, z), (a, b, c) = corners.reshape(-1, 3).T, triangles.reshape(-1, 3).T
        yield go.Mesh3d(
            **{"x": x, "y": y, "z": z, "i": a, "j": b, "k": c, "name": name, "showlegend": True},
            **{"intensity": intensity, "intensitymode": "cell", "coloraxis": "coloraxis", "lighting": FLAT},
            customdata=np.repeat(data[face.sensor_ids], corners.shape[1], axis=0),
            hovertemplate="<br>".join([f"sensor %{{customdata[0]:d}}, {name}", *hover]) + "<extra></extra>",
        )


def _polygons(detector: Detector, ids: NDArray[np.int64]) -> tuple[Array, NDArray[np.int32]]:
    """Corners (N, K, 3) cm of sensors of one kind, and triangles (N, K - 2, 3) of indices into all N * K corners."""
    kind = detector.sensor_kinds[str(detector.sensor_type[ids[0]])]
    count = CORNERS[kind.shape]
    first, second = np.moveaxis(sensor_sides(detector.normal[ids]), 1, 0)
    angle = 2 * np.pi * (np.arange(count) + 0.5) / count
    # A square's corners lie further out than its half width; a polygon of a disc's area a little.
    reach = np.sqrt(2 * kind.area / count / np.sin(2 * np.pi / count))
    steps = np.cos(angle)[:, None] * first[:, None] + np.sin(angle)[:, None] * second[:, None]  # [N, K, 3]
    corners = detector.position[ids, None] + reach * steps
    fan = np.stack([np.zeros(count - 2), np.arange(1, count - 1), np.arange(2, count)], axis=1)  # [K - 2, 3]
    triangles = np.arange(len(ids))[:, None, None] * count + fan
    return corners.astype(np.float32), triangles.astype(np.int32)


def _intensities(detector: Detector, layer: Layer) -> list[NDArray[np.uint8]]:
    """Per face, for each triangle: the place of the sensor's value on the colour scale, a byte."""
    share = np.ma.asarray(layer.norm(np.ma.masked_invalid(layer.values)))
    place = (LOWEST + (HIGHEST - LOWEST) * share).filled(0).round().astype(np.uint8)
    kinds = detector.sensor_kinds
    return [np.repeat(place[f.sensor_ids], CORNERS[kinds[f.sensor].shape] - 2) for f in detector.faces.values()]


def _color_axis(layer: Layer) -> dict[str, Any]:
    """Colours and ticks of a layer; the lowest part of the scale is for sensors without a reading."""
    rgb = 255 * colormaps[layer.cmap](np.linspace(0, 1, 32))[:, :3]
    places = np.linspace(LOWEST, HIGHEST, len(rgb)) / HIGHEST
    names = ["rgb({:.0f},{:.0f},{:.0f})".format(*color) for color in rgb]
    edge = LOWEST / 2 / HIGHEST  # away from both, since the browser interpolates
    ticks = layer.ticks()
    shares = np.asarray(layer.norm(ticks), dtype=float)
    return {
        "colorscale": list(zip([0, edge, edge, *places], [NONE_COLOR, NONE_COLOR, names[0], *names], strict=True)),
        "colorbar": {
            "title": {"text": layer.label, "side": "right"},
            "tickvals": [LOWEST / 4, *(LOWEST + (HIGHEST - LOWEST) * shares).tolist()],
            "ticktext": ["none", *(f"{tick:g}" for tick in ticks)],
            "len": 0.85,
        },
    }


def _crosses(detector: Detector, ids: NDArray[np.int64]) -> go.Scatter3d:
    """Lines across some sensors."""
    center, pen_up = detector.position[ids], np.full((len(ids), 3), np.nan)
    half, (first, second) = detector.sizes[ids, None], np.moveaxis(sensor_sides(detector.normal[ids]), 1, 0)
    ends = [center + half * way for way in (first + second, -first - second, first - second, second - first)]
    x, y, z = np.stack([*ends[:2], pen_up, *ends[2:], pen_up], axis=1).reshape(-1, 3).astype(np.float32).T
    style = {"mode": "lines", "line": {"color": "black", "width": 2}, "hoverinfo": "skip"}
    return go.Scatter3d(x=x, y=y, z=z, name="no valid npho (dead)", **style)


def _photon(detector: Detector, name: str, photon: Photon, start: NDArray[np.float64] | None) -> list[BaseTraceType]:
    """The first interaction as a marker, and the flight to it as a line that ends in a cone."""
    color, group = LOOKS[name]["color"], {"legendgroup": name, "name": name, "showlegend": False}
    traces: list[BaseTraceType] = []
    if photon.direction is not None and start is not None:
        tip, step = detector.to_xyz(start), np.asarray(photon.direction, dtype=float)
        way = detector.radius if photon.origin is None else np.linalg.norm(tip - np.asarray(photon.origin, dtype=float))
        x, y, z = np.stack([tip - way * step, tip - CONE / 2 * step], axis=1)
        line = {"color": color, "width": 8 if name == "truth" else 4}
        traces.append(go.Scatter3d(x=x, y=y, z=z, mode="lines", line=line, hoverinfo="skip", **group))
        at = dict(zip("xyzuvw", [*tip[:, None], *step[:, None]], strict=True))
        cone = {"anchor": "tip", "sizemode": "absolute", "sizeref": CONE, "colorscale": [[0, color], [1, color]]}
        traces.append(go.Cone(**at, **cone, showscale=False, hoverinfo="skip", lighting=FLAT, **group))
    if photon.point is not None:
        u, v, w = np.asarray(photon.point, dtype=float)
        x, y, z = detector.to_xyz([u, v, w])[:, None]
        text = f"{name}: first interaction<br>u {u:.1f}, v {v:.1f}, w {w:.1f} cm<extra></extra>"
        look = {"color": color, "size": 6, "symbol": {"o": "circle", "s": "square"}[LOOKS[name]["marker"]]}
        traces.append(go.Scatter3d(x=x, y=y, z=z, mode="markers", marker=look, hovertemplate=text, **group))
    for trace in traces[-1:]:
        trace.showlegend = True
    return traces
