"""Quantities that colour the sensors of an event: light, time, and what else a file has per sensor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
from matplotlib.colors import LogNorm, Normalize
from matplotlib.ticker import LogLocator, MaxNLocator
from numpy.typing import ArrayLike, NDArray

from xecgnn.detector import Detector
from xecgnn.names import FILLED, MASKED, NPHO, RELATIVE_TIME, is_valid
from xecgnn.schema import prediction_of

__all__ = ["EXTRA", "Layer", "Scale", "event_layers", "extra_layers", "signed", "valid_readings"]

Array = NDArray[np.float64]
Scale = Literal["log", "linear"]

# Quantiles of the light where the scales begin and end, whatever one sensor sees: half of the sensors have less than
# noise; the brightest has 1.5 times the last of these in the median event of the uniform sample, 15 times in 1 of 100.
DARK, BRIGHT = 0.5, {"log": 0.999, "linear": 0.99}
DECADES = 1e3  # at most, of the logarithmic scale
LATE = 0.75  # quantile of the times where the linear scale ends: the tail of late single photons is long

PREDICTED_NPHO, PREDICTED_TIME = prediction_of(NPHO), prediction_of(RELATIVE_TIME)
EXTRA = {
    PREDICTED_NPHO: "predicted npho",
    PREDICTED_TIME: "predicted time",
    "saliency": "saliency",
    f"saliency_{NPHO}": "saliency of npho",
    f"saliency_{RELATIVE_TIME}": "saliency of time",
    MASKED: "masked",
    FILLED: "filled",
}
"""Branches with one value per sensor that become layers where a file has them; `pred_npho` also makes a residual."""


class Layer(NamedTuple):
    """One way to colour the sensors."""

    name: str
    label: str  # with unit
    values: Array  # (S,), NaN where there is none
    cmap: str
    norm: Normalize
    extend: Literal["neither", "min", "max", "both"] = "neither"  # where the last colour stands for all beyond
    unit: str = ""  # of the numbers under the mouse
    shown: Array | None = None  # (S,) these numbers, where not `values`
    marked: NDArray[np.bool_] | None = None  # (S,) sensors that are drawn in a colour of their own

    def where(self, shown: NDArray[np.bool_]) -> Layer:
        """The same of some sensors (S,) alone."""
        return self._replace(values=np.where(shown, self.values, np.nan))

    def ticks(self) -> list[float]:
        """Round values for a colour bar."""
        locator = LogLocator(subs=(1, 2, 5)) if isinstance(self.norm, LogNorm) else MaxNLocator(6)
        low, high = float(self.norm.vmin or 0), float(self.norm.vmax or 0)
        return [float(value) for value in locator.tick_values(low, high) if low <= value <= high]


def valid_readings(values: ArrayLike) -> Array:
    """A float copy of the readings (S,) with NaN where they are invalid."""
    values = np.array(values, dtype=float)
    return np.where(is_valid(values), values, np.nan)


def event_layers(
    detector: Detector, npho: ArrayLike, time: ArrayLike, scale: Scale | Literal["both"] = "both"
) -> dict[Scale, tuple[Layer, Layer]]:
    """Photons (S,) per active area, so that sensors of different size compare; times (S,) s as ns after the earliest.

    Colours end at quantiles of the readings: `DARK` and `BRIGHT` of the light, `LATE` of the time on the linear scale.
    """
    scales: tuple[Scale, ...] = ("log", "linear") if scale == "both" else (scale,)
    return {kind: (_light(detector, npho, kind), _time(time, kind)) for kind in scales}


def extra_layers(detector: Detector, npho: ArrayLike, branches: Mapping[str, ArrayLike]) -> list[Layer]:
    """Layers of those branches (S,) that are in `EXTRA`."""
    layers = []
    for branch, name in EXTRA.items():
        if branch not in branches:
            continue
        values = valid_readings(branches[branch])
        if branch == PREDICTED_TIME:
            layers.append(_time(values, "linear", name))
        elif branch in (MASKED, FILLED):
            layers.append(Layer(name, f"{name} (1 = yes)", values, "cividis", Normalize(0, 1)))
        elif branch == PREDICTED_NPHO:
            difference = valid_readings(npho) - values
            residual = signed("residual", "(npho - predicted) / active area [1/cm²]", difference / detector.areas)
            layers += [_light(detector, values, "log", name), residual._replace(shown=difference)]
        else:
            layers.append(signed(name, name, values))
    return layers


def _light(detector: Detector, npho: ArrayLike, scale: Scale, name: str = "npho") -> Layer:
    photons = valid_readings(npho)
    light = photons / detector.areas
    found = light[np.isfinite(light)] if np.isfinite(light).any() else np.zeros(1)
    dark, bright = np.quantile(found, [DARK, BRIGHT[scale]])
    bright = bright if bright > 0 else max(found.max(), 0) or 1.0  # little light, on few sensors
    # Light below the scale, also where the baseline makes it negative, takes the lowest colour.
    low = np.clip(dark, bright / DECADES, bright / 10) if scale == "log" else 0.0
    norm = (LogNorm if scale == "log" else Normalize)(low, bright, clip=True)
    return Layer(name, f"{name} / active area [1/cm²]", light, "viridis", norm, "both", shown=photons)


def _time(time: ArrayLike, scale: Scale, name: str = "time") -> Layer:
    times = valid_readings(time) * 1e9
    times -= np.fmin.reduce(times)
    early, late, last = np.nanquantile(times, [0.05, LATE, 0.99]) if np.isfinite(times).any() else (0.0, 0.0, 0.0)
    late, last = late or 1.0, last or 1.0  # all at the same time
    norm = LogNorm(max(early, last / DECADES), last, clip=True) if scale == "log" else Normalize(0, late, clip=True)
    extend: Literal["both", "max"] = "both" if scale == "log" else "max"
    return Layer(name, f"{name} after the earliest [ns]", times, "plasma_r", norm, extend, unit="ns")


def signed(name: str, label: str, values: Array, least: float = 0.0) -> Layer:
    """Values around zero; few extreme ones do not take all the colour, and the scale does not end below `least`."""
    finite = np.abs(values[np.isfinite(values)])
    limit = float(np.quantile(finite, 0.99) or finite.max()) if finite.size else 0.0
    limit = max(limit, least) or 1.0
    return Layer(name, label, values, "coolwarm", Normalize(-limit, limit, clip=True), "both")
