"""Simulated events, in blocks that depend only on the seed and their place: same seed, same events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TypedDict, Unpack

from xecgnn.data.events import Events
from xecgnn.detector import Detector
from xecgnn.simulation.block import BLOCK_EVENTS, MEV, PhotonBlocks
from xecgnn.simulation.cascade import ENERGY_RANGE
from xecgnn.simulation.config import MAX_SEED, Sample
from xecgnn.simulation.constants import Constants
from xecgnn.simulation.deposits import DepositFile
from xecgnn.simulation.readout import dead_mask
from xecgnn.simulation.response import Response, respond
from xecgnn.simulation.source import EnergyRange
from xecgnn.simulation.volume import XenonVolume

__all__ = ["Options", "simulate_blocks", "simulate_deposits", "simulate_events"]


class Options(TypedDict, total=False):
    """How events are simulated.

    Attributes:
        sample: "uniform" (default): 15-60 MeV, uniform entrance point and direction within 45 degrees of the normal;
            "signal": 52.83 MeV from the target.
        energy: lines and (low, high) ranges in GeV instead of the sample's, each as often as the others.
        seed: 0 to 2^31 - 1 (default 0); also the run number.
        pileup: 0 to 4 photons per event instead of one.
        dead: ids of sensors without readings.
        all_branches: also `relative_npho` and `time`.
        limits: also what could be reached at all (columns `limit_...` and `deposits_...`), for events of one photon.
        constants: the physics.
    """

    sample: Sample
    energy: Sequence[float | tuple[float, float]] | None
    seed: int
    pileup: bool
    dead: Iterable[int] | None
    all_branches: bool
    limits: bool
    constants: Constants


def simulate_events(detector: Detector, num_events: int, **options: Unpack[Options]) -> Events:
    """Simulate events as `Options` say; the first n are the same whatever their number.

    Returns:
        All truth branches and readings in the units of `names.SCHEMA`.
    """
    return Events.concatenate(simulate_blocks(detector, num_events, **options))


def simulate_blocks(
    detector: Detector, num_events: int, *, workers: int = 1, **options: Unpack[Options]
) -> Iterator[Events]:
    """As `simulate_events`, but in small pieces, in order, for constant memory.

    With more than one, `workers` processes share the work; a script that asks for them runs its code under
    `if __name__ == "__main__":`.
    """
    if num_events < 1:
        raise ValueError(f"number of events must be positive, found {num_events}")
    if options.get("limits") and options.get("pileup"):
        raise ValueError("limits are for events of one photon: not with pileup")
    volume, response = _response(detector, options)
    photons = PhotonBlocks(
        detector,
        volume,
        options.get("constants", Constants()),
        options.get("seed", 0),
        options.get("sample", "uniform"),
        _in_mev(options.get("energy")),
        options.get("pileup", False),
        options.get("limits", False),
    )
    num_blocks = (num_events + BLOCK_EVENTS - 1) // BLOCK_EVENTS
    with closing(respond(photons, num_blocks, response, workers)) as pieces:
        for events in pieces:
            yield events[:num_events]
            num_events -= len(events)
            if num_events <= 0:
                return


def simulate_deposits(
    path: str | Path, detector: Detector, *, workers: int = 1, **options: Unpack[Options]
) -> Iterator[Events]:
    """Light and readout of the deposits in a file (`DepositFile`), event by event in its order, in small pieces.

    Of the options, `seed`, `dead`, `all_branches`, `limits` and `constants` have a meaning here.
    """
    volume, response = _response(detector, options)
    constants, seed = options.get("constants", Constants()), options.get("seed", 0)
    with (
        DepositFile(path, detector, volume, constants, seed, options.get("limits", False)) as deposits,
        closing(respond(deposits, deposits.num_blocks, response, workers, make_here=True)) as pieces,
    ):
        yield from pieces


def _response(detector: Detector, options: Options) -> tuple[XenonVolume, Response]:
    seed = options.get("seed", 0)
    if not 0 <= seed <= MAX_SEED:
        raise ValueError(f"seed must be 0 to {MAX_SEED}, found {seed}")
    volume, dead = XenonVolume(detector), dead_mask(detector, options.get("dead"))
    constants, branches = options.get("constants", Constants()), options.get("all_branches", False)
    return volume, Response(detector, volume, constants, seed, dead, branches, options.get("limits", False))


def _in_mev(energy: Sequence[float | tuple[float, float]] | None) -> list[EnergyRange] | None:
    if energy is None:
        return None
    lowest, highest = ENERGY_RANGE
    ranges = []
    for item in energy:
        low, high = (value / MEV for value in (item if isinstance(item, tuple) else (item, item)))
        if not lowest <= low <= high <= highest:
            allowed = f"{lowest * MEV:g} to {highest * MEV:g} GeV"
            raise ValueError(f"photon energies must be {allowed}, lower end first, found {item} GeV")
        ranges.append((low, high))
    if not ranges:
        raise ValueError("no photon energy: the list is empty")
    return ranges
