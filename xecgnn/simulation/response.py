"""From showers to readings: light, readout, and the branches of the tree."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from xecgnn.data.events import EventArrays
from xecgnn.detector import Detector
from xecgnn.names import INVALID_VALUE, NPHO, RELATIVE_NPHO, RELATIVE_TIME, TIME
from xecgnn.simulation.block import NS, Block, Stream, generator
from xecgnn.simulation.constants import Constants
from xecgnn.simulation.light import LightModel
from xecgnn.simulation.readout import Readings, Readout
from xecgnn.simulation.volume import XenonVolume
from xecgnn.threads import in_order, usable_cores

__all__ = ["PIECE_EVENTS", "Response", "respond"]

PIECE_EVENTS = 32  # events whose light is computed at once; changing this changes all samples


class Response:
    """The detector's answer to the showers of a piece of a block. `dead` (S,) marks channels without readings."""

    def __init__(
        self,
        detector: Detector,
        volume: XenonVolume,
        constants: Constants,
        seed: int,
        dead: NDArray[np.bool_],
        all_branches: bool,
    ) -> None:
        self._seed, self._all_branches = seed, all_branches
        self._light = LightModel(detector, volume, constants)
        self._readout = Readout(detector, dead, constants)

    def __call__(self, piece: tuple[Block, int]) -> EventArrays:
        """Readings and truth of the events from `start` on of (block, start)."""
        block, start = piece
        stop = min(start + PIECE_EVENTS, block.size)
        first, last = np.searchsorted(block.event, [start, stop])
        light, arrival = self._light(block.showers[first:last])
        rng = generator(self._seed, block.number, Stream.READINGS, start)
        readings = self._readout(rng, light, arrival, block.event[first:last] - start, stop - start)
        truth = {name: values[start:stop] for name, values in block.truth.items()}
        truth["timeTruth"] = truth["timeTruth"] - readings.earliest * NS
        return EventArrays(_branches(readings, self._all_branches) | truth)


def respond(
    make: Callable[[int], Block], blocks: Iterable[int], response: Response, threads: int | None
) -> Generator[EventArrays]:
    """Events of the blocks of these numbers, in order and in pieces; `threads` work at the same time (default: as
    many as cores), one more is a block ahead with its showers."""
    threads = threads or usable_cores()

    def pieces() -> Generator[tuple[Block, int]]:
        with closing(in_order(make, (number for number in blocks), 1, 2)) as made:
            for block in made:
                for start in range(0, block.size, PIECE_EVENTS):
                    yield block, start

    return in_order(response, pieces(), threads, 2 * threads)


def _branches(readings: Readings, all_branches: bool) -> dict[str, np.ndarray]:
    """Branches of the readings, in the tree's units and with its invalid value."""
    columns = {NPHO: readings.npho, RELATIVE_TIME: (readings.time - readings.earliest[:, None]) * NS}
    if all_branches:
        columns[RELATIVE_NPHO] = readings.npho / np.fmax.reduce(readings.npho, axis=1, keepdims=True)
        columns[TIME] = readings.time * NS
    return {name: np.nan_to_num(values, nan=INVALID_VALUE) for name, values in columns.items()}
