"""Electromagnetic cascades of photons of 1 to 100 MeV in liquid xenon, all particles of many events at once."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from xecgnn.arrays import Floats, Ints
from xecgnn.simulation.electrons import ElectronSteps, annihilate
from xecgnn.simulation.particles import Particles
from xecgnn.simulation.photons import fly, interact
from xecgnn.simulation.xenon import mean_free_path

__all__ = ["ENERGY_RANGE", "Deposits", "FreeShowers", "develop", "simulate_showers"]


ENERGY_RANGE = 1.0, 100.0  # MeV
_CUT = 0.05  # MeV: below, a photon is absorbed where it is made; it would fly less than 0.5 mm
_STOP = 0.1  # MeV: below, an electron stays where it is; it would go less than 0.1 mm
_LONGEST_STEP = 0.1  # cm
_STEPS_BETWEEN = 8  # steps of all electrons between two interactions of all photons: fewer calls with few particles
_BLOCK = 1024  # photons that are developed together: the cost of a call is shared


class Deposits(NamedTuple):
    """D places where energy is left, by event, and in an event by track and along it."""

    event: Ints  # [D]
    position: Floats  # [D, 3] cm from the first interaction, z along the photon
    energy: Floats  # [D] MeV
    path: Floats  # [D] cm that their particle and its parents flew since the first interaction, at the speed of light
    track: Ints  # [D] which particle left it, in the order of creation


class FreeShowers(NamedTuple):
    """Showers of n photons in unbounded xenon."""

    event: Ints  # [D] which photon, ascending
    position: Floats  # [D, 3] cm from the first interaction, z along the photon
    energy: Floats  # [D] MeV
    path: Floats  # [n] cm that the photon flew to its first interaction


def simulate_showers(energy: ArrayLike, seed: int = 0, step: float = _LONGEST_STEP) -> FreeShowers:
    """Showers of photons of `energy` (n,) MeV; same seed, same showers.

    `step` is the longest one of an electron in cm. Raises ValueError for energies outside `ENERGY_RANGE`.
    """
    energy = np.atleast_1d(np.asarray(energy, dtype=float))
    parts, paths = [], []
    for first in range(0, max(len(energy), 1), _BLOCK):
        rng = np.random.default_rng([seed, first // _BLOCK])
        block = energy[first : first + _BLOCK]
        paths.append(rng.standard_exponential(len(block)) * mean_free_path(block))
        deposits = develop(rng, block, step)
        parts.append(deposits._replace(event=deposits.event + first))
    joined = Deposits._make(np.concatenate(column) for column in zip(*parts, strict=True))
    return FreeShowers(joined.event, joined.position, joined.energy, np.concatenate(paths))


def develop(rng: np.random.Generator, energy: Floats, step: float = _LONGEST_STEP) -> Deposits:
    """Showers of photons of `energy` (n,) MeV that interact at the origin, flying along z."""
    low, high = ENERGY_RANGE
    wrong = ~((energy >= low) & (energy <= high))
    if wrong.any():
        raise ValueError(f"photon energies must be {low:g} to {high:g} MeV, found {energy[wrong][0]:g}")
    electron_steps = _steps(step)
    count = len(energy)
    arrived = Particles(
        event=np.arange(count),
        track=np.zeros(count, dtype=np.int64),
        charge=np.zeros(count, dtype=np.int64),
        position=np.zeros((count, 3)),
        direction=np.tile([0.0, 0.0, 1.0], (count, 1)),
        energy=np.array(energy, dtype=float),
        path=np.zeros(count),
    )
    electrons = arrived.pick(slice(0))
    tracks, found = 1, [Deposits(arrived.event, arrived.position, 0 * arrived.energy, arrived.path, arrived.track)]
    while arrived.size or electrons.size:
        scattered, made, left = interact(rng, arrived)
        found.append(Deposits(arrived.event, arrived.position, left, arrived.path, arrived.track))
        electrons = Particles.joined([electrons, made._replace(track=tracks + np.arange(made.size))])
        tracks += made.size

        annihilating, radiated = [electrons.pick(slice(0))], [scattered]
        for _ in range(_STEPS_BETWEEN):
            if not electrons.size:
                break
            done = electron_steps(rng, electrons)
            found.append(Deposits(electrons.event, done.middle, done.deposit, electrons.path, electrons.track))
            annihilating.append(done.annihilating)
            radiated.append(done.photons)
            electrons = done.going
        photons = Particles.joined([*radiated, annihilate(rng, Particles.joined(annihilating))])

        photons = photons._replace(track=tracks + np.arange(photons.size))
        tracks += photons.size
        soft = photons.pick(photons.energy < _CUT)
        found.append(Deposits(soft.event, soft.position, soft.energy, soft.path, soft.track))
        arrived = fly(rng, photons.pick(photons.energy >= _CUT))
    return _ordered(found, tracks)


def _ordered(parts: list[Deposits], tracks: int) -> Deposits:
    """All deposits with energy, by event, then track; `parts` are in the order of time along each track."""
    joined = Deposits._make(np.concatenate(column) for column in zip(*parts, strict=True))
    filled = np.flatnonzero(joined.energy > 0)
    order = np.argsort(joined.event[filled] * tracks + joined.track[filled], kind="stable")
    return Deposits._make(column[filled[order]] for column in joined)


@cache
def _steps(longest: float) -> ElectronSteps:
    return ElectronSteps(_CUT, _STOP, longest)
