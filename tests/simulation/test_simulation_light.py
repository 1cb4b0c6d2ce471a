from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from xecgnn.detector import Detector
from xecgnn.simulation.constants import Constants
from xecgnn.simulation.light import LightModel
from xecgnn.simulation.shower import Showers
from xecgnn.simulation.solid_angle import disc_solid_angle, square_solid_angle
from xecgnn.simulation.volume import XenonVolume

CLEAR = replace(Constants(), absorption_length=np.inf, scattering_length=np.inf)


def showers(position: np.ndarray, energy: np.ndarray | None = None, time: np.ndarray | None = None) -> Showers:
    """Showers from deposits (P, D, 3) cm, by default of 1 MeV at 0 ns."""
    energy = np.ones(position.shape[:2]) if energy is None else energy
    time = np.zeros(position.shape[:2]) if time is None else time
    return Showers(position, energy, time, energy.sum(axis=1), position.mean(axis=1))


def model(detector: Detector, constants: Constants = CLEAR) -> LightModel:
    return LightModel(detector, XenonVolume(detector), constants)


def deposits(detector: Detector, count: int = 40, seed: int = 0) -> np.ndarray:
    """A cloud (1, count, 3) in a corner of the xenon."""
    uvw = np.random.default_rng(seed).normal([12.0, 25.0, 12.0], 3.0, (1, count, 3))
    return detector.to_xyz(uvw)


def test_inverse_square_without_absorption_and_scattering(mini: Detector, meg2: Detector) -> None:
    """On the axis of a distant sensor, light x r^2 is the same at all distances."""
    for detector in (mini, meg2):
        ids = detector.faces["outer"].sensor_ids
        sensor = ids[np.argmin(np.abs(detector.position[ids][:, 1:]).sum(axis=1))]
        area = detector.sensor_kinds[detector.sensor_type[sensor]].area
        distance = np.array([32.0, 35.0, 38.0])
        points = detector.position[sensor] + distance[:, None] * detector.normal[sensor]
        light, _ = model(detector)(showers(points[:, None]))
        expected = CLEAR.light_yield * area / (4 * np.pi)
        np.testing.assert_allclose(light[:, sensor] * distance**2, expected, rtol=0.03)  # not quite point-like
        np.testing.assert_allclose(light[:, sensor] * distance**2, light[0, sensor] * distance[0] ** 2, rtol=0.01)


def test_attenuation_is_exponential(meg2: Detector) -> None:
    """With absorption alone, the ratio to clear xenon is exp(-r / length) at every sensor that is seen."""
    point = meg2.to_xyz([3.0, -8.0, 15.0])
    clear, _ = model(meg2)(showers(point[None, None]))
    absorbed, _ = model(meg2, replace(CLEAR, absorption_length=50.0))(showers(point[None, None]))
    r = np.linalg.norm(meg2.position - point, axis=1)
    seen = clear[0] > 0
    assert 0.5 < seen.mean() < 1
    np.testing.assert_allclose(absorbed[0, seen] / clear[0, seen], np.exp(-r[seen] / 50), rtol=1e-4)


def test_matches_exact_solid_angles_in_double_precision(meg2: Detector) -> None:
    """Near or far, in any tile: the fast sum equals the formulas applied sensor by sensor (2 % at the switch)."""
    cloud = deposits(meg2)
    light, _ = model(meg2)(showers(cloud))
    expected = np.zeros(meg2.num_sensors)
    square = meg2.sensor_type == "mppc"
    for point in cloud[0]:
        offset = point - meg2.position
        h = (offset * meg2.normal).sum(axis=1)
        alpha = np.arctan2(meg2.position[:, 1], -meg2.position[:, 0])  # sides of an MPPC: along z and along phi
        x = offset[:, 2]
        y = offset[:, 0] * np.sin(alpha) + offset[:, 1] * np.cos(alpha)
        rho = np.sqrt(np.maximum((offset**2).sum(axis=1) - h * h, 0))
        above = np.maximum(h, 1e-9)
        angle = np.where(square, square_solid_angle(x, y, above, 0.59), disc_solid_angle(rho, above, 2.25))
        expected += np.where(h > 0, angle, 0) * CLEAR.light_yield / (4 * np.pi)
    unobstructed = np.abs(meg2.to_uvw(meg2.position)[:, 1] - 25) < 40
    assert (expected[unobstructed] > 0).sum() > 2000
    np.testing.assert_allclose(light[0, unobstructed], expected[unobstructed], rtol=0.025)
    np.testing.assert_allclose(light[0, square].sum(), expected[square].sum(), rtol=2e-3)


