from __future__ import annotations

import numpy as np
import pytest

from xecgnn.simulation import xenon

# NIST XCOM without coherent scattering, and ICRU 37: not the tables that the fits were made from.
ATTENUATION = {1: 0.0563, 5: 0.0357, 10: 0.0399, 20: 0.0482, 52.83: 0.0620}  # MeV: cm2/g
STOPPING = {1: 1.12, 5: 1.28, 10: 1.36, 20: 1.44, 52.83: 1.53}  # MeV: MeV cm2/g


@pytest.mark.parametrize(("energy", "expected"), ATTENUATION.items())
def test_attenuation(energy: float, expected: float) -> None:
    assert sum(xenon.attenuation(energy)) == pytest.approx(expected, rel=0.015)


@pytest.mark.parametrize(("energy", "expected"), STOPPING.items())
def test_collision_stopping_power(energy: float, expected: float) -> None:
    assert xenon.collision_loss(energy) == pytest.approx(expected, rel=0.01)
    assert xenon.collision_loss(energy, 1) == pytest.approx(0.97 * expected, rel=0.015)  # positrons lose 2 to 4 % less


@pytest.mark.parametrize(("energy", "expected"), [(0.2, 0.25070), (0.5, 0.02079), (2.0, 0.001213), (20.0, 6.03e-5)])
def test_photoelectric_effect(energy: float, expected: float) -> None:
    assert xenon.attenuation(energy)[1] == pytest.approx(expected, rel=0.025)


def test_no_pairs_below_their_threshold() -> None:
    pair = xenon.attenuation(np.array([0.1, 1.0, 1.021, 1.03, 1.5, 10]))[2]
    assert (pair[:3] == 0).all()
    assert (np.diff(pair[2:]) > 0).all()
    assert pair[-1] == pytest.approx(0.026769 + 0.000287, rel=0.02)


def test_klein_nishina_limits() -> None:
    thomson = 8 * np.pi / 3 * xenon.ELECTRON_RADIUS**2
    assert xenon.klein_nishina(1e-3) == pytest.approx(thomson * (1 - 2e-3 / xenon.ELECTRON_MASS), rel=1e-4)
    high = 1e3 / xenon.ELECTRON_MASS
    expected = np.pi * xenon.ELECTRON_RADIUS**2 / high * (np.log(2 * high) + 0.5)
    assert xenon.klein_nishina(1e3) == pytest.approx(expected, rel=2e-3)


def test_bremsstrahlung_adds_up_to_the_radiative_stopping_power() -> None:
    """Whatever the cut; values of ICRU 37 (NIST ESTAR) for xenon, MeV cm2/g."""
    kinetic = np.array([1.0, 10.0, 50.0])
    total = xenon.Spectrum(1e3).rates(kinetic, -1)[1] / xenon.DENSITY
    np.testing.assert_allclose(total, [0.0820, 0.884, 5.15], rtol=0.03)
    cut = xenon.Spectrum(0.05)
    hard, soft = cut.rates(kinetic, -1)
    share = (np.arange(20000) + 0.5) / 20000
    for index, energy in enumerate(kinetic):  # mean energy of the photons above the cut, by a plain sum over ln k
        k = 0.05 * (energy / 0.05) ** share
        density = cut.density(np.full(20000, energy), k / energy)
        mean = (density * k).sum() / density.sum()
        assert (hard[index] * mean + soft[index]) / xenon.DENSITY == pytest.approx(total[index], rel=0.01)


def test_positrons_radiate_less() -> None:
    kinetic = np.array([0.2, 1.0, 10.0, 100.0])
    spectrum = xenon.Spectrum(0.05)
    ratio = spectrum.rates(kinetic, 1)[0] / spectrum.rates(kinetic, -1)[0]
    assert (np.diff(ratio) > 0).all()
    assert 0.3 < ratio[0] < 0.5
    assert 0.95 < ratio[-1] < 1


def test_annihilation_in_flight_falls_with_energy() -> None:
    """Dirac's limit at low speed, pi r^2 / beta per electron; ln(2 gamma) - 1 over gamma at high energy."""
    slow = 1e-4
    beta = xenon.momentum(slow)[1]
    expected = xenon.ELECTRONS * np.pi * xenon.ELECTRON_RADIUS**2 / beta
    assert xenon.annihilation_rate(slow) == pytest.approx(expected, rel=1e-2)
    gamma = 1e4
    fast = xenon.annihilation_rate((gamma - 1) * xenon.ELECTRON_MASS)
    expected = xenon.ELECTRONS * np.pi * xenon.ELECTRON_RADIUS**2 / gamma * (np.log(2 * gamma) - 1)
    assert fast == pytest.approx(expected, rel=1e-2)
