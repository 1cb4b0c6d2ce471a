from __future__ import annotations

import numpy as np
import pytest

from xecgnn.simulation.solid_angle import disc_solid_angle, square_solid_angle

POINTS = [(0.0, 0.0, 1.0), (0.3, -0.2, 0.4), (0.7, 0.1, 0.2), (2.0, 1.0, 1.5), (-6.0, 3.0, 4.0)]
COUNT = 400_000


def integral(x: float, y: float, h: float, surface: np.ndarray, area: float) -> tuple[float, float]:
    """Monte Carlo integral of cos / r^2 over points (N, 2) that fill a surface, and its standard error."""
    r2 = ((surface - [x, y]) ** 2).sum(axis=1) + h * h
    values = area * h / r2**1.5
    return values.mean(), values.std() / np.sqrt(len(values))


@pytest.mark.parametrize(("x", "y", "h"), POINTS)
def test_square_equals_a_monte_carlo_integral(x: float, y: float, h: float) -> None:
    half = 0.59
    surface = np.random.default_rng(1).uniform(-half, half, (COUNT, 2))
    expected, error = integral(x, y, h, surface, 4 * half**2)
    assert square_solid_angle(x, y, h, half) == pytest.approx(expected, abs=4 * error)
    assert error < 0.005 * expected


@pytest.mark.parametrize(("x", "y", "h"), POINTS)
def test_disc_equals_a_monte_carlo_integral(x: float, y: float, h: float) -> None:
    radius, rng = 0.65, np.random.default_rng(2)
    r, phi = radius * np.sqrt(rng.random(COUNT)), rng.uniform(0, 2 * np.pi, COUNT)
    surface = np.stack([r * np.cos(phi), r * np.sin(phi)], axis=1)
    expected, error = integral(x, y, h, surface, np.pi * radius**2)
    assert disc_solid_angle(np.hypot(x, y), h, radius) == pytest.approx(expected, abs=4 * error)
    assert error < 0.005 * expected


def test_limits() -> None:
    """Half of all directions at the surface, area / r^2 far away, and no jump above the rim of the disc."""
    assert square_solid_angle(0, 0, 1e-6, 1.0) == pytest.approx(2 * np.pi, rel=1e-5)
    assert disc_solid_angle(0, 1e-6, 1.0) == pytest.approx(2 * np.pi, rel=1e-5)
    assert square_solid_angle(0, 0, 1e3, 0.5) == pytest.approx(1e-6, rel=1e-5)
    assert disc_solid_angle(0, 1e3, 0.5) == pytest.approx(np.pi / 4 * 1e-6, rel=1e-5)
    below, at, above = disc_solid_angle([0.999, 1.0, 1.001], 0.5, 1.0)
    assert below > at > above
    assert at == pytest.approx((below + above) / 2, rel=1e-5)
