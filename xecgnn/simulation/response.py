"""From showers to readings: light, readout, and the branches of the tree."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing

import numpy as np

from xecgnn.arrays import Bools
from xecgnn.data.events import Events
from xecgnn.detector import Detector
from xecgnn.names import INVALID_VALUE, NPHO, RELATIVE_NPHO, RELATIVE_TIME, TIME
from xecgnn.simulation.block import NS, Block, Stream, generator
from xecgnn.simulation.constants import Constants
from xecgnn.simulation.light import LightModel
from xecgnn.simulation.limits import LightLimits
from xecgnn.simulation.readout import Readings, Readout
from xecgnn.simulation.volume import XenonVolume
from xecgnn.workers import end_with_user, in_order

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
        dead: Bools,
        all_branches: bool,
        limits: bool,
    ) -> None:
        self._seed, self._all_branches = seed, all_branches
        self._light = LightModel(detector, volume, constants)
        self._readout = Readout(detector, dead, constants)
        self._limits = LightLimits(detector, volume, self._light, dead, constants) if limits else None

    def __call__(self, piece: Block) -> dict[str, np.ndarray]:
        """Readings and truth of the events of a piece of a block: columns by branch."""
        light, arrival = self._light(piece.showers)
        rng = generator(self._seed, piece.number, Stream.READINGS, piece.first)
        readings = self._readout(rng, light, arrival, piece.event, piece.size)
        truth = piece.truth | {"timeTruth": piece.truth["timeTruth"] - readings.earliest * NS}
        limits = self._limits(piece.showers, light, arrival) if self._limits else {}
        return _branches(readings, self._all_branches) | truth | limits


def respond(
    make: Callable[[int], Block], num_blocks: int, response: Response, workers: int, make_here: bool = False
) -> Generator[Events]:
    """Events of the blocks 0 to num_blocks - 1 that `make` makes, in order and in pieces.

    With more than one, `workers` processes do the work, but for `make` with `make_here`. Threads would not help: half
    of it are short calls of NumPy, for which they would hand the interpreter to each other without end.
    """
    numbers = (number for number in range(num_blocks))
    if workers == 1:
        for block in map(make, numbers):
            yield from (Events(response(piece)) for piece in _pieces(block))
        return
    # Not "forkserver": there is one for a process, and it imports what the loaders of a training need.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _begin, (None if make_here else make, response)) as pool:
        blocks = (make(number) for number in numbers) if make_here else in_order(pool, _make, numbers, 2)
        pieces = (piece for block in blocks for piece in _pieces(block))
        with closing(blocks), closing(in_order(pool, _respond, pieces, 3 * workers)) as results:
            yield from map(Events, results)


class _Worker:
    """What a worker process holds: too large to be sent with each piece."""

    functions: tuple[Callable[[int], Block] | None, Response]


def _begin(make: Callable[[int], Block] | None, response: Response) -> None:
    end_with_user()
    _Worker.functions = make, response


def _make(number: int) -> Block:
    make, _ = _Worker.functions
    assert make is not None
    return make(number)


def _respond(piece: Block) -> dict[str, np.ndarray]:
    return _Worker.functions[1](piece)


def _pieces(block: Block) -> Iterator[Block]:
    for start in range(0, block.size, PIECE_EVENTS):
        yield block.piece(start, start + PIECE_EVENTS)


def _branches(readings: Readings, all_branches: bool) -> dict[str, np.ndarray]:
    """Branches of the readings, in the tree's units and with its invalid value."""
    columns = {NPHO: readings.npho, RELATIVE_TIME: (readings.time - readings.earliest[:, None]) * NS}
    if all_branches:
        columns[RELATIVE_NPHO] = readings.npho / np.fmax.reduce(readings.npho, axis=1, keepdims=True)
        columns[TIME] = readings.time * NS
    return {name: np.nan_to_num(values, nan=INVALID_VALUE) for name, values in columns.items()}
