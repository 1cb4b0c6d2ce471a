"""Photons and their showers before any light, in blocks of events that share a random generator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xecgnn.arrays import Floats, Ints
from xecgnn.detector import Detector
from xecgnn.directions import direction_to_angles
from xecgnn.simulation.config import Sample
from xecgnn.simulation.constants import Constants
from xecgnn.simulation.shower import Interactions, Showers, deposit_direction, draw_showers, represent
from xecgnn.simulation.source import EnergyRange, Photons, draw_photons
from xecgnn.simulation.volume import XenonVolume

__all__ = ["BLOCK_EVENTS", "MEV", "NS", "Block", "PhotonBlocks", "Stream", "generator"]

BLOCK_EVENTS = 1024  # the cost of a cascade is per call; changing this changes all samples
NS, MEV = 1e-9, 1e-3  # s, GeV: units of the tree


class Block(NamedTuple):
    """E events whose light is still to come."""

    number: int
    first: int  # number of the first event in the block: not 0 in a piece of one
    event: Ints  # [P] event of each photon, ascending from 0
    showers: Showers  # [P]
    truth: dict[str, NDArray[Any]]  # [E, ...] by branch, in its unit; timeTruth on the clock of the deposits

    @property
    def size(self) -> int:
        """Number of events."""
        return len(self.truth["n_gamma"])

    def piece(self, start: int, stop: int) -> Block:
        """The events from `start` to `stop`, at most to the end."""
        truth = {name: values[start:stop] for name, values in self.truth.items()}
        photons = slice(*np.searchsorted(self.event, [start, stop]))
        return Block(self.number, self.first + start, self.event[photons] - start, self.showers[photons], truth)


class Stream:
    """Numbers of the random streams of a block: readings do not depend on where the deposits come from."""

    PHOTONS, DEPOSITS, READINGS = range(3)


def generator(seed: int, block: int, stream: int, piece: int = 0) -> np.random.Generator:
    """The random generator of one thing that is drawn."""
    return np.random.default_rng([seed, block, stream, piece])


@dataclass(frozen=True)
class PhotonBlocks:
    """Blocks of events with photons of our own: block `index` is always the same."""

    detector: Detector
    volume: XenonVolume
    constants: Constants
    seed: int
    sample: Sample
    energy: Sequence[EnergyRange] | None
    pileup: bool
    limits: bool

    def __call__(self, index: int) -> Block:
        rng = generator(self.seed, index, Stream.PHOTONS)
        photons = draw_photons(
            rng, self.detector, self.volume, BLOCK_EVENTS, self.sample, self.energy, self.pileup, self.constants
        )
        interactions, steps = draw_showers(rng, photons, self.volume)
        rng = generator(self.seed, index, Stream.DEPOSITS)
        showers = represent(rng, steps, len(photons), self.volume, self.constants)
        truth = self._truth(photons, interactions, showers)
        truth |= {"run": np.full(BLOCK_EVENTS, self.seed), "event": index * BLOCK_EVENTS + np.arange(BLOCK_EVENTS)}
        if self.limits:
            truth |= {"deposits_emiVec": deposit_direction(steps, interactions.position, self.volume)}
        return Block(index, 0, photons.event, showers, truth)

    def _truth(self, photons: Photons, first: Interactions, showers: Showers) -> dict[str, NDArray[Any]]:
        """Truth branches: those of the photon of highest energy, NaN where there is none."""
        last_of_event = np.diff(photons.event, append=-1) != 0
        event, best = photons.event[last_of_event], np.lexsort((photons.energy, photons.event))[last_of_event]

        def per_event(values: Floats) -> Floats:
            column = np.full((BLOCK_EVENTS, *values.shape[1:]), np.nan)
            column[event] = values[best]
            return column

        return {
            "emiAng": per_event(np.stack(direction_to_angles(photons.direction), axis=-1)),
            "emiVec": per_event(photons.direction),
            "energyTruth": per_event(photons.energy) * MEV,
            "edepTruth": per_event(showers.deposited) * MEV,
            "centroidTruth": per_event(showers.centroid),
            "timeTruth": per_event(first.time) * NS,
            "uvwTruth": per_event(self.detector.to_uvw(first.position)),
            "xyzTruth": per_event(first.position),
            "xyzVTX": per_event(photons.vertex),
            "n_gamma": np.bincount(photons.event, minlength=BLOCK_EVENTS),
        }
