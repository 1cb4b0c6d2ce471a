"""What electrons and positrons do in xenon: lose energy, scatter, radiate, annihilate; one step at a time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from xecgnn.arrays import Floats, Ints
from xecgnn.simulation import xenon
from xecgnn.simulation.particles import Particles, accept, deflect
from xecgnn.simulation.photons import dipole_angle
from xecgnn.simulation.xenon import ELECTRON_MASS, Spectrum

__all__ = ["ElectronSteps", "Step", "annihilate", "annihilation_share"]


_HARD_RATE = 6.0  # single collisions per cm that are drawn one by one; the many smaller ones are a Gaussian
_LARGEST_MOTT = 1.35  # bound of the spin factor of electrons in xenon
_NUCLEAR_RADIUS = 4.8e-13 / 1.973269804e-11  # 1/MeV, rms radius over hbar c
_INVERSE_ATOM = 0.015926  # MeV, hbar c over the Thomas-Fermi radius 0.885 Bohr radii / Z^(1/3)


class Step(NamedTuple):
    """What a step of N electrons leaves."""

    going: Particles  # [M] those that go on
    annihilating: Particles  # [A] positrons that meet an electron, in flight or at rest (no energy)
    photons: Particles  # [P] bremsstrahlung above the cut
    middle: Floats  # [N, 3] cm, where energy was left
    deposit: Floats  # [N] MeV


class ElectronSteps:
    """One step of many electrons.

    A step ends at a single event (elastic collision with a large angle, bremsstrahlung above the cut, annihilation), or
    at the longest length. On the way energy is lost continuously, by collisions and bremsstrahlung below the cut; the
    small angles of all other collisions turn the track at a random hinge (Fernandez-Varea et al., NIM B 73 (1993) 447).
    Elastic collisions are those of a screened nucleus (Wentzel, screening angle of Moliere) with the spin factor of
    McKinley and Feshbach, a form factor, and Z (Z + 1) for the electrons of the atom.
    """

    _ROWS = 4096  # of the table of rates: so many that the nearest will do

    def __init__(self, cut: float, stop: float, longest: float) -> None:
        """`cut`: smallest photon (MeV); `stop`: energy (MeV) at which a track ends; `longest`: step (cm)."""
        self._spectrum, self._stop, self._longest = Spectrum(cut), stop, longest
        self._log_t = np.linspace(np.log(stop), np.log(120.0), self._ROWS)
        kinetic = np.exp(self._log_t)
        self._table = np.concatenate([self._rates(kinetic, -1), self._rates(kinetic, 1)])  # [2 R, 6]

    def _rates(self, kinetic: Floats, charge: int) -> Floats:
        """(R, 6): loss (MeV/cm); bremsstrahlung, annihilation per cm; screening and smallest angle of single
        collisions, as (1 - cos) / 2; mean 1 - cos per cm of all smaller ones."""
        hard, soft = self._spectrum.rates(kinetic, charge)
        annihilation = xenon.annihilation_rate(kinetic) if charge > 0 else np.zeros_like(kinetic)
        p, beta = xenon.momentum(kinetic)
        strength = xenon.ELECTRON_RADIUS * ELECTRON_MASS / (p * beta)
        strength = xenon.ATOMS * np.pi * xenon.Z * (xenon.Z + 1) * strength**2  # per cm: dn/dmu = strength / (mu + a)^2
        screening = (_INVERSE_ATOM / (2 * p)) ** 2 * (1.13 + 3.76 * (xenon.FINE_STRUCTURE * xenon.Z / beta) ** 2)
        smallest = 1 / (_HARD_RATE / strength + 1 / (1 + screening)) - screening
        mean = 2 * strength * (np.log1p(smallest / screening) - smallest / (smallest + screening))
        loss = xenon.DENSITY * xenon.collision_loss(kinetic, charge) + soft
        return np.stack([loss, hard, annihilation, screening, smallest, mean], axis=1)

    def __call__(self, rng: np.random.Generator, electrons: Particles) -> Step:
        """Move each of N electrons by one step."""
        count = electrons.size
        loss, brems, annihilation, screening, smallest, mean = self._lookup(electrons)
        collisions = _HARD_RATE * _LARGEST_MOTT
        total = collisions + brems + annihilation
        free = rng.standard_exponential(count) / total
        length = np.minimum(np.minimum(self._longest, 0.2 * electrons.energy / loss), free)
        hinge = rng.random(count) * length
        middle = electrons.position + hinge[:, None] * electrons.direction
        cosine = 1 - np.minimum(rng.standard_exponential(count) * mean * length, 2)
        direction = deflect(electrons.direction, cosine, rng.uniform(-np.pi, np.pi, count))
        deposit = loss * length
        moved = electrons._replace(
            position=middle + (length - hinge)[:, None] * direction,
            direction=direction,
            energy=electrons.energy - deposit,
            path=electrons.path + length,
        )
        what = np.where(length == free, rng.random(count) * total, np.inf)
        hits = np.flatnonzero(what < collisions)
        self._collide(rng, moved, hits, screening[hits], smallest[hits])
        radiates = (what >= collisions) & (what < collisions + brems) & (moved.energy > self._spectrum.cut)
        photons = self._radiate(rng, moved, np.flatnonzero(radiates))
        meets = (what >= collisions + brems) & (what < np.inf)
        stops = (moved.energy <= self._stop) & ~meets
        deposit[stops] += moved.energy[stops]
        moved.energy[stops] = 0
        ends = meets | stops
        return Step(
            going=moved.pick(np.flatnonzero(~ends)) if ends.any() else moved,
            annihilating=moved.pick(np.flatnonzero(ends & (moved.charge > 0))),
            photons=photons,
            middle=middle,
            deposit=deposit,
        )

    def _lookup(self, electrons: Particles) -> Floats:
        """The columns of `_rates` (6, N) at the nearest energy."""
        place = (np.log(np.maximum(electrons.energy, self._stop)) - self._log_t[0]) / (self._log_t[1] - self._log_t[0])
        return self._table[np.rint(place).astype(np.int64) + self._ROWS * (electrons.charge > 0)].T

    @staticmethod
    def _collide(
        rng: np.random.Generator, electrons: Particles, hits: Ints, screening: Floats, smallest: Floats
    ) -> None:
        """Turn those at `hits`, which nobody else holds yet, by one collision each; some collisions are none."""
        inverse = 1 / (smallest + screening)
        mu = 1 / (inverse - rng.random(len(hits)) * (inverse - 1 / (1 + screening))) - screening
        p, beta = xenon.momentum(electrons.energy[hits])
        half = np.sqrt(np.maximum(mu, 0))  # sin(theta / 2)
        spin = -np.pi * xenon.FINE_STRUCTURE * xenon.Z * beta * electrons.charge[hits] * half * (1 - half)
        form = 1 / (1 + (2 * p * half * _NUCLEAR_RADIUS) ** 2 / 12) ** 4
        taken = rng.random(len(hits)) * _LARGEST_MOTT < np.maximum(1 - beta**2 * mu + spin, 0) * form
        hits, cosine = hits[taken], 1 - 2 * np.clip(mu[taken], 0, 1)
        electrons.direction[hits] = deflect(electrons.direction[hits], cosine, rng.uniform(-np.pi, np.pi, len(hits)))

    def _radiate(self, rng: np.random.Generator, electrons: Particles, which: Ints) -> Particles:
        """Photons of those at `which`, whose energy falls."""
        energy = electrons.energy[which]
        log = np.log(energy / self._spectrum.cut)

        def draw(i: Ints) -> tuple[Floats, Floats]:
            share = np.exp(-rng.random(len(i)) * log[i])
            return share, self._spectrum.density(energy[i], share) / self._spectrum.largest

        k = accept(rng, len(which), draw) * energy
        direction = deflect(
            electrons.direction[which],
            dipole_angle(rng, energy + ELECTRON_MASS),
            rng.uniform(-np.pi, np.pi, len(which)),
        )
        photons = electrons.pick(which)
        electrons.energy[which] -= k
        return photons._replace(energy=k, direction=direction, charge=0 * photons.charge)


def annihilation_share(rng: np.random.Generator, kinetic: Floats) -> Floats:
    """Share (N,) of the total energy, electron included, of one photon of an annihilation in flight: Heitler. One term
    of two: the other is the same for the other photon."""
    gamma = kinetic / ELECTRON_MASS + 1
    root = np.sqrt((gamma - 1) / (gamma + 1))
    low, high = (1 - root) / 2, (1 + root) / 2

    def draw(i: Ints) -> tuple[Floats, Floats]:
        share = low[i] * (high[i] / low[i]) ** rng.random(len(i))
        return share, 1 - share + (2 * gamma[i] * share - 1) / (share * (gamma[i] + 1) ** 2)

    return accept(rng, len(kinetic), draw)


def annihilate(rng: np.random.Generator, positrons: Particles) -> Particles:
    """Two photons for each positron, in flight or at rest (a positron of next to no energy: isotropic, half each)."""
    kinetic = np.maximum(positrons.energy, 1e-6)
    share, gamma = annihilation_share(rng, kinetic), kinetic / ELECTRON_MASS + 1
    total = positrons.energy + 2 * ELECTRON_MASS
    azimuth = rng.uniform(-np.pi, np.pi, positrons.size)
    photons = []
    for part, turn in ((share, 0.0), (1 - share, np.pi)):
        cosine = (part * (gamma + 1) - 1) / (part * np.sqrt(gamma**2 - 1))
        direction = deflect(positrons.direction, np.clip(cosine, -1, 1), azimuth + turn)
        photons.append(positrons._replace(energy=part * total, direction=direction, charge=0 * positrons.charge))
    return Particles.joined(photons)
