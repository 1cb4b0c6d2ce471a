"""Scintillation photons followed one by one: slow, with nothing left out but what happens at surfaces."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from xecgnn.simulation.constants import Constants
from xecgnn.simulation.volume import XenonVolume

__all__ = ["Landings", "isotropic", "trace_photons"]

Floats = NDArray[np.float64]

_ON_SURFACE = 1e-3  # cm, a photon this close to a face has reached it


class Landings(NamedTuple):
    """Where and when N photons of M ended on a face; the other M - N were absorbed."""

    position: Floats  # [N, 3] cm
    time: Floats  # [N] ns since emission
    scattered: NDArray[np.bool_]  # [N] at least once


def isotropic(rng: np.random.Generator, count: int) -> Floats:
    """Unit vectors (count, 3), all directions equally often."""
    vector = rng.standard_normal((count, 3))
    return vector / np.linalg.norm(vector, axis=1, keepdims=True)


def trace_photons(
    rng: np.random.Generator, point: Floats, count: int, volume: XenonVolume, constants: Constants
) -> Landings:
    """Emit photons from a point (3,) in cm; Rayleigh scattering, absorption, and the first face ends a photon.

    `volume.depth` is never more than the distance to the nearest face, so a photon that steps by it crosses none.
    """
    position, direction = np.tile(point, (count, 1)), isotropic(rng, count)
    path = np.zeros(count)
    left = rng.standard_exponential(count) * constants.absorption_length  # cm until it is absorbed
    free = rng.standard_exponential(count) * constants.scattering_length  # cm until it scatters
    scattered = np.zeros(count, dtype=bool)
    landed = []
    while len(position):
        depth = volume.depth(position)
        step = np.minimum(np.minimum(np.maximum(depth, _ON_SURFACE), left), free)
        position, path = position + step[:, None] * direction, path + step
        left, free = left - step, free - step
        turn = free <= 0
        direction[turn] = _rayleigh(rng, direction[turn])
        free[turn] = rng.standard_exponential(turn.sum()) * constants.scattering_length
        scattered |= turn
        arrived = depth < _ON_SURFACE
        landed.append((position[arrived], path[arrived] / constants.light_speed, scattered[arrived]))
        alive = ~arrived & (left > 0)
        position, direction, path = position[alive], direction[alive], path[alive]
        left, free, scattered = left[alive], free[alive], scattered[alive]
    return Landings(*(np.concatenate(parts) for parts in zip(*landed, strict=True)))


def _rayleigh(rng: np.random.Generator, direction: Floats) -> Floats:
    """New directions (N, 3) at angles of the density 1 + cos^2 to the old ones, by rejection."""
    new = isotropic(rng, len(direction))
    again = np.arange(len(direction))
    while len(again):
        cosine = (new[again] * direction[again]).sum(axis=1)
        again = again[2 * rng.random(len(again)) > 1 + cosine**2]
        new[again] = isotropic(rng, len(again))
    return new