def test_entrance_face_casts_a_shadow(meg2: Detector) -> None:
    """From a shallow deposit at one end, the far end plane lies behind the bulge of the inner face."""
    light, _ = model(meg2)(showers(meg2.to_xyz([[[0.0, 60.0, 1.0]]])))
    near, far = (light[0, meg2.faces[name].sensor_ids] for name in ("top", "bottom"))
    assert (near > 0).all()
    assert (far == 0).all()
    assert meg2.to_uvw(meg2.position[meg2.faces["top"].sensor_ids])[:, 1].min() > 60


def test_scattering_conserves_the_order_of_light(meg2: Detector) -> None:
    """Scattered light reaches every sensor, is smooth, and makes up for part of what direct light loses."""
    point = showers(deposits(meg2))
    scattering = replace(CLEAR, scattering_length=33.0)
    direct_only = replace(scattering, diffuse_cosine=0.0)
    clear, direct, both = (model(meg2, constants)(point)[0][0] for constants in (CLEAR, direct_only, scattering))
    assert (both > direct).all()
    assert direct.sum() < 0.75 * clear.sum()
    assert 0.75 * clear.sum() < both.sum() < 1.25 * clear.sum()


@pytest.mark.parametrize("mirror", [[1, 1, -1], [1, -1, 1]], ids=["z", "y"])
def test_mirrored_deposits_give_mirrored_light(mini: Detector, meg2: Detector, mirror: list[int]) -> None:
    for detector in (mini, meg2):
        key = {tuple(p): i for i, p in enumerate(np.round(detector.position, 4) + 0.0)}
        image = [key[tuple(p)] for p in np.round(detector.position * mirror, 4) + 0.0]
        light_model, cloud = model(detector, Constants()), deposits(detector)
        light, arrival = light_model(showers(cloud))
        mirrored, mirrored_arrival = light_model(showers(cloud * mirror))
        np.testing.assert_allclose(mirrored[0, image], light[0], rtol=1e-4)
        np.testing.assert_allclose(mirrored_arrival[0, image], arrival[0], rtol=1e-4)


def test_light_is_linear_and_deposits_add_up(mini: Detector) -> None:
    light_model, cloud = model(mini, replace(Constants(), diffuse_cosine=0.0)), deposits(mini)
    once, _ = light_model(showers(cloud))
    twice, _ = light_model(showers(cloud, energy=np.full((1, 40), 2.0)))
    halves = [light_model(showers(part))[0] for part in (cloud[:, :13], cloud[:, 13:])]
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-5)
    np.testing.assert_allclose(halves[0] + halves[1], once, rtol=1e-4)


def test_arrival_is_flight_time(meg2: Detector) -> None:
    """One deposit at 5 ns: light arrives at 5 ns + r / speed everywhere, so nearer sensors fire earlier."""
    point = meg2.to_xyz([-5.0, 10.0, 8.0])
    _, arrival = model(meg2, Constants())(showers(point[None, None], time=np.array([[5.0]])))
    r = np.linalg.norm(meg2.position - point, axis=1)
    np.testing.assert_allclose(arrival[0], 5 + r / 18.6, rtol=1e-3)
