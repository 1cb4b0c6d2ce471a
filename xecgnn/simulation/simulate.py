"""Simulated events, in blocks that depend only on the seed and their place: same seed, same events."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import numpy as np

from xecgnn.data.events import EventArrays
from xecgnn.detector import Detector, direction_to_angles
from xecgnn.names import INVALID_VALUE, NPHO, RELATIVE_NPHO, RELATIVE_TIME, TIME
from xecgnn.simulation.constants import Constants
from xecgnn.simulation.light import LightModel
from xecgnn.simulation.readout import Readings, Readout, dead_mask
from xecgnn.simulation.shower import Showers, draw_showers
from xecgnn.simulation.source import Photons, Sample, draw_photons
from xecgnn.simulation.volume import XenonVolume

__all__ = ["BLOCK_EVENTS", "simulate_blocks", "simulate_events"]

BLOCK_EVENTS = 32  # events that share a random generator: changing it changes all samples
MAX_SEED = 2**31 - 1  # the seed is the run number, an int32

_NS, _MEV = 1e-9, 1e-3  # s, GeV: units of the tree


def simulate_events(
    detector: Detector,
    num_events: int,
    *,
    sample: Sample = "uniform",
    seed: int = 0,
    pileup: bool = False,
    dead: Iterable[int] | None = None,
    all_branches: bool = False,
    constants: Constants = Constants(),  # noqa: B008 - immutable
) -> EventArrays:
    """Simulate events; the first n are the same whatever their number.

    Args:
        detector: what to simulate.
        num_events: number of events.
        sample: "uniform": 15-60 MeV, uniform entrance point and direction within 45 degrees of the normal; "signal":
            52.83 MeV from the target.
        seed: 0 to 2^31 - 1; also the run number.
        pileup: 0 to 4 photons per event instead of one.
        dead: ids of sensors without readings.
        all_branches: also `relative_npho` and `time`.
        constants: the physics.

    Returns:
        All truth branches and readings in the units of `names.BRANCHES`.
    """
    blocks = simulate_blocks(
        detector,
        num_events,
        sample=sample,
        seed=seed,
        pileup=pileup,
        dead=dead,
        all_branches=all_branches,
        constants=constants,
    )
    return EventArrays.concatenate(blocks)


def simulate_blocks(
    detector: Detector,
    num_events: int,
    *,
    sample: Sample = "uniform",
    seed: int = 0,
    pileup: bool = False,
    dead: Iterable[int] | None = None,
    all_branches: bool = False,
    constants: Constants = Constants(),  # noqa: B008 - immutable
    threads: int | None = None,
) -> Iterator[EventArrays]:
    """As `simulate_events`, but in blocks of at most `BLOCK_EVENTS`, in order, for constant memory.

    `threads` (default: all cores that this process may use) work ahead by one block each.
    """
    if num_events < 1:
        raise ValueError(f"number of events must be positive, found {num_events}")
    if not 0 <= seed <= MAX_SEED:
        raise ValueError(f"seed must be 0 to {MAX_SEED}, found {seed}")
    block = _Block(detector, sample, seed, pileup, dead, all_branches, constants)
    threads = threads or _usable_cores()
    sizes = (min(BLOCK_EVENTS, num_events - first) for first in range(0, num_events, BLOCK_EVENTS))
    with ThreadPoolExecutor(threads) as pool:
        tasks = (pool.submit(block, index, size) for index, size in enumerate(sizes))
        ahead: deque[Future[EventArrays]] = deque(islice(tasks, 2 * threads))
        try:
            while ahead:
                events = ahead.popleft().result()
                ahead.extend(islice(tasks, 1))
                yield events
        finally:
            for future in ahead:
                future.cancel()


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Block:
    """Simulates the events of one block; holds what all blocks share and is not changed by them."""

    def __init__(
        self,
        detector: Detector,
        sample: Sample,
        seed: int,
        pileup: bool,
        dead: Iterable[int] | None,
        all_branches: bool,
        constants: Constants,
    ) -> None:
        self._detector, self._constants = detector, constants
        self._sample, self._seed, self._pileup, self._all_branches = sample, seed, pileup, all_branches
        self._volume = XenonVolume(detector)
        self._light = LightModel(detector, self._volume, constants)
        self._readout = Readout(detector, dead_mask(detector, dead), constants)

    def __call__(self, index: int, num_events: int) -> EventArrays:
        """The first `num_events` events of block `index`; a whole block is drawn, so that they are always the same."""
        rng = np.random.default_rng([self._seed, index])
        photons = draw_photons(
            rng, self._detector, self._volume, BLOCK_EVENTS, self._sample, self._pileup, self._constants
        )
        showers = draw_showers(rng, photons, self._volume, self._constants)
        light, arrival = self._light(showers)
        readings = self._readout(rng, light, arrival, photons.event, BLOCK_EVENTS)
        identifiers = {
            "run": np.full(BLOCK_EVENTS, self._seed),
            "event": index * BLOCK_EVENTS + np.arange(BLOCK_EVENTS),
        }
        events = EventArrays(
            _readings(readings, self._all_branches) | self._truth(photons, showers, readings) | identifiers
        )
        return events[:num_events]

    def _truth(self, photons: Photons, showers: Showers, readings: Readings) -> dict[str, np.ndarray]:
        """Truth branches: those of the photon of highest energy, NaN where there is none."""
        last_of_event = np.diff(photons.event, append=-1) != 0
        event, best = photons.event[last_of_event], np.lexsort((photons.energy, photons.event))[last_of_event]

        def per_event(values: np.ndarray) -> np.ndarray:
            column = np.full((BLOCK_EVENTS, *values.shape[1:]), np.nan)
            column[event] = values[best]
            return column

        return {
            "emiAng": per_event(np.stack(direction_to_angles(photons.direction), axis=-1)),
            "emiVec": per_event(photons.direction),
            "energyTruth": per_event(photons.energy) * _MEV,
            "timeTruth": (per_event(showers.conversion_time) - readings.earliest) * _NS,
            "uvwTruth": per_event(self._detector.to_uvw(showers.conversion)),
            "xyzTruth": per_event(showers.conversion),
            "xyzVTX": per_event(photons.vertex),
            "n_gamma": np.bincount(photons.event, minlength=BLOCK_EVENTS),
        }


def _readings(readings: Readings, all_branches: bool) -> dict[str, np.ndarray]:
    """Branches of the readings, in the tree's units and with its invalid value."""
    columns = {NPHO: readings.npho, RELATIVE_TIME: (readings.time - readings.earliest[:, None]) * _NS}
    if all_branches:
        columns[RELATIVE_NPHO] = readings.npho / np.fmax.reduce(readings.npho, axis=1, keepdims=True)
        columns[TIME] = readings.time * _NS
    return {name: np.nan_to_num(values, nan=INVALID_VALUE) for name, values in columns.items()}
