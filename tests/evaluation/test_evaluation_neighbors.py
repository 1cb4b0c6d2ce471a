from __future__ import annotations

import numpy as np
import pytest

from xecgnn.evaluation.baselines.sensors import EVENTS_AT_ONCE, RADIUS, NeighborBaselines, solid_angles


@pytest.fixture(scope="module")
def baselines(mini):
    return NeighborBaselines(mini)


def draw(detector, events, seed=0, ratio=0.2):
    """Readings, times and masks of random events: npho, time, visible, timed, masked; a few sensors are neither."""
    rng = np.random.default_rng(seed)
    npho = rng.exponential(300.0, (events, detector.num_sensors))
    time = rng.uniform(0, 1e-8, npho.shape)
    chance = rng.random(npho.shape)
    visible, masked = chance > ratio + 0.05, chance < ratio
    return npho, time, visible, visible & (npho > 100), masked


def all_solid_angles(detector, point):
    out = np.empty((len(point), detector.num_sensors))
    for name, face in detector.faces.items():
        out[:, face.sensor_ids] = solid_angles(detector, name, point)
    return out


@pytest.mark.parametrize("name", ["mini", "meg2"])
def test_solid_angles_are_the_integral_over_the_active_area(name, request):
    """Sum of area cos / r^2 over a fine grid on the sensor, from a point close to it and askew."""
    detector = request.getfixturevalue(name)
    for face in detector.faces.values():
        local = len(face) // 2
        sensor = face.sensor_ids[local]
        kind, normal = detector.sensor_kinds[face.sensor], detector.normal[sensor]
        radial = detector.position[sensor] * [1, 1, 0]
        side = np.cross(normal, radial if abs(normal[2]) > 0.5 else [0, 0, 1.0])  # of the square on a cylinder
        side /= np.linalg.norm(side)
        grid = (np.arange(400) + 0.5) / 200 - 1
        a, b = kind.size * np.stack(np.meshgrid(grid, grid)).reshape(2, -1)
        if kind.shape == "disc":
            a, b = np.stack([a, b])[:, np.hypot(a, b) < kind.size]
        surface = detector.position[sensor] + a[:, None] * side + b[:, None] * np.cross(normal, side)
        point = detector.position[sensor] + kind.size * (1.5 * normal + 0.9 * side + 0.2 * np.cross(normal, side))
        ray = point - surface
        expected = (ray @ normal / np.linalg.norm(ray, axis=1) ** 3).mean() * kind.area
        assert solid_angles(detector, face.name, point[None])[0, local] == pytest.approx(expected, rel=2e-3), face.name
        behind = detector.position[sensor] - normal
        assert solid_angles(detector, face.name, behind[None])[0, local] == 0


@pytest.mark.parametrize("name", ["mini", "meg2"])
def test_a_point_source_without_noise_is_restored_exactly(name, request):
    detector = request.getfixturevalue(name)
    source = detector.to_xyz([[3.0, -10.0, 1.5], [-15.0, 40.0, 12.0], [20.0, 0.0, 30.0]])
    light = 1e6 / (4 * np.pi) * all_solid_angles(detector, source)
    masked = np.random.default_rng(1).random(light.shape) < 0.1
    hidden = np.where(masked, np.nan, light)
    found = NeighborBaselines(detector)(hidden, hidden, ~masked, ~masked, masked, light=source).solid_angle
    np.testing.assert_allclose(found[masked], light[masked], rtol=1e-9, atol=1e-9)
    assert np.isnan(found[~masked]).all()


def test_the_light_of_a_point_source_is_found(meg2):
    truth = np.array([[3.0, -10.0, 2.0], [-12.0, 30.0, 8.0], [0.0, 0.0, 25.0]])
    light = 1e6 / (4 * np.pi) * all_solid_angles(meg2, meg2.to_xyz(truth))
    visible = np.random.default_rng(2).random(light.shape) > 0.1
    found = meg2.to_uvw(NeighborBaselines(meg2).light_position(np.where(visible, light, 1e9), visible))
    np.testing.assert_allclose(found[:, :2], truth[:, :2], atol=0.7)
    np.testing.assert_allclose(found[:, 2], truth[:, 2], rtol=0.25)  # the depths that are tried lie 40 % apart


