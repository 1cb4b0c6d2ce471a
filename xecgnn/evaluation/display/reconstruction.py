"""Pictures of single events with masked sensors: truth, what the network saw, what it made of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import ArrayLike, NDArray

from xecgnn.data.events import Events
from xecgnn.detector import Detector
from xecgnn.evaluation.display.layers import PREDICTED_TIME, event_layers, signed, valid_readings
from xecgnn.evaluation.display.plane import draw_rows
from xecgnn.evaluation.display.sensors import HOLLOW, MARK
from xecgnn.names import IDENTIFIERS

__all__ = ["draw_reconstruction", "reconstruction_pages"]

PANELS = ("truth", "visible to the network", "reconstructed")
DIFFERENCE = "reconstructed - truth"


def draw_reconstruction(
    detector: Detector,
    npho: ArrayLike,
    time: ArrayLike,
    masked: NDArray[np.bool_],
    predicted_npho: ArrayLike,
    predicted_time: ArrayLike | None = None,
    title: str = "",
) -> Figure:
    """One event with S sensors: truth, masked and reconstructed on the colours of the truth, and what they differ by.

    Args:
        detector: what recorded it.
        npho, time: (S,) photons and s, as in `draw_event`.
        masked: (S,) True where the network saw nothing.
        predicted_npho, predicted_time: (S,) used where masked; no times, no second row.
        title: above the figure.
    """
    layers = event_layers(detector, npho, time)
    found = [(layers["log"][0], valid_readings(predicted_npho) / detector.areas)]
    if predicted_time is not None:
        first = np.fmin.reduce(valid_readings(time), initial=np.inf)
        late = (valid_readings(predicted_time) - first) * 1e9 if np.isfinite(first) else np.full(len(masked), np.nan)
        found.append((layers["linear"][1], late))
    rows = []
    for layer, values in found:
        shown = layer, layer._replace(marked=masked), layer._replace(values=np.where(masked, values, layer.values))
        difference = np.where(masked, values - layer.values, np.nan)
        off = signed("", f"Δ {layer.label}", difference, least=1e-3 * float(layer.norm.vmax or 1))  # rounding is none
        rows.append([*zip(PANELS, shown, strict=True), (DIFFERENCE, off)])

    marked = Patch(**MARK, label=f"masked ({masked.mean():.0%} of the sensors)")
    hollow = Patch(**HOLLOW, label=f"no valid reading; {DIFFERENCE}: not masked")
    return draw_rows(detector, rows, title, [marked, hollow])[0]


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
