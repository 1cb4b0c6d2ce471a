"""Liquid xenon for photons and electrons of 0.05 to 100 MeV: cross sections and energy losses in a compact form.

Closed formulas where there are, else fits and one short table. Sources and largest deviations:

- photons: NIST XCOM (Berger et al.), without coherent scattering. Compton is Klein-Nishina with a correction for
  binding (1.3 %), photoelectric and pair are fits (2.0 and 1.1 %, pair from 1.15 MeV on; the pair holds the triplet).
- bremsstrahlung: Seltzer and Berger, At. Data Nucl. Data Tables 35 (1986) 345; every value of `_SPECTRUM` is rounded to
  0.01 mb, splines between them reach the full table to 1.9 % from 0.1 MeV on.
- collisions: Berger and Seltzer's formula (ICRU 37) with Sternheimer's density effect.
"""

from __future__ import annotations

import numpy as np
from numpy.polynomial.polynomial import polyval
from numpy.typing import ArrayLike
from scipy.interpolate import RectBivariateSpline

from xecgnn.arrays import Floats

__all__ = [
    "ATOMS",
    "DENSITY",
    "ELECTRON_MASS",
    "ELECTRON_RADIUS",
    "FINE_STRUCTURE",
    "K_BINDING",
    "PAIR_THRESHOLD",
    "Spectrum",
    "Z",
    "annihilation_rate",
    "attenuation",
    "collision_loss",
    "klein_nishina",
    "mean_free_path",
    "momentum",
]


Z, MASS_NUMBER = 54, 131.293
DENSITY = 2.95  # g/cm3
ELECTRON_MASS = 0.51099895  # MeV
PAIR_THRESHOLD = 2 * ELECTRON_MASS  # MeV
FINE_STRUCTURE = 1 / 137.035999
K_BINDING = 0.03456  # MeV, of an electron in the K shell
ELECTRON_RADIUS = 2.8179403e-13  # cm, classical
ATOMS = 6.02214e23 * DENSITY / MASS_NUMBER  # per cm3
ELECTRONS = Z * ATOMS

_MEAN_EXCITATION = 482e-6  # MeV
_PLASMA_ENERGY = 31.74e-6  # MeV, 28.816 eV sqrt(density Z / A)
_DENSITY_EFFECT = 0.60, 3.0  # Sternheimer: log10(beta gamma) where it begins and where it is complete

_PHOTOELECTRIC = -5.43187, -2.06221, 0.290586, -0.00720911, -0.00972113, 0.00116716  # ln(cm2/g) in ln E
_PAIR = -5.0409, 1.9067, -0.1787, -0.0178, -0.0107  # ln(cm2/g) in ln ln(E / threshold)

# (beta^2 / Z^2) k dsigma/dk, millibarn: rows T (MeV), columns k / T.
_SPECTRUM_T = 0.05, 0.1, 0.2, 0.5, 2.0, 8.0, 40.0, 100.0
_SPECTRUM_K = 0.0, 0.1, 0.25, 0.55, 0.8, 0.9, 0.97, 0.99, 0.999
_SPECTRUM = (
    (8.14, 7.77, 7.24, 6.31, 5.75, 5.60, 5.52, 5.46, 5.46),
    (9.40, 8.90, 7.77, 6.23, 5.42, 5.14, 5.00, 4.95, 4.91),
    (10.66, 9.40, 7.83, 5.69, 4.55, 4.19, 3.95, 3.88, 3.87),
    (11.72, 9.64, 7.40, 4.72, 3.25, 2.79, 2.50, 2.43, 2.39),
    (12.56, 10.09, 7.60, 4.56, 2.80, 2.15, 1.66, 1.52, 1.46),
    (12.68, 10.46, 8.39, 5.72, 3.93, 2.96, 1.78, 1.35, 1.19),
    (12.33, 10.65, 9.11, 7.09, 5.94, 5.01, 3.15, 1.97, 1.16),
    (12.29, 10.73, 9.30, 7.56, 6.85, 6.25, 4.60, 2.91, 1.29),
)
# Of positrons over electrons: Kim et al., Phys. Rev. A 33 (1986) 3002; fit of PENELOPE in ln(1 + 1e6 T / Z^2 m).
_POSITRON = 0.0, 0.12359, -0.061274, 0.031516, -0.0077446, 0.0010595, -7.0568e-5, 1.8080e-6


def klein_nishina(energy: ArrayLike) -> Floats:
    """Cross section (cm2) of a photon of `energy` (MeV) and a free electron at rest."""
    a = np.asarray(energy) / ELECTRON_MASS
    log = np.log1p(2 * a)
    bracket = (1 + a) / a**2 * (2 * (1 + a) / (1 + 2 * a) - log / a) + log / (2 * a) - (1 + 3 * a) / (1 + 2 * a) ** 2
    return 2 * np.pi * ELECTRON_RADIUS**2 * bracket


