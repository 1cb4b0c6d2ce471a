from __future__ import annotations

import numpy as np
import pytest
import torch

from xecgnn.data import Readings
from xecgnn.data.events import Events
from xecgnn.evaluation import LightSummary, fit_baselines
from xecgnn.evaluation.measures import logged_metrics, measure
from xecgnn.names import INVALID_VALUE, TARGETS
from xecgnn.simulation import simulate_events
from xecgnn.tasks import TASKS, TasksConfig, build_tasks

UNIFORM = ("surface normal", "vertex line")
TASK = build_tasks(TasksConfig(**{name: {"enabled": True} for name in TASKS}))


def light_of(detector, npho, time=None, threshold=100.0):
    time = np.full_like(npho, 1e-8) if time is None else time
    events = Events({"npho": npho, "relative_time": time})
    return LightSummary(detector, threshold)(Readings.of(events))


def metrics(task, predictions, target):
    return {title: logged_metrics(task, found) for title, found in measure(task, predictions, target).items()}


@pytest.fixture(scope="module")
def sample(mini):
    """Light and targets of training and validation events."""
    events = simulate_events(mini, 1600, seed=1)
    halves = []
    for part in (events[:800], events[800:]):
        targets = {name: part[branch] for name, branch in TARGETS.items()}
        halves.append((LightSummary(mini)(Readings.of(part)), targets))
    return halves


def test_light_in_one_sensor_gives_its_position_normal_and_time(mini):
    sensor = 37
    npho = np.zeros((2, mini.num_sensors))
    npho[:, sensor] = 500.0
    time = np.full_like(npho, 9e-8)
    time[:, sensor] = 3e-8
    light = light_of(mini, npho, time)
    u, v, w = mini.to_uvw(mini.position[sensor])
    assert light["faces"][:, 0] == pytest.approx([500.0] * 2)
    assert light["faces"][:, 1:] == pytest.approx(0)
    np.testing.assert_allclose(light["root_faces"] ** 2, light["faces"])
    np.testing.assert_allclose(light["point"], [mini.position[sensor]] * 2, atol=1e-3)
    assert light["path_mean"] == pytest.approx([0, 0], abs=1e-3)
    for name, expected in zip("uvw", (u, v, w), strict=True):
        assert light[name] == pytest.approx([expected] * 2, abs=1e-3)
    np.testing.assert_allclose(light["normal"], [mini.normal[sensor]] * 2, atol=1e-6)
    assert light["spread"] == pytest.approx([0, 0], abs=1e-3)
    assert light["time_first"] == pytest.approx([3e-8] * 2, rel=1e-5)  # the others are below the threshold
    assert light["time_mean"] == pytest.approx([3e-8] * 2, rel=1e-5)


def test_invalid_readings_do_not_count(mini):
    rng = np.random.default_rng(0)
    npho = rng.uniform(100, 1000, (3, mini.num_sensors))
    time = rng.uniform(1e-8, 9e-8, npho.shape)
    clean = light_of(mini, npho, time)
    bad, bad_time = npho.copy(), time.copy()
    bad[:, 5], bad[:, 6] = INVALID_VALUE, np.nan
    bad_time[:, 7] = INVALID_VALUE
    npho[:, [5, 6]] = 0.0
    time[:, 7] = 1e-3
    light, expected = light_of(mini, bad, bad_time), light_of(mini, npho, time)
    for name in ("faces", "u", "v", "w", "normal", "point"):
        np.testing.assert_allclose(light[name], expected[name], rtol=1e-5)
    assert (light["faces"].sum(1) < clean["faces"].sum(1)).all()
    assert (light["time_mean"] < 9e-8).all()
    dark = light_of(mini, np.full((1, mini.num_sensors), np.nan))
    assert np.isnan(dark["time_first"]).all()
    assert np.isnan(dark["path_mean"]).all()
    assert np.isnan(dark["normal"]).all()


def test_the_normal_at_the_light_spot_is_radial(mini, sample):
    (light, _), _ = sample
    x, y, z = mini.to_xyz(np.stack([light["u"], light["v"], light["w"]], -1)).T
    depth = mini.to_uvw(light["point"])[:, 2] - light["w"]
    np.testing.assert_allclose(depth, light["spread"], atol=1e-3)
    radial = np.stack([x, y, 0 * z], -1) / np.hypot(x, y)[:, None]
    np.testing.assert_allclose(light["normal"], radial, atol=1e-3)


