from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from runpy import run_path

import numpy as np
import pytest
from scipy.spatial import cKDTree

from xecgnn.detector import Detector
from xecgnn.simulation.constants import Constants
from xecgnn.simulation.light import LightModel
from xecgnn.simulation.shower import Showers
from xecgnn.simulation.solid_angle import disc_solid_angle, square_solid_angle
from xecgnn.simulation.volume import XenonVolume

trace_photons = run_path(str(Path(__file__).parents[2] / "benchmarks" / "ray_trace.py"))["trace_photons"]

CLEAR = replace(Constants(), absorption_length=np.inf, scattering_length=np.inf)


def showers(position: np.ndarray, energy: np.ndarray | None = None, time: np.ndarray | None = None) -> Showers:
    """Showers from deposits (P, D, 3) cm, by default of 1 MeV at 0 ns."""
    energy = np.ones(position.shape[:2]) if energy is None else energy
    time = np.zeros(position.shape[:2]) if time is None else time
    return Showers(position, energy, time, energy.sum(axis=1), position.mean(axis=1))


def model(detector: Detector, constants: Constants = CLEAR) -> LightModel:
    return LightModel(detector, XenonVolume(detector), constants)


@pytest.fixture(scope="module")
def full(meg2: Detector) -> LightModel:
    """With absorption and scattering."""
    return model(meg2, Constants())


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
    """Near or far: the fast sum equals the formulas applied sensor by sensor (2 % at the switch)."""
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
    np.testing.assert_allclose(light[0, unobstructed], expected[unobstructed], rtol=0.02)
    np.testing.assert_allclose(light[0, square].sum(), expected[square].sum(), rtol=2e-3)


def test_entrance_face_casts_a_shadow(meg2: Detector) -> None:
    """From a shallow deposit at one end, the far end plane lies behind the bulge of the inner face."""
    light, _ = model(meg2)(showers(meg2.to_xyz([[[0.0, 60.0, 1.0]]])))
    near, far = (light[0, meg2.faces[name].sensor_ids] for name in ("top", "bottom"))
    assert (near > 0).all()
    assert (far == 0).all()
    assert meg2.to_uvw(meg2.position[meg2.faces["top"].sensor_ids])[:, 1].min() > 60


@pytest.mark.parametrize("uvw", [(2.0, 3.0, 1.0), (-5.0, 20.0, 3.0), (0.0, 0.0, 19.0), (30.0, 40.0, 8.0)])
def test_faces_see_as_much_as_traced_photons(meg2: Detector, full: LightModel, uvw: tuple[float, float, float]) -> None:
    """Light and mean arrival of every face, and of rings around the spot, against photons followed one by one."""
    count, rng = 150_000, np.random.default_rng(5)
    point = meg2.to_xyz(np.array(uvw))
    landings = trace_photons(rng, point, count, XenonVolume(meg2), Constants())
    light, arrival = full(showers(point[None, None], energy=np.full((1, 1), count / CLEAR.light_yield)))
    light, light_time = light[0].astype(float), (light * arrival)[0].astype(float)

    # A disc of the sensor's area stands for the sensor.
    _, nearest = cKDTree(meg2.position).query(landings.position)
    on_sensor = np.linalg.norm(landings.position - meg2.position[nearest], axis=1) ** 2 * np.pi < meg2.areas[nearest]
    traced = np.bincount(nearest[on_sensor], minlength=meg2.num_sensors)
    traced_time = np.bincount(nearest[on_sensor], landings.time[on_sensor], minlength=meg2.num_sensors)

    inner = meg2.faces["inner"].sensor_ids
    away = np.linalg.norm(meg2.position[inner] - point, axis=1)
    groups = {name: face.sensor_ids for name, face in meg2.faces.items()}
    groups |= {f"{low} cm": inner[(away >= low) & (away < 2 * low)] for low in (2, 4, 8, 16)}
    for name, ids in groups.items():
        found = traced[ids].sum()
        if found < 100:
            continue
        error = 4 / np.sqrt(found)
        assert light[ids].sum() / found == pytest.approx(1, abs=0.12 + error), name
        flight = traced_time[ids].sum() / found
        assert light_time[ids].sum() / light[ids].sum() == pytest.approx(flight, rel=0.15 + error), name
    assert light.sum() / traced.sum() == pytest.approx(1, abs=0.05)


def test_scattering_reaches_every_sensor(meg2: Detector, full: LightModel) -> None:
    """Behind the bulge of the inner face too; what scatters away is missing from the direct light."""
    attenuation = 1 / Constants().absorption_length + 1 / Constants().scattering_length
    shallow = showers(meg2.to_xyz([[[0.0, 60.0, 1.0]]]))
    both, _ = full(shallow)
    direct, _ = model(meg2, replace(CLEAR, absorption_length=1 / attenuation))(shallow)
    assert (both > 0).all()
    assert (both > direct).mean() > 0.99
    assert 1.2 * direct.sum() < both.sum() < 1.2 * model(meg2)(shallow)[0].sum()


def test_light_does_not_depend_on_grouping_or_threads(mini: Detector) -> None:
    """Bit by bit: a sample is the same however many threads make it."""
    light_model = model(mini, Constants())
    clouds = showers(np.concatenate([deposits(mini, seed=seed) for seed in range(6)]))
    light, arrival = light_model(clouds)
    parts = [showers(clouds.position[i : i + 1]) for i in range(6)]
    with ThreadPoolExecutor(3) as pool:
        for i, (alone, alone_arrival) in enumerate(pool.map(light_model, parts)):
            np.testing.assert_array_equal(alone[0], light[i])
            np.testing.assert_array_equal(alone_arrival[0], arrival[i])


def test_no_deposit_in_the_xenon_gives_no_light(mini: Detector) -> None:
    light, arrival = model(mini)(showers(deposits(mini), energy=np.zeros((1, 40))))
    assert (light == 0).all()
    assert np.isnan(arrival).all()


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
    """Scattered light too."""
    light_model, cloud = model(mini, Constants()), deposits(mini)
    once, _ = light_model(showers(cloud))
    twice, _ = light_model(showers(cloud, energy=np.full((1, 40), 2.0)))
    halves = [light_model(showers(part))[0] for part in (cloud[:, :13], cloud[:, 13:])]
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-4)
    np.testing.assert_allclose(halves[0] + halves[1], once, rtol=1e-4)


def test_arrival_is_flight_time(meg2: Detector, full: LightModel) -> None:
    """One deposit at 5 ns: direct light arrives at 5 ns + r / speed, scattered light later."""
    point = meg2.to_xyz([-5.0, 10.0, 8.0])
    deposit = showers(point[None, None], time=np.array([[5.0]]))
    straight = 5 + np.linalg.norm(meg2.position - point, axis=1) / 18.6
    _, arrival = model(meg2)(deposit)
    seen = np.isfinite(arrival[0])
    assert seen.mean() > 0.4
    np.testing.assert_allclose(arrival[0, seen], straight[seen], rtol=1e-3)
    _, arrival = full(deposit)
    assert (arrival[0] > straight - 0.05).all()
    assert 0.3 < (arrival[0] - straight).mean() < 6
