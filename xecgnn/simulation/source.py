"""Photons before the xenon: where they start, where they enter, their direction, energy and time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from xecgnn.arrays import Floats, Ints
from xecgnn.detector import Detector
from xecgnn.directions import angles_to_direction
from xecgnn.simulation.config import Sample
from xecgnn.simulation.constants import Constants
from xecgnn.simulation.volume import XenonVolume

__all__ = ["EnergyRange", "Photons", "draw_photons"]

EnergyRange = tuple[float, float]  # MeV; a line where both are the same


@dataclass(frozen=True)
class Photons:
    """P photons, those of one event one after the other."""

    event: Ints  # [P] event in the block, ascending
    vertex: Floats  # [P, 3] cm, where the photon starts
    entrance: Floats  # [P, 3] cm, where it enters the xenon
    direction: Floats  # [P, 3] unit vector
    energy: Floats  # [P] MeV
    start: Floats  # [P] ns, when it starts

    def __len__(self) -> int:
        return len(self.event)


def draw_photons(
    rng: np.random.Generator,
    detector: Detector,
    volume: XenonVolume,
    num_events: int,
    sample: Sample,
    energy: Sequence[EnergyRange] | None,
    pileup: bool,
    constants: Constants,
) -> Photons:
    """Photons of `num_events` events: one each, or with `pileup` 0 to `max_photons`.

    `energy`: lines and ranges, each as often as the others (None: those of the sample). In the signal sample they are
    those of the first photon of an event; what piles up on it comes from the target too, with energies uniform up to
    that of the signal, the kinematic limit.
    """
    if sample not in _SAMPLES:
        raise ValueError(f"unknown sample {sample!r}; allowed: {', '.join(_SAMPLES)}")
    counts = rng.integers(0, constants.max_photons + 1, num_events) if pileup else np.ones(num_events, dtype=np.int64)
    event = np.repeat(np.arange(num_events), counts)
    signal = (constants.signal_energy, constants.signal_energy)
    ranges = np.array(energy or [signal if sample == "signal" else constants.energy_range])
    low, high = ranges[rng.integers(len(ranges), size=len(event))].T
    if sample == "signal":
        follows = np.diff(event, prepend=-1) == 0
        low[follows], high[follows] = constants.energy_range[0], constants.signal_energy
    energies = rng.uniform(low, high)
    start = rng.uniform(-constants.time_spread, constants.time_spread, len(event))
    vertex, entrance, direction = _SAMPLES[sample](rng, detector, volume, len(event), constants)
    return Photons(event, vertex, entrance, direction, energies, start)


def _uniform(
    rng: np.random.Generator, detector: Detector, volume: XenonVolume, count: int, constants: Constants
) -> tuple[Floats, Floats, Floats]:
    """Entrance uniform over the entrance face, direction uniform in solid angle within `max_angle` of its normal.

    These photons come from no target; their vertex is the point of the ray that is closest to the beam axis.
    """
    u, v = rng.uniform(-volume.half_u, volume.half_u, count), rng.uniform(-volume.half_v, volume.half_v, count)
    cosine = rng.uniform(np.cos(np.radians(constants.max_angle)), 1, count)
    azimuth = rng.uniform(-np.pi, np.pi, count)

    entrance = detector.to_xyz(np.stack([u, v, np.zeros(count)], axis=1))  # [P, 3]
    normal = detector.to_xyz(np.stack([u, v, np.ones(count)], axis=1)) - entrance
    along_z = np.broadcast_to([0.0, 0.0, 1.0], (count, 3))  # lies in the face, as does the cross product
    across = np.cross(normal, along_z)
    sine = np.sqrt(1 - cosine**2)
    direction = (
        cosine[:, None] * normal
        + (sine * np.cos(azimuth))[:, None] * along_z
        + (sine * np.sin(azimuth))[:, None] * across
    )
    transverse = direction[:, :2]
    back = (entrance[:, :2] * transverse).sum(axis=1) / (transverse**2).sum(axis=1)
    return entrance - back[:, None] * direction, entrance, direction


def _signal(
    rng: np.random.Generator, detector: Detector, volume: XenonVolume, count: int, constants: Constants
) -> tuple[Floats, Floats, Floats]:
    """From the target, isotropic among the directions that meet the entrance face."""
    # Any direction to the entrance face from anywhere on the target lies in this box of cos(theta) and phi.
    offset = constants.target_half_length * np.sin(np.radians(constants.target_slant)) + constants.target_half_height
    reach = volume.half_u + constants.target_half_length
    max_cosine = reach / np.hypot(reach, detector.radius - offset)
    max_phi = volume.half_v / detector.radius + np.arcsin(offset / detector.radius)
    parts = [(np.zeros((0, 3)),) * 3]
    found = 0
    while found < count:
        vertex = _target(rng, 4 * (count - found), constants)
        theta = np.arccos(rng.uniform(-max_cosine, max_cosine, len(vertex)))
        direction = angles_to_direction(theta, rng.uniform(-max_phi, max_phi, len(vertex)))
        # |vertex + s direction| = R in the transverse plane, the solution ahead of the photon.
        a, b = np.sin(theta) ** 2, (vertex[:, :2] * direction[:, :2]).sum(axis=1)
        c = (vertex[:, :2] ** 2).sum(axis=1) - detector.radius**2
        s = (-b + np.sqrt(b**2 - a * c)) / a
        entrance = vertex + s[:, None] * direction
        u, v, _ = np.moveaxis(detector.to_uvw(entrance), -1, 0)
        hit = (np.abs(u) < volume.half_u) & (np.abs(v) < volume.half_v)
        parts.append((vertex[hit], entrance[hit], direction[hit]))
        found += int(hit.sum())
    vertex, entrance, direction = (np.concatenate(column)[:count] for column in zip(*parts, strict=True))
    return vertex, entrance, direction


def _target(rng: np.random.Generator, count: int, constants: Constants) -> Floats:
    """Muon decays (<= count, 3) cm: a Gaussian beam spot in x and y, projected along z onto the slanted ellipse."""
    x, y = rng.normal(0, constants.beam_sigma, (2, count))
    slant = np.radians(constants.target_slant)
    along = x / np.sin(slant)
    on_target = (along / constants.target_half_length) ** 2 + (y / constants.target_half_height) ** 2 < 1
    return np.stack([x, y, x / np.tan(slant)], axis=1)[on_target]


_SAMPLES: dict[str, Callable[..., tuple[Floats, Floats, Floats]]] = {"uniform": _uniform, "signal": _signal}