def test_estimates_agree_with_a_loop_over_sensors(mini, baselines):
    npho, time, visible, timed, masked = draw(mini, EVENTS_AT_ONCE + 3)  # more than one portion
    found = baselines(npho, time, visible, timed, masked)
    omega = all_solid_angles(mini, baselines.light_position(npho, visible))
    for event, sensor in np.argwhere(masked)[::17]:
        face = next(face for face in mini.faces.values() if sensor in face.sensor_ids)
        on_face = np.isin(np.arange(mini.num_sensors), face.sensor_ids)
        near = on_face & (np.linalg.norm(mini.position - mini.position[sensor], axis=1) < RADIUS)
        seen = near & visible[event] if (near & visible[event]).any() else on_face & visible[event]
        clocks = near & timed[event] if (near & timed[event]).any() else on_face & timed[event]
        mean = npho[event, seen].mean()
        angles = omega[event, seen].sum()
        weighted = npho[event, seen].sum() * omega[event, sensor] / angles if angles > 0 else mean
        expected = mean, weighted, time[event, clocks].mean() if clocks.any() else np.nan
        np.testing.assert_allclose([values[event, sensor] for values in found], expected, rtol=1e-9)


def test_an_estimate_is_the_same_alone_and_among_others(mini, baselines):
    inputs = draw(mini, EVENTS_AT_ONCE + 3)
    together = baselines(*inputs)
    for event in (0, EVENTS_AT_ONCE):
        alone = baselines(*(values[event : event + 1] for values in inputs))
        for one, many in zip(alone, together, strict=True):
            np.testing.assert_allclose(one[0], many[event], rtol=1e-8)


@pytest.mark.parametrize("value", [1e6, 1e10, np.nan])
def test_nothing_hidden_reaches_an_estimate(mini, baselines, value):
    npho, time, visible, timed, masked = draw(mini, 4)
    expected = baselines(npho, time, visible, timed, masked)
    changed = np.where(visible, npho, value), np.where(timed, time, value)
    for found, before in zip(baselines(*changed, visible, timed, masked), expected, strict=True):
        np.testing.assert_array_equal(found, before)


def test_the_mean_is_unbiased_where_the_light_is_even(mini, baselines):
    rng = np.random.default_rng(3)
    npho = rng.poisson(50.0, (400, mini.num_sensors)).astype(float)
    masked = rng.random(npho.shape) < 0.1
    residual = (baselines(npho, npho, ~masked, ~masked, masked).mean - npho)[masked]
    assert abs(residual.mean()) < 4 * residual.std() / np.sqrt(len(residual))
    assert residual.std() > np.sqrt(50)  # its own reading spreads by this, the neighbours add to it


def test_without_visible_neighbours_the_face_answers_and_without_a_face_nobody(mini, baselines):
    inner, us, top = (mini.faces[name].sensor_ids for name in ("inner", "us", "top"))
    npho = np.arange(mini.num_sensors, dtype=float)[None]
    visible = np.ones_like(npho, dtype=bool)
    visible[:, us] = False
    visible[:, us[-1]] = True  # far from the first sensor
    visible[:, top] = False
    masked = np.zeros_like(visible)
    masked[:, [us[0], top[0]]] = True
    assert np.linalg.norm(mini.position[us[0]] - mini.position[us[-1]]) > RADIUS
    found = baselines(npho, npho, visible, visible, masked)
    assert found.mean[0, us[0]] == found.time[0, us[0]] == npho[0, us[-1]]
    assert all(np.isnan(values[0, top[0]]) for values in found)
    visible[:, inner] = False  # no light, no position: the mean answers
    found = baselines(npho, npho, visible, visible, masked)
    assert found.solid_angle[0, us[0]] == found.mean[0, us[0]]
