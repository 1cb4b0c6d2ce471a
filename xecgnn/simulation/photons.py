"""What photons do in xenon: fly, then Compton scattering, photoelectric effect or pair production."""

from __future__ import annotations

import numpy as np

from xecgnn.arrays import Floats, Ints
from xecgnn.simulation import xenon
from xecgnn.simulation.particles import Particles, accept, deflect
from xecgnn.simulation.xenon import ELECTRON_MASS

__all__ = ["compton_share", "dipole_angle", "fly", "interact", "pair_share"]


def fly(rng: np.random.Generator, photons: Particles) -> Particles:
    """Photons at the place of their next interaction."""
    length = rng.standard_exponential(photons.size) * xenon.mean_free_path(photons.energy)
    position = photons.position + length[:, None] * photons.direction
    return photons._replace(position=position, path=photons.path + length)


def interact(rng: np.random.Generator, photons: Particles) -> tuple[Particles, Particles, Floats]:
    """Photons and electrons that photons leave behind when they interact, and the energy (N,) MeV left at the place."""
    compton, photoelectric, pair = xenon.attenuation(photons.energy)
    choice = rng.random(photons.size) * (compton + photoelectric + pair)
    scatters, absorbed = choice < compton, (choice >= compton) & (choice < compton + photoelectric)
    left = np.zeros(photons.size)
    # The binding energy stays at the place, as its X rays and Auger electrons fly no 0.5 mm.
    left[absorbed] = np.minimum(xenon.K_BINDING, photons.energy[absorbed])
    electron = photons.pick(absorbed)
    electron = electron._replace(energy=electron.energy - left[absorbed], charge=electron.charge - 1)
    scattered, recoil = _compton(rng, photons.pick(scatters))
    return scattered, Particles.joined([electron, recoil, *_pair(rng, photons.pick(~scatters & ~absorbed))]), left


def compton_share(rng: np.random.Generator, energy: Floats) -> Floats:
    """Energy (N,) that photons keep over their `energy` (N,) MeV: Klein and Nishina."""
    a = energy / ELECTRON_MASS
    least = 1 / (1 + 2 * a)
    log, square = -np.log(least), (1 - least**2) / 2

    def draw(i: Ints) -> tuple[Floats, Floats]:
        # 1 / share + share, each term by inversion, times the part with the angle.
        u, first = rng.random(len(i)), rng.random(len(i)) * (log[i] + square[i]) < log[i]
        share = np.where(first, np.exp(-log[i] * u), np.sqrt(least[i] ** 2 + 2 * square[i] * u))
        t = (1 - share) / (a[i] * share)  # 1 - cos
        return share, 1 - share * t * (2 - t) / (1 + share**2)

    return accept(rng, len(energy), draw)


def _compton(rng: np.random.Generator, photons: Particles) -> tuple[Particles, Particles]:
    share = compton_share(rng, photons.energy)
    cosine = np.clip(1 - (1 - share) / share * ELECTRON_MASS / photons.energy, -1, 1)
    direction = deflect(photons.direction, cosine, rng.uniform(-np.pi, np.pi, photons.size))
    momentum = photons.energy[:, None] * (photons.direction - share[:, None] * direction)
    size = np.linalg.norm(momentum, axis=1, keepdims=True)
    recoil = photons._replace(
        energy=photons.energy * (1 - share), direction=momentum / np.maximum(size, 1e-12), charge=photons.charge - 1
    )
    return photons._replace(energy=photons.energy * share, direction=direction), recoil


def pair_share(rng: np.random.Generator, energy: Floats) -> Floats:
    """Share (N,) of the `energy` (N,) MeV that the positron of a pair takes, rest mass included: Bethe and Heitler with
    screening (functions of Butcher and Messel). Below 2 MeV, where Born's approximation fails, all shares are alike."""
    least = ELECTRON_MASS / energy
    scale = 136 / np.cbrt(xenon.Z) * least

    nucleus = 4 / 3 * np.log(xenon.Z)

    def screened(delta: Floats, near: Floats) -> Floats:
        return np.where(delta > 1, 21.12 - 4.184 * np.log(delta + 0.952), near) - nucleus

    def first(delta: Floats) -> Floats:
        return screened(delta, 20.867 - delta * (3.242 - 0.625 * delta))

    def weight(share: Floats, scale: Floats) -> Floats:
        delta = scale / (share * (1 - share))
        second = screened(delta, 20.209 - delta * (1.930 + 0.086 * delta))
        square = share**2 + (1 - share) ** 2
        return np.maximum(square * first(delta) + 2 / 3 * share * (1 - share) * second, 0)

    # The first function is largest at equal shares and the factors in front add up to at most 1.
    largest = first(4 * scale)
    flat = energy < 2.0

    def draw(i: Ints) -> tuple[Floats, Floats]:
        share = least[i] + rng.random(len(i)) * (1 - 2 * least[i])
        return share, np.where(flat[i], 1.0, weight(share, scale[i]) / largest[i])

    return accept(rng, len(energy), draw)


def dipole_angle(rng: np.random.Generator, energy: Floats) -> Floats:
    """Cosine (N,) of the angle theta between a photon and an electron of total `energy` (N,) MeV that radiates it or
    comes from it: u = theta E / m has the density 2 u / (1 + u^2)^2, the leading order of both processes."""
    r = rng.random(len(energy))
    return np.cos(np.minimum(np.sqrt(r / (1 - r)) * ELECTRON_MASS / energy, np.pi))


def _pair(rng: np.random.Generator, photons: Particles) -> list[Particles]:
    """Positrons and electrons, on opposite sides of the photon."""
    positron = pair_share(rng, photons.energy) * photons.energy
    azimuth = rng.uniform(-np.pi, np.pi, photons.size)
    return [
        photons._replace(
            energy=np.maximum(total - ELECTRON_MASS, 0),
            direction=deflect(photons.direction, dipole_angle(rng, total), azimuth + turn),
            charge=photons.charge + charge,
        )
        for charge, total, turn in ((1, positron, 0.0), (-1, photons.energy - positron, np.pi))
    ]
