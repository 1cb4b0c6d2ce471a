from __future__ import annotations

import numpy as np
import pytest

from xecgnn.directions import angles_to_direction, direction_to_angles


def test_emission_angles_have_the_convention_of_the_experiment() -> None:
    theta, phi = 1.2, 0.3
    expected = [-np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)]
    np.testing.assert_allclose(angles_to_direction(theta, phi), expected, rtol=1e-14)
    np.testing.assert_allclose(angles_to_direction(np.pi / 2, 0), [-1, 0, 0], atol=1e-15)


def test_angles_and_direction_round_trip() -> None:
    rng = np.random.default_rng(1)
    direction = rng.normal(size=(3, 100, 3))
    theta, phi = direction_to_angles(direction)
    assert theta.shape == phi.shape == (3, 100)
    assert theta.min() >= 0
    assert theta.max() <= np.pi
    unit = direction / np.linalg.norm(direction, axis=-1, keepdims=True)
    np.testing.assert_allclose(angles_to_direction(theta, phi), unit, atol=1e-14)


@pytest.mark.parametrize("theta", [1e-9, np.pi - 1e-9])
def test_angles_are_precise_near_the_beam_axis(theta: float) -> None:
    found, _ = direction_to_angles(angles_to_direction(theta, 0.5))
    assert found == pytest.approx(theta, abs=1e-15)
