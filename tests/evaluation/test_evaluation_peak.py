from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from xecgnn.evaluation.peak import MIN_EVENTS, Peak, fit_peak, line_residuals
from xecgnn.tasks import TasksConfig, build_tasks

HALF = math.sqrt(2 * math.log(2))
ENERGY = build_tasks(TasksConfig(angle={"enabled": False}, energy={"enabled": True}, edep={"enabled": True}))


def line(rng: np.random.Generator, events: int, start: float, sigma: float = 1.0, bias: float = 0.0) -> np.ndarray:
    """A Gaussian core, and an exponential tail from `start` sigma below its middle."""
    tail, core = math.exp(-(start**2) / 2) / start, math.sqrt(2 * math.pi) * norm.cdf(start)
    z = rng.normal(size=3 * events)
    below = -start - rng.exponential(size=events) / start
    z = np.where(rng.random(events) < tail / (tail + core), below, z[z > -start][:events])
    return bias + sigma * z


@pytest.mark.parametrize("start", [0.5, 1.0, 2.0])
def test_the_interval_covers_the_truth_in_68_percent_of_toys(start: float) -> None:
    rng, pulls = np.random.default_rng(1), []
    left = HALF if start > HALF else start / 2 + math.log(2) / start
    for _ in range(200):
        found = fit_peak(line(rng, 800, start, 0.9, -0.3), "MeV")
        assert isinstance(found, Peak)
        true = {found.sigma: 0.9, found.bias: -0.3, found.fwhm: 0.9 * (HALF + left)}
        pulls.append([(estimate.value - value) / estimate.error for estimate, value in true.items()])
    assert np.mean(np.abs(pulls) < 1, axis=0) == pytest.approx(0.68, abs=0.1)
    assert np.mean(pulls, axis=0) == pytest.approx(0, abs=0.25)


def test_a_gaussian_has_its_own_sigma_and_no_tail() -> None:
    found = fit_peak(np.random.default_rng(2).normal(5.0, 2.0, 20_000), "MeV")
    assert isinstance(found, Peak)
    assert found.fwhm.value == pytest.approx(2.3548 * found.sigma.value, rel=1e-4)
    assert abs(found.sigma.value - 2) < 4 * found.sigma.error
    assert found.sigma.error == pytest.approx(2 / math.sqrt(2 * 20_000), rel=0.1)
    assert found.bias.error == pytest.approx(2 / math.sqrt(20_000), rel=0.1)
    assert found.sigma.unit == "MeV"
    relative = found.numbers("energy", 50.0)["energy_line_sigma_relative"]
    assert (relative.value, relative.error) == pytest.approx((2 * found.sigma.value, 2 * found.sigma.error))


def test_the_density_has_the_area_one_and_the_width_that_is_told() -> None:
    found = fit_peak(line(np.random.default_rng(3), 5000, 0.7))
    assert isinstance(found, Peak)
    assert quad(lambda x: found.density(np.array([x]))[0], *found.window, limit=200)[0] == pytest.approx(1, abs=1e-6)
    x = np.linspace(*found.window, 200_001)
    density = found.density(x)
    above = x[density > density.max() / 2]
    assert np.ptp(above) == pytest.approx(found.fwhm.value, rel=1e-3)


def test_scale_and_place_of_the_values_do_not_matter() -> None:
    values = line(np.random.default_rng(4), 1000, 1.0)
    first, other = fit_peak(values), fit_peak(1e-3 * values + 7)
    assert isinstance(first, Peak)
    assert isinstance(other, Peak)
    assert other.sigma.value == pytest.approx(1e-3 * first.sigma.value, rel=1e-3)
    assert other.bias.value == pytest.approx(7 + 1e-3 * first.bias.value, abs=1e-6)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (np.zeros(MIN_EVENTS - 1), f"{MIN_EVENTS - 1} events, at least {MIN_EVENTS} are needed"),
        (np.repeat([0.0, 0.0, 1.0], 200), "half of the events have one value"),
        (np.random.default_rng(5).exponential(size=2000), "core and tail do not describe the events"),
        (np.concatenate([np.linspace(-1, 1, 500), np.linspace(3, 9, 500)]), "core and tail do not describe the events"),
    ],
)
def test_what_cannot_be_fitted_is_told(values: np.ndarray, why: str) -> None:
    assert fit_peak(values) == why


def test_the_line_is_made_of_true_energies_near_it() -> None:
    true = np.array([0.0517, 0.05283, 0.0530, 0.0540])
    found = line_residuals(ENERGY["energy"], {"network": true[:, None] + 0.001}, true)
    np.testing.assert_allclose(found["network"], [1.0, 1.0])
    assert line_residuals(ENERGY["energy"], {"network": true[:1, None]}, true[:1]) == {}
    assert line_residuals(ENERGY["edep"], {"network": true[:, None]}, true) == {}
