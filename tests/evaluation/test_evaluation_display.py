from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from scipy.spatial import cKDTree

from xecgnn.detector import Detector
from xecgnn.evaluation.display import INVALID, draw_edges, draw_event, draw_sensors, sensor_pairs, unroll
from xecgnn.names import INVALID_VALUE


@pytest.fixture(params=["mini", "meg2"])
def detector(request: pytest.FixtureRequest) -> Detector:
    return request.getfixturevalue(request.param)


def sizes(detector: Detector) -> np.ndarray:
    return np.array([detector.sensor_kinds[kind].size for kind in detector.sensor_type])


def drawn(figure: Figure) -> list[np.ndarray]:
    """Face colours (S, 4) of the sensors in each panel."""
    figure.draw_without_rendering()
    return [ax.collections[0].get_facecolor() for ax in figure.axes[:2]]


def test_every_sensor_is_drawn_once_in_its_size_and_none_overlap(detector):
    sensors = draw_sensors(Figure().subplots(), detector, facecolors="black")
    corners = [path.vertices[:-1] for path in sensors.get_paths()]  # closed: the last is the first
    assert len(corners) == detector.num_sensors
    plane, size = unroll(detector), sizes(detector)
    np.testing.assert_allclose([c.mean(0) for c in corners], plane, atol=1e-9)
    np.testing.assert_allclose([np.ptp(c, axis=0) for c in corners], 2 * np.stack([size, size], 1))
    a, b = cKDTree(plane).query_pairs(2 * size.max(), output_type="ndarray").T
    assert (np.linalg.norm(plane[a] - plane[b], axis=1) > size[a] + size[b]).all()


@pytest.mark.parametrize("mirror", [[1, 1, -1], [1, -1, 1]], ids=["z", "y"])
def test_mirrored_sensors_lie_mirrored(detector, mirror):
    distance, partner = cKDTree(detector.position).query(detector.position * mirror)
    assert distance.max() < 1e-9
    plane = unroll(detector)
    outer = detector.faces["outer"].sensor_ids
    plane[outer, 0] -= plane[outer, 0].mean()  # it stands apart
    np.testing.assert_allclose(plane[partner], plane * [mirror[2], mirror[1]], atol=1e-9)


def test_faces_lie_around_the_inner_one_and_keep_their_proportions(detector):
    plane = unroll(detector)
    places = {name: plane[face.sensor_ids] for name, face in detector.faces.items()}
    box = {name: (place.min(0), place.max(0)) for name, place in places.items()}
    low, high = box["inner"]
    assert box["us"][1][0] < low[0] < high[0] < box["ds"][0][0]
    assert box["bottom"][1][1] < low[1] < high[1] < box["top"][0][1]
    assert box["outer"][0][0] > box["ds"][1][0]
    inner = detector.faces["inner"].sensor_ids
    np.testing.assert_allclose(plane[inner], detector.to_uvw(detector.position[inner])[:, :2], atol=1e-9)
    for relation in ("lattice", "hex"):  # the fan of an endcap shears its cells, nothing else is distorted
        source, target = sensor_pairs(detector, relation)
        true = np.linalg.norm(detector.position[source] - detector.position[target], axis=1)
        length = np.linalg.norm(plane[source] - plane[target], axis=1)
        sheared = np.isin(source, np.concatenate([detector.faces[name].sensor_ids for name in ("us", "ds")]))
        np.testing.assert_allclose(length[~sheared], true[~sheared], rtol=0.05)
        assert (length[sheared] < 2 * true[sheared]).all()


def test_pairs_are_the_edges_without_direction_and_self(detector):
    for relation, face in ("lattice", "us"), ("hex", "top"):
        edges = detector.edge_index(face, relation)
        ids = detector.faces[face].sensor_ids
        pairs = sensor_pairs(detector, relation)
        pairs = pairs[:, np.isin(pairs, ids).all(0)]
        assert 2 * pairs.shape[1] + len(ids) == edges.shape[1]
        assert len(np.unique(pairs, axis=1).T) == pairs.shape[1]
    assert 2 * sensor_pairs(detector, "seam").shape[1] == sum(edges.shape[1] for edges in detector.seams().values())
    with pytest.raises(KeyError, match="no relation 'seams' in"):
        sensor_pairs(detector, "seams")


def test_torn_seams_are_not_drawn(meg2):
    ax = Figure().subplots()
    draw_edges(ax, meg2, "seam")
    lines = np.array(ax.collections[0].get_segments())
    assert 0 < len(lines) < sensor_pairs(meg2, "seam").shape[1]
    left = unroll(meg2)[meg2.faces["outer"].sensor_ids, 0].min()
    assert (lines[..., 0] < left).all()


def test_invalid_readings_are_grey_and_negative_ones_are_not(detector):
    rng = np.random.default_rng(0)
    npho, time = rng.exponential(100, detector.num_sensors), rng.uniform(0, 1e-8, detector.num_sensors)
    npho[[1, 5]] = np.nan, INVALID_VALUE
    npho[7], npho[8] = -3.0, 1e6
    time[[1, 5, 9]] = INVALID_VALUE
    figure = draw_event(detector, npho, time, first_interaction=(3.0, 4.0, 5.0), title="an event")
    for colors, invalid in zip(drawn(figure), ([1, 5], [1, 5, 9]), strict=True):
        grey = (colors == to_rgba(INVALID)).all(1)
        assert np.flatnonzero(grey).tolist() == invalid
    labels = [ax.get_ylabel() for ax in figure.axes[2:]]
    assert labels == ["npho / active area [1/cm²]", "time after the earliest [ns]"]
    assert [ax.lines[-1].get_xydata().tolist() for ax in figure.axes[:2]] == [[[3.0, 4.0]]] * 2
    assert figure.get_suptitle() == "an event"


def test_equal_light_on_sensors_of_different_size_has_one_colour(detector):
    area = np.array([detector.sensor_kinds[kind].area for kind in detector.sensor_type])
    light, _ = drawn(draw_event(detector, 50 * area, np.zeros(detector.num_sensors)))
    assert len(np.unique(light.round(3), axis=0)) == 1


@pytest.mark.parametrize("npho", [np.nan, 0.0, -1.0])
def test_an_event_without_light_is_drawn(mini, npho):
    light, times = drawn(draw_event(mini, np.full(mini.num_sensors, npho), np.full(mini.num_sensors, INVALID_VALUE)))
    assert (times == to_rgba(INVALID)).all()
    assert (light == to_rgba(INVALID)).all() == np.isnan(npho)


def test_a_survey_moves_sensors_a_little(mini):
    surveyed = replace(mini, position=mini.position + np.random.default_rng(0).normal(0, 0.3, mini.position.shape))
    shift = unroll(surveyed) - unroll(mini)
    assert 0 < np.abs(shift).max() < 3


def test_importing_the_evaluation_does_not_import_matplotlib():
    code = "import sys, xecgnn.evaluation; print('matplotlib' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
