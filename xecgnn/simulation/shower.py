"""Conversion of a photon in the xenon and the electromagnetic shower that follows, as point-like deposits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xecgnn.simulation.constants import SPEED_OF_LIGHT, Constants
from xecgnn.simulation.source import Photons
from xecgnn.simulation.volume import XenonVolume

__all__ = ["Showers", "draw_showers"]

Floats = NDArray[np.float64]

_PAIR_LENGTH = 9 / 7  # radiation lengths, mean free path of a photon for pair production at high energy
_MAX_TAIL = 0.99  # cut of the lateral distribution, whose mean radius would not exist otherwise


@dataclass(frozen=True)
class Showers:
    """P showers of D deposits."""

    conversion: Floats  # [P, 3] cm, first interaction point
    conversion_time: Floats  # [P] ns
    position: Floats  # [P, D, 3] cm
    energy: Floats  # [P, D] MeV, 0 for a deposit that left the xenon
    time: Floats  # [P, D] ns


def draw_showers(rng: np.random.Generator, photons: Photons, volume: XenonVolume, constants: Constants) -> Showers:
    """Convert each photon and develop its shower along its direction.

    The conversion depth is exponential with 9/7 radiation lengths, on condition that it lies in the xenon. From there,
    in depth t along the photon (radiation lengths), dE/dt ~ t^(a-1) exp(-b t) with a = 1 + b t_max and
    t_max = ln(E / E_critical) - 1/2; a and b vary from event to event. The distance r to the axis has the density
    2 r c^2 / (r^2 + c^2)^2 with a core c that grows with depth: the shower is a cone with its tip at the conversion.
    (Profile: Particle Data Group, "Passage of particles through matter"; lateral form: Grindhammer and Peters,
    arXiv:hep-ex/0001020.) Deposits share the energy equally; those that leave the xenon are lost.
    """
    count, deposits = len(photons), constants.num_deposits
    length = constants.radiation_length

    mean_path = _PAIR_LENGTH * length
    reachable = -np.expm1(-volume.path_length(photons.entrance, photons.direction) / mean_path)
    depth = -mean_path * np.log1p(-rng.random(count) * reachable)
    conversion = photons.entrance + depth[:, None] * photons.direction
    flight = np.linalg.norm(conversion - photons.vertex, axis=1)
    conversion_time = photons.start + flight / SPEED_OF_LIGHT

    t_max = np.maximum(np.log(photons.energy / constants.critical_energy) - 0.5, 0)
    a = (1 + constants.longitudinal_scale * t_max) * np.exp(constants.shape_spread * rng.standard_normal(count))
    scale = length / constants.longitudinal_scale * np.exp(constants.length_spread * rng.standard_normal(count))  # cm
    along = rng.standard_gamma(np.broadcast_to(a[:, None], (count, deposits))) * scale[:, None]  # [P, D]

    core = constants.core_per_moliere * constants.moliere_radius * along / (a * scale)[:, None]
    tail = _MAX_TAIL * rng.random((count, deposits))
    radius = core * np.sqrt(tail / (1 - tail))
    azimuth = rng.uniform(-np.pi, np.pi, (count, deposits))
    side, up = _perpendicular(photons.direction)
    offset = (
        along[..., None] * photons.direction[:, None]
        + (radius * np.cos(azimuth))[..., None] * side[:, None]
        + (radius * np.sin(azimuth))[..., None] * up[:, None]
    )  # [P, D, 3]
    position = conversion[:, None] + offset
    energy = np.where(volume.depth(position) > 0, photons.energy[:, None] / deposits, 0.0)
    time = conversion_time[:, None] + np.linalg.norm(offset, axis=-1) / SPEED_OF_LIGHT
    return Showers(conversion, conversion_time, position, energy, time)


def _perpendicular(direction: Floats) -> tuple[Floats, Floats]:
    """Two unit vectors (P, 3) at right angles to unit vectors (P, 3) and to each other."""
    # Photons enter through a face along the beam, so none flies along z.
    side = np.cross(direction, [0.0, 0.0, 1.0])
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    return side, np.cross(direction, side)
