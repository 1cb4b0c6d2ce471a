"""Statistics of every sensor over any number of events, and what they say: dead, hot."""

from __future__ import annotations

import numpy as np

from xecgnn.arrays import Floats, Ints
from xecgnn.detector import Detector
from xecgnn.names import is_valid

__all__ = ["MIN_EVENTS", "SensorTotals"]

MIN_EVENTS = 50  # with fewer, a sensor far from the light may see nothing, and the level of the others says little
HOT_FACTOR, HOT_SPREADS = 2.0, 6.0


class SensorTotals:
    """Sums over events for S sensors: the memory does not grow with the number of events.

    Attributes:
        num_events: events added.
        blind_events: events without any valid npho.
        npho_invalid, npho_nan, time_invalid: (S,) events in which the reading is invalid (`npho_nan`: is NaN).
    """

    def __init__(self, num_sensors: int) -> None:
        self.num_events = self.blind_events = 0
        self.npho_invalid, self.npho_nan, self.time_invalid = np.zeros((3, num_sensors), dtype=np.int64)
        self._sum, self._log_sum = np.zeros((2, num_sensors))
        self._low, self._high = np.full(num_sensors, np.inf), np.full(num_sensors, -np.inf)
        self._scale = 0.0  # of the logarithm: a tenth of the mean npho of the first events

    def add(self, npho: np.ndarray, time: np.ndarray) -> None:
        """Add E events: npho and time (E, S), as read."""
        valid = is_valid(npho)  # False for NaN
        self.num_events += len(npho)
        self.blind_events += int((~valid.any(1)).sum())
        self.npho_invalid += (~valid).sum(0)
        self.npho_nan += np.isnan(npho).sum(0)
        self.time_invalid += (~is_valid(time)).sum(0)
        npho = np.where(valid, npho, np.float32(0))
        if not self._scale and valid.any():
            self._scale = max(0.1 * float(npho.sum(dtype=np.float64) / valid.sum()), 0.0)
        self._sum += npho.sum(0, dtype=np.float64)
        self._log_sum += np.log1p(npho.clip(min=0) / np.float32(self._scale or 1)).sum(0, dtype=np.float64)
        self._low = np.minimum(self._low, npho.min(0, where=valid, initial=np.inf))
        self._high = np.maximum(self._high, npho.max(0, where=valid, initial=-np.inf))

    @property
    def mean(self) -> Floats:
        """Mean of the valid npho (S,); NaN where there is none."""
        return self._per_valid(self._sum)

    @property
    def dead(self) -> Ints:
        """Ids of sensors that are never valid, or (in MIN_EVENTS or more) always have the same value, such as zero."""
        stuck = (self._low == self._high) & (self.num_events >= MIN_EVENTS)
        return np.flatnonzero((self.npho_invalid == self.num_events) | stuck)

    def hot(self, detector: Detector) -> dict[int, float]:
        """Ids of sensors that see far more light than their neighbours, and how many times as much.

        The level of a sensor is the mean of log(1 + npho / scale), which a single bright event hardly moves. It varies
        smoothly over a face, so that (level - median of the neighbours) is narrow. Hot is beyond log(HOT_FACTOR) and
        beyond HOT_SPREADS robust standard deviations of the face. Not judged with less than MIN_EVENTS events.
        """
        hot: dict[int, float] = {}
        level = self._per_valid(self._log_sum)
        level[self.dead] = np.nan
        for face in detector.faces.values() if self.num_events >= MIN_EVENTS else ():
            excess = level[face.sensor_ids] - _around(face.edge_index, level[face.sensor_ids])
            if np.isfinite(excess).any():
                spread = 1.4826 * np.nanmedian(np.abs(excess - np.nanmedian(excess)))
                limit = max(np.log(HOT_FACTOR), HOT_SPREADS * spread)
                hot |= {int(face.sensor_ids[i]): float(np.exp(excess[i])) for i in np.flatnonzero(excess > limit)}
        return dict(sorted(hot.items()))

    def _per_valid(self, total: Floats) -> Floats:
        with np.errstate(invalid="ignore"):
            return total / (self.num_events - self.npho_invalid)


def _around(edge_index: Ints, level: Floats) -> Floats:
    """Median level (N,) over the neighbours of each sensor, itself and NaN left out; NaN where none is left."""
    source, target = edge_index[:, (edge_index[0] != edge_index[1]) & np.isfinite(level[edge_index[0]])]
    around = np.full(len(level), np.nan)
    for sensor in np.unique(target):
        around[sensor] = np.median(level[source[target == sensor]])
    return around