def test_baselines_beat_the_trivial_ones_on_simulated_events(sample):
    (light, targets), (val_light, val_targets) = sample
    baselines = fit_baselines(TASK, light, targets)
    for name, better, trivial, key, factor in [
        ("angle", "surface normal", "mean direction", "resolution_deg", 0.85),
        ("angleVec", "surface normal", "mean direction", "angleVec_resolution_deg", 0.85),
        ("energy", "face sums", "training mean", "energy_rms", 0.5),
        ("timing", "times and paths", "training mean", "time_rms", 0.6),
        ("uvwFI", "light spot", "training mean", "u_rms", 0.2),
        ("uvwFI", "light spot", "training mean", "v_rms", 0.1),
        ("uvwFI", "light spot", "training mean", "w_rms", 0.9),
    ]:
        predictions = {title: baseline.predict(val_light) for title, baseline in baselines[name].items()}
        measured = metrics(TASK[name], predictions, val_targets[name])
        assert measured[better][key] < factor * measured[trivial][key], name
        assert predictions[better].shape == (800, TASK[name].width)


def test_surface_normal_is_the_same_for_angles_and_vectors_and_survives_darkness(mini, sample):
    (light, targets), _ = sample
    baselines = fit_baselines(TASK, light, targets)
    dark = light_of(mini, np.zeros((2, mini.num_sensors)))
    for event in (light, dark):
        angles = baselines["angle"]["surface normal"].predict(event)
        vectors = baselines["angleVec"]["surface normal"].predict(event)
        expected = TASK["angleVec"].to_vector(torch.as_tensor(vectors))
        torch.testing.assert_close(TASK["angle"].to_vector(torch.as_tensor(angles)), expected)
    np.testing.assert_allclose(vectors, baselines["angleVec"]["mean direction"].predict(dark))
    for title, baseline in baselines["timing"].items():
        assert baseline.predict(dark) == pytest.approx(np.full((2, 1), np.nanmean(targets["timing"])), rel=1e-6), title


def test_face_sums_find_an_energy_that_weighs_faces_differently(mini):
    """Whatever their number: light is seen with another efficiency on each face."""
    rng = np.random.default_rng(1)
    npho = rng.uniform(0, 1000, (300, mini.num_sensors))
    light = light_of(mini, npho)
    energy = 1e-7 * light["faces"] @ np.arange(1.0, 1.0 + len(mini.faces))
    fitted = fit_baselines({"energy": TASK["energy"]}, {k: v[:200] for k, v in light.items()}, {"energy": energy[:200]})
    predicted = fitted["energy"]["face sums"].predict({k: v[200:] for k, v in light.items()})
    np.testing.assert_allclose(predicted[:, 0], energy[200:], rtol=1e-5)


def test_the_vertex_line_points_from_the_target_through_the_light_spot(meg2):
    """Good for photons of the target, bad for those of anywhere: the surface normal is the other way round."""
    for sample, better, worse, ratio in (("signal", "vertex line", "surface normal", 3.0), ("uniform", *UNIFORM, 1.0)):
        events = simulate_events(meg2, 400, sample=sample, seed=3)
        light = LightSummary(meg2)(Readings.of(events))
        fitted = fit_baselines({"angle": TASK["angle"]}, light, {"angle": events.emiAng})["angle"]
        predictions = {title: baseline.predict(light) for title, baseline in fitted.items()}
        measured = {k: v["resolution_deg"] for k, v in metrics(TASK["angle"], predictions, events.emiAng).items()}
        assert ratio * measured[better] < measured[worse]
        assert measured["vertex line"] < 5 or sample == "uniform"


def test_linear_fit_finds_an_exact_relation_whatever_the_units():
    rng = np.random.default_rng(0)
    light = {name: rng.normal(3e-8, 1e-9, 100) for name in ("time_first", "time_mean", "path_mean", "spread")}
    light["path_mean"] *= 1e9  # cm
    target = (0.3 * light["time_first"] - 0.7 * light["time_mean"] + 5e-11 * light["path_mean"] + 2e-9)[:, None]
    target[5] = np.nan  # is left out
    baseline = fit_baselines({"timing": TASK["timing"]}, light, {"timing": target})["timing"]["times and paths"]
    usable = np.arange(100) != 5
    np.testing.assert_allclose(baseline.predict(light)[usable], target[usable], rtol=1e-9)


def test_most_frequent_class_and_missing_targets(sample):
    light = sample[0][0]
    counts = np.array([1, 2, 2, 2, 1, -5, 9] * 115)[:800]
    baselines = fit_baselines({"n_gamma": TASK["n_gamma"]}, light, {"n_gamma": counts})
    predicted = baselines["n_gamma"]["most frequent"].predict(light)
    assert predicted.shape == (800, 5)
    assert (predicted.argmax(1) == 2).all()
    assert predicted.sum(1) == pytest.approx(np.ones(800))
    with pytest.raises(ValueError, match="task energy: no usable target"):
        fit_baselines({"energy": TASK["energy"]}, light, {"energy": np.full(800, np.nan)})
