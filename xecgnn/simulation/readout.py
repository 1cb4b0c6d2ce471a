"""From expected light to readings: photo-electrons, charge, time, dead channels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from xecgnn.arrays import Bools, Ints, Singles
from xecgnn.detector import Detector
from xecgnn.simulation.constants import Constants

__all__ = ["Readings", "Readout", "dead_mask"]


@dataclass(frozen=True)
class Readings:
    """What E events leave in S sensors; NaN where a reading is invalid."""

    npho: Singles  # [E, S] photons
    time: Singles  # [E, S] ns
    earliest: Singles  # [E] ns, first valid time of the event


class Readout:
    """Draws the readings of a detector. `dead` (S,) marks channels without any."""

    def __init__(self, detector: Detector, dead: Bools, constants: Constants) -> None:
        unknown = sorted(set(detector.sensor_type.tolist()) - constants.readout.keys())
        if unknown:
            raise ValueError(f"no readout constants for sensor {unknown[0]!r}; known: {', '.join(constants.readout)}")
        kinds = [(detector.sensor_kinds[name].efficiency, constants.readout[name]) for name in detector.sensor_type]
        self._efficiency = np.array([efficiency for efficiency, _ in kinds], dtype=np.float32)
        self._gain_variance = np.array([readout.gain_spread**2 for _, readout in kinds], dtype=np.float32)
        self._noise_variance = np.array([readout.noise**2 for _, readout in kinds], dtype=np.float32)
        self._dead, self._constants = dead, constants

    def __call__(
        self, rng: np.random.Generator, light: Singles, arrival: Singles, event: Ints, num_events: int
    ) -> Readings:
        """Readings of E events from the expected light and arrival times (ns), both (P, S), of photons in `event` (P,).

        The charge of n photo-electrons is n with the spread of n single ones and electronics noise. A photon gives a
        time from `hit_threshold` photo-electrons on: the mean arrival, the decay time of the first of n (exponential
        with decay time / n) and the electronics' jitter / sqrt(n). Of several photons in a sensor the first is seen.
        """
        constants, shape = self._constants, (num_events, len(self._efficiency))
        electrons = rng.poisson(light * self._efficiency).astype(np.float32)  # [P, S]
        decay = rng.standard_exponential(electrons.shape, dtype=np.float32) * np.float32(constants.decay_time)
        jitter = rng.standard_normal(electrons.shape, dtype=np.float32) * np.float32(constants.time_jitter)
        with np.errstate(divide="ignore", invalid="ignore"):
            hit_time = arrival + decay / electrons + jitter / np.sqrt(electrons)
        hit_time[electrons < constants.hit_threshold] = np.nan

        total, time = np.zeros(shape, dtype=np.float32), np.full(shape, np.nan, dtype=np.float32)
        for row, target in enumerate(event):
            total[target] += electrons[row]
            np.fmin(time[target], hit_time[row], out=time[target])
        spread = np.sqrt(total * self._gain_variance + self._noise_variance)
        npho = (total + spread * rng.standard_normal(shape, dtype=np.float32)) / self._efficiency
        npho[:, self._dead] = np.nan
        time[:, self._dead] = np.nan
        return Readings(npho, time, np.fmin.reduce(time, axis=1))


def dead_mask(detector: Detector, dead: Iterable[int] | None) -> Bools:
    """(S,) True at the sensor ids `dead`; ValueError names those that the detector does not have."""
    ids = np.array(sorted(() if dead is None else dead), dtype=np.int64)
    unknown = [int(i) for i in ids if not 0 <= i < detector.num_sensors]
    if unknown:
        last = detector.num_sensors - 1
        raise ValueError(f"dead channels {unknown} are not in detector {detector.name}; ids go from 0 to {last}")
    mask = np.zeros(detector.num_sensors, dtype=bool)
    mask[ids] = True
    return mask