def attenuation(energy: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Mass attenuation (cm2/g) at `energy` (MeV, 0.05 to 100): Compton, photoelectric, pair production."""
    energy = np.asarray(energy, dtype=float)
    compton = klein_nishina(energy) * ELECTRONS / DENSITY / (1 + 0.00823 * energy**-1.1955)
    photoelectric = np.exp(polyval(np.log(energy), _PHOTOELECTRIC))
    above = np.log(np.maximum(energy / PAIR_THRESHOLD, 1 + 1e-9))
    return compton, photoelectric, np.where(above > 1e-6, np.exp(polyval(np.log(above), _PAIR)), 0.0)


def mean_free_path(energy: ArrayLike) -> Floats:
    """Mean path (cm) of photons of `energy` (MeV) to their next interaction."""
    compton, photoelectric, pair = attenuation(energy)
    return 1 / (DENSITY * (compton + photoelectric + pair))


def momentum(kinetic: ArrayLike) -> tuple[Floats, Floats]:
    """p c (MeV) and beta of electrons of `kinetic` energy (MeV)."""
    kinetic = np.asarray(kinetic)
    p = np.sqrt(kinetic * (kinetic + 2 * ELECTRON_MASS))
    return p, p / (kinetic + ELECTRON_MASS)


def collision_loss(kinetic: ArrayLike, charge: int = -1) -> Floats:
    """Mass collision stopping power (MeV cm2/g) for electrons or positrons (`charge` +1) of `kinetic` energy (MeV)."""
    tau = np.asarray(kinetic, dtype=float) / ELECTRON_MASS
    p, beta = momentum(kinetic)
    b2, gamma = beta**2, tau + 1
    if charge < 0:
        shape = 1 - b2 + (tau**2 / 8 - (2 * tau + 1) * np.log(2)) / gamma**2
    else:
        s = tau + 2
        shape = 2 * np.log(2) - b2 / 12 * (23 + 14 / s + 10 / s**2 + 4 / s**3)
    excitation = _MEAN_EXCITATION / ELECTRON_MASS
    bracket = np.log(tau**2 * (tau + 2) / (2 * excitation**2)) + shape - _density_effect(np.log10(p / ELECTRON_MASS))
    return 2 * np.pi * ELECTRON_RADIUS**2 * ELECTRON_MASS * ELECTRONS / DENSITY / b2 * bracket


def _density_effect(x: Floats) -> Floats:
    """Sternheimer's delta at x = log10(beta gamma)."""
    start, end = _DENSITY_EFFECT
    c = 2 * np.log(_MEAN_EXCITATION / _PLASMA_ENERGY) + 1
    a = (c - 2 * np.log(10) * start) / (end - start) ** 3
    delta = 2 * np.log(10) * x - c + a * np.maximum(end - x, 0) ** 3
    return np.where(x > start, delta, 0.0)


def annihilation_rate(kinetic: ArrayLike) -> Floats:
    """Annihilations in flight per cm of positrons of `kinetic` energy (MeV): Heitler's cross section."""
    gamma = np.asarray(kinetic) / ELECTRON_MASS + 1
    root = np.sqrt(gamma**2 - 1)
    bracket = (gamma**2 + 4 * gamma + 1) / root**2 * np.log(gamma + root) - (gamma + 3) / root
    return ELECTRONS * np.pi * ELECTRON_RADIUS**2 / (gamma + 1) * bracket


class Spectrum:
    """Bremsstrahlung above and below a smallest photon energy `cut` (MeV)."""

    _ROWS, _COLUMNS = 128, 513  # of the table that `density` looks up: fine enough to take the nearest entry

    def __init__(self, cut: float) -> None:
        self.cut = cut
        spline = RectBivariateSpline(np.log(_SPECTRUM_T), _SPECTRUM_K, _SPECTRUM)
        self._log_t = np.linspace(np.log(_SPECTRUM_T[0]), np.log(_SPECTRUM_T[-1]), self._ROWS)
        self._table = spline(self._log_t, np.linspace(0, 1, self._COLUMNS))
        self.largest = float(self._table.max())

    def density(self, kinetic: Floats, share: Floats) -> Floats:
        """(beta^2 / Z^2) k dsigma/dk in millibarn for photons that take `share` of the `kinetic` energy (MeV)."""
        row = (np.log(kinetic) - self._log_t[0]) / (self._log_t[1] - self._log_t[0])
        row = np.clip(np.rint(row).astype(np.int64), 0, self._ROWS - 1)
        return self._table[row, np.rint(share * (self._COLUMNS - 1)).astype(np.int64)]

    def rates(self, kinetic: Floats, charge: int) -> tuple[Floats, Floats]:
        """Photons above the cut per cm, and energy in those below it (MeV/cm), of electrons or positrons (+1)."""
        factor = Z**2 / momentum(kinetic)[1] ** 2 * 1e-27 * ATOMS * self._positron(kinetic, charge)
        above = np.maximum(np.log(kinetic / self.cut), 0)  # ln k runs over this range
        nodes, weights = np.polynomial.legendre.leggauss(24)
        position = (nodes + 1) / 2
        hard = self.density(kinetic[:, None], np.exp(-above[:, None] * position)) @ weights / 2 * above
        reach = np.minimum(self.cut / kinetic, 1)
        soft = self.density(kinetic[:, None], reach[:, None] * position) @ weights / 2 * reach * kinetic
        return factor * hard, factor * soft

    @staticmethod
    def _positron(kinetic: Floats, charge: int) -> Floats:
        if charge < 0:
            return np.ones_like(kinetic)
        return -np.expm1(-polyval(np.log1p(1e6 / Z**2 * kinetic / ELECTRON_MASS), _POSITRON))
