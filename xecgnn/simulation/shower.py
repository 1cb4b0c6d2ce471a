"""Showers of photons in a detector: first interaction, cascade, and the deposits that stand for it in the light."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from xecgnn.arrays import Floats, Ints
from xecgnn.simulation.cascade import develop
from xecgnn.simulation.constants import SPEED_OF_LIGHT, Constants
from xecgnn.simulation.particles import rotated
from xecgnn.simulation.source import Photons
from xecgnn.simulation.volume import XenonVolume
from xecgnn.simulation.xenon import mean_free_path

__all__ = ["Interactions", "Showers", "Steps", "deposit_direction", "draw_showers", "represent"]

_NEAR = 2.0  # cm


class Interactions(NamedTuple):
    """First interactions of P photons."""

    position: Floats  # [P, 3] cm
    time: Floats  # [P] ns


class Steps(NamedTuple):
    """D places where P photons left energy, in the frame of the detector."""

    photon: Ints  # [D] ascending
    position: Floats  # [D, 3] cm
    energy: Floats  # [D] MeV
    time: Floats  # [D] ns


@dataclass(frozen=True)
class Showers:
    """P showers, each seen as D deposits of equal energy."""

    position: Floats  # [P, D, 3] cm
    energy: Floats  # [P, D] MeV, 0 where nothing was left in the xenon
    time: Floats  # [P, D] ns
    deposited: Floats  # [P] MeV left in the xenon
    centroid: Floats  # [P, 3] cm, mean position of that energy; NaN where there is none

    def __getitem__(self, photons: slice) -> Showers:
        return Showers(*(getattr(self, name)[photons] for name in self.__dataclass_fields__))


def draw_showers(rng: np.random.Generator, photons: Photons, volume: XenonVolume) -> tuple[Interactions, Steps]:
    """First interactions of photons and the cascades that follow.

    The depth is exponential, on condition that it lies in the xenon. The cascade develops as in unbounded xenon; what
    it leaves outside is not seen, and a particle that comes back is not stopped on its way.
    """
    mean_path = mean_free_path(photons.energy)
    reachable = -np.expm1(-volume.path_length(photons.entrance, photons.direction) / mean_path)
    depth = -mean_path * np.log1p(-rng.random(len(photons)) * reachable)
    first = photons.entrance + depth[:, None] * photons.direction
    flight = np.linalg.norm(first - photons.vertex, axis=1)
    interactions = Interactions(first, photons.start + flight / SPEED_OF_LIGHT)
    deposits = develop(rng, photons.energy)
    steps = Steps(
        photon=deposits.event,
        position=first[deposits.event] + rotated(deposits.position, photons.direction[deposits.event]),
        energy=deposits.energy,
        time=interactions.time[deposits.event] + deposits.path / SPEED_OF_LIGHT,
    )
    return interactions, steps


def deposit_direction(steps: Steps, first: Floats, volume: XenonVolume) -> Floats:
    """Unit vectors (P, 3) from first interactions (P, 3) to the mean of the steps in the xenon.

    Their weights are energy x exp(-r / 2 cm), r from the first interaction: what is far has forgotten where the photon
    came from. NaN without a step.
    """
    offset = steps.position - first[steps.photon]
    weight = steps.energy * np.exp(-np.linalg.norm(offset, axis=1) / _NEAR) * (volume.depth(steps.position) > 0)
    total = np.stack([np.bincount(steps.photon, weight * axis, len(first)) for axis in offset.T], axis=1)
    with np.errstate(invalid="ignore"):
        return total / np.linalg.norm(total, axis=1, keepdims=True)


def represent(
    rng: np.random.Generator, steps: Steps, num_photons: int, volume: XenonVolume, constants: Constants
) -> Showers:
    """The steps inside the xenon, each photon's as `num_deposits` of equal energy.

    They are drawn systematically, at equal distances of energy along the steps in their order: one random number per
    photon. With tracks one after the other, every track gets its share to within one deposit.
    """
    inside = volume.depth(steps.position) > 0
    energy = np.where(inside, steps.energy, 0.0)
    deposited = np.bincount(steps.photon, energy, num_photons).astype(float)
    with np.errstate(invalid="ignore"):
        moments = [np.bincount(steps.photon, energy * axis, num_photons) / deposited for axis in steps.position.T]
    count = constants.num_deposits
    first, last = (np.searchsorted(steps.photon, np.arange(num_photons), side=side) for side in ("left", "right"))
    along = np.concatenate([[0.0], np.cumsum(energy)])
    fraction = (np.arange(count) + rng.random((num_photons, 1))) / count  # [P, D]
    wanted = along[first, None] + fraction * (along[last] - along[first])[:, None]
    chosen = np.searchsorted(along, wanted, side="right") - 1
    chosen = np.clip(chosen, first[:, None], np.maximum(last - 1, first)[:, None])  # rounding stays within the photon
    nowhere = np.zeros((1, 3)), np.zeros(1)  # for a photon without a step
    return Showers(
        position=np.concatenate([steps.position, nowhere[0]])[chosen],
        energy=np.repeat(deposited[:, None] / count, count, axis=1),
        time=np.concatenate([steps.time, nowhere[1]])[chosen],
        deposited=deposited,
        centroid=np.stack(moments, axis=1),
    )
