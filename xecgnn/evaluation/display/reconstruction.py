"""Pictures of single events with masked sensors: truth, what the network saw, what it made of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import ArrayLike, NDArray

from xecgnn.data.events import Events
from xecgnn.detector import Detector
from xecgnn.evaluation.display.layers import PREDICTED_TIME, event_layers, valid_readings
from xecgnn.evaluation.display.plane import HOLLOW, draw_sensors
from xecgnn.evaluation.pages.page import RED
from xecgnn.names import IDENTIFIERS

__all__ = ["MASKED", "draw_reconstruction", "reconstruction_pages"]

MASKED = RED  # in neither colour map
PANELS = ("truth", "visible to the network", "reconstructed")


def draw_reconstruction(
    detector: Detector,
    npho: ArrayLike,
    time: ArrayLike,
    masked: NDArray[np.bool_],
    predicted_npho: ArrayLike,
    predicted_time: ArrayLike | None = None,
    title: str = "",
) -> Figure:
    """One event with S sensors: truth, masked and reconstructed, all on the colour scale of the truth.

    Args:
        detector: what recorded it.
        npho, time: (S,) photons and s, as in `draw_event`.
        masked: (S,) True where the network saw nothing.
        predicted_npho, predicted_time: (S,) used where masked; no times, no second row.
        title: above the figure.
    """
    layers = event_layers(detector, npho, time)
    light, times = layers["log"][0], layers["linear"][1]
    rows = [(light, np.where(masked, valid_readings(predicted_npho) / detector.areas, light.values))]
    if predicted_time is not None:
        first = np.fmin.reduce(valid_readings(time), initial=np.inf)
        late = (valid_readings(predicted_time) - first) * 1e9 if np.isfinite(first) else np.full(len(masked), np.nan)
        rows.append((times, np.where(masked, late, times.values)))

    figure = Figure(figsize=(15, 0.9 + 4.7 * len(rows)), layout="constrained")
    figure.suptitle(title)
    for axs, (layer, restored) in zip(figure.subplots(len(rows), 3, squeeze=False), rows, strict=True):
        layer.norm.clip = False  # a colour of its own for what lies above the scale: masked sensors
        low, high = float(layer.norm.vmin or 0), float(layer.norm.vmax or 1)
        true, restored = np.clip(layer.values, low, high), np.clip(restored, low, high)
        hidden = np.where(masked, 2 * high, true)
        cmap = matplotlib.colormaps[layer.cmap].with_extremes(over=MASKED)
        for ax, values, panel in zip(axs, (true, hidden, restored), PANELS, strict=True):
            draw_sensors(ax, detector, values, cmap=cmap, norm=layer.norm)
            ax.set_title(panel)
        scale = ScalarMappable(layer.norm, layer.cmap)  # without the colour of the masked
        figure.colorbar(scale, ax=axs, label=layer.label, extend=layer.extend, shrink=0.9, pad=0.01)
    share = f"masked ({masked.mean():.0%} of the sensors)"
    handles = [Patch(color=MASKED, label=share), Patch(**HOLLOW, label="no valid reading")]
    figure.legend(handles=handles, loc="outside lower right", ncols=2, frameon=False)
    return figure


def reconstruction_pages(
    detector: Detector, parts: Iterable[Events], npho_threshold: float, run_name: str
) -> Iterator[Figure]:
    """A page per event of what `reconstructions` gives; times where a network would use them: from the threshold on."""
    for event in (events[i : i + 1] for events in parts for i in range(len(events))):
        title = ", ".join([run_name, *(f"{name} {event[name][0]}" for name in IDENTIFIERS if name in event)])
        time, predicted_time = np.where(event.time_valid, event.relative_time, np.nan)[0], None
        if PREDICTED_TIME in event:
            predicted_time = np.where(event.pred_npho >= npho_threshold, event[PREDICTED_TIME], np.nan)[0]
        arrays = event.npho[0], time, event.masked[0], event.pred_npho[0], predicted_time
        yield draw_reconstruction(detector, *arrays, title=title)
