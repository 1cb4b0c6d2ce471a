from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from scipy.spatial import cKDTree

from xecgnn.detector import Detector
from xecgnn.evaluation.display.photon import Photon
from xecgnn.evaluation.display.plane import FLIGHT, draw_event
from xecgnn.evaluation.display.sensors import HOLLOW, draw_edges, draw_sensors
from xecgnn.evaluation.display.unrolled import sensor_pairs, unroll
from xecgnn.names import INVALID_VALUE
from xecgnn.simulation import simulate_events


@pytest.fixture(params=["mini", "meg2"])
def detector(request: pytest.FixtureRequest) -> Detector:
    return request.getfixturevalue(request.param)


def sensors_of(ax: Axes) -> list[PolyCollection]:
    return [sensors for sensors in ax.collections if isinstance(sensors, PolyCollection) and len(sensors.get_offsets())]


def drawn(ax: Axes, detector: Detector) -> tuple[np.ndarray, np.ndarray]:
    """Face colours (S, 4) of the sensors in a panel, and which of them are hollow (S,)."""
    colors, hollow = np.full((detector.num_sensors, 4), np.nan), np.zeros(detector.num_sensors, dtype=bool)
    for sensors in sensors_of(ax):
        ids = cKDTree(unroll(detector)).query(sensors.get_offsets().data)[1]
        sensors.update_scalarmappable()
        assert np.isnan(colors[ids]).all()
        colors[ids] = sensors.get_facecolor()
        hollow[ids] = (sensors.get_facecolor() == to_rgba(HOLLOW["facecolor"])).all()
    return colors, hollow


def crossed(ax: Axes, detector: Detector) -> list[int]:
    """Sensors with two lines through their middle."""
    (lines,) = [collection for collection in ax.collections if isinstance(collection, LineCollection)]
    middles = [segment.mean(0) for segment in lines.get_segments()]
    ids, counts = np.unique(cKDTree(unroll(detector)).query(middles)[1] if middles else [], return_counts=True)
    assert (counts == 2).all()
    return ids.astype(int).tolist()


def arrow(ax: Axes) -> np.ndarray:
    """From where to where the arrow goes, (2, 2)."""
    (patch,) = [patch for patch in ax.patches if isinstance(patch, FancyArrowPatch)]
    return np.array(patch._posA_posB)


def test_every_sensor_is_drawn_once_in_its_size_or_its_cell_and_none_overlap(detector):
    ax = Figure().subplots()
    draw_sensors(ax, detector, facecolors="black")
    assert sum(len(sensors.get_offsets()) for sensors in sensors_of(ax)) == detector.num_sensors
    colors, hollow = drawn(ax, detector)
    assert (colors == [0, 0, 0, 1]).all()
    assert not hollow.any()
    plane, size = unroll(detector), detector.sizes.copy()
    nearest = cKDTree(plane).query(plane, 2)[0][:, 1]
    for sensors in sensors_of(ax):
        ids = cKDTree(plane).query(sensors.get_offsets().data)[1]
        if detector.sensor_kinds[detector.sensor_type[ids[0]]].shape == "square":
            assert (size[ids] < nearest[ids].min() / 2).all()
            size[ids] = nearest[ids].min() / 2
        (outline,) = sensors.get_paths()
        pixels = sensors.get_transform().transform(outline.vertices)
        data = pixels @ np.linalg.inv(ax.transData.get_matrix()[:2, :2]).T  # a difference in the plane
        np.testing.assert_allclose(np.ptp(data, axis=0), 2 * np.stack([size, size], 1)[ids[0]], rtol=1e-6)
    a, b = cKDTree(plane).query_pairs(2 * size.max(), output_type="ndarray").T
    assert (np.linalg.norm(plane[a] - plane[b], axis=1) > size[a] + size[b] - 1e-9).all()


def test_faces_are_named_and_angles_are_those_of_the_inner_face(detector):
    ax = Figure().subplots()
    draw_sensors(ax, detector)
    texts = {text.get_text(): text.xy for text in ax.texts}
    assert detector.faces.keys() <= texts.keys()
    for text in filter(lambda text: text.endswith("°"), texts):
        x, y, _ = detector.to_xyz([0.0, texts[text][1], 0.0])
        assert np.degrees(np.arctan2(y, x)) % 360 == pytest.approx(float(text[:-1]))


def test_one_hot_sensor_does_not_take_the_colours_of_the_others(meg2):
    npho = np.random.default_rng(0).exponential(100, meg2.num_sensors) * meg2.areas
    time = np.zeros(meg2.num_sensors)
    before = [drawn(ax, meg2)[0] for ax in draw_event(meg2, npho, time).axes[:4:2]]
    npho[np.argmax(npho / meg2.areas)] *= 1000
    for ax, colors in zip(draw_event(meg2, npho, time).axes[:4:2], before, strict=True):
        np.testing.assert_allclose(drawn(ax, meg2)[0], colors, atol=0.02)


def test_filled_sensors_are_shown_as_measured_as_filled_and_as_predicted(mini, mini_events):
    npho, time = mini_events.npho[0], np.zeros(mini.num_sensors)
    filled = np.arange(mini.num_sensors) % 3 == 0
    figure = draw_event(mini, npho, time, filled=filled, scale="log")
    measured, full, predicted = (drawn(ax, mini)[1] for ax in figure.axes[:3])
    assert [ax.get_title() for ax in figure.axes[:3]] == ["measured", "filled", "predicted"]
    np.testing.assert_array_equal(measured, full | filled)
    np.testing.assert_array_equal(predicted, full | ~filled)
    nothing = draw_event(mini, npho, time, filled=np.zeros_like(filled), scale="log")
    assert nothing.axes[0].get_title() == ""


def test_colours_per_sensor_stay_with_their_sensor(detector):
    ax, color = Figure().subplots(), np.linspace(0, 1, detector.num_sensors)
    draw_sensors(ax, detector, facecolors=np.stack([color, 0 * color, 0 * color, 1 + 0 * color], axis=1))
    np.testing.assert_allclose(drawn(ax, detector)[0][:, 0], color)


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


def test_invalid_readings_are_hollow_and_dead_sensors_crossed_out(detector):
    rng = np.random.default_rng(0)
    npho, time = rng.exponential(100, detector.num_sensors), rng.uniform(0, 1e-8, detector.num_sensors)
    npho[[1, 5]] = np.nan, INVALID_VALUE
    npho[7], npho[8] = -3.0, 1e6
    time[[1, 5, 9]] = INVALID_VALUE
    figure = draw_event(detector, npho, time, truth=Photon((3.0, 4.0, 5.0)), title="an event")
    panels, bars = figure.axes[:4], figure.axes[4:]
    for ax, invalid in zip(panels, 2 * ([1, 5], [1, 5, 9]), strict=True):
        assert np.flatnonzero(drawn(ax, detector)[1]).tolist() == invalid
        assert crossed(ax, detector) == [1, 5]
        assert ax.lines[-1].get_xydata().tolist() == [[3.0, 4.0]]
    assert [ax.get_ylabel() for ax in bars] == 2 * ["npho / active area [1/cm²]", "time after the earliest [ns]"]
    assert [ax.get_yscale() for ax in bars] == ["log", "log", "linear", "linear"]
    assert figure.get_suptitle() == "an event"


@pytest.mark.parametrize("scale", ["log", "linear"])
def test_one_scale_is_one_row(mini, scale):
    figure = draw_event(mini, np.arange(mini.num_sensors), np.arange(mini.num_sensors) * 1e-9, scale=scale)
    assert [ax.get_yscale() for ax in figure.axes[2:]] == [scale, scale]


def test_equal_light_on_sensors_of_different_size_has_one_colour(detector):
    figure = draw_event(detector, 50 * detector.areas, np.zeros(detector.num_sensors))
    assert len(np.unique(drawn(figure.axes[0], detector)[0].round(3), axis=0)) == 1


@pytest.mark.parametrize("npho", [np.nan, 0.0, -1.0])
def test_an_event_without_light_is_drawn(mini, npho):
    direction = Photon(direction=(0.0, 0.0, 1.0))  # and nowhere to draw it, if there is no light
    readings = np.full(mini.num_sensors, npho), np.full(mini.num_sensors, INVALID_VALUE)
    figure = draw_event(mini, *readings, truth=direction)
    for light, time in np.reshape(figure.axes[:4], (2, 2)):
        assert drawn(light, mini)[1].all() == np.isnan(npho)
        assert drawn(time, mini)[1].all()


@pytest.mark.parametrize("point", [(0.0, 0.0, 0.0), (10.0, 50.0, 0.0), (-5.0, -40.0, 0.0)])
def test_the_arrow_goes_where_the_photon_flies(mini, mini_events, point):
    npho, time = mini_events.npho[0], mini_events.relative_time[0]
    start = mini.to_xyz(point)
    for direction in ([0.0, 0.0, 1.0], [0.6, 0.8, 0.0], [-0.6, 0.48, -0.64]):
        figure = draw_event(mini, npho, time, truth=Photon(point, direction), scale="log")
        small = 1e-5
        moved = (mini.to_uvw(start + small * np.array(direction)) - point)[:2] / small  # on the unrolled inner face
        for ax in figure.axes[:2]:
            np.testing.assert_allclose(arrow(ax), [point[:2], point[:2] + FLIGHT * moved], atol=0.01)
    outwards = start * [1, 1, 0] / mini.radius
    figure = draw_event(mini, npho, time, truth=Photon(point, outwards), scale="log")
    assert not figure.axes[0].patches


def test_a_direction_without_a_point_starts_where_the_light_is(mini, mini_events):
    npho, time = mini_events.npho[0], mini_events.relative_time[0]
    truth, prediction = Photon((1.0, 2.0, 3.0)), Photon(direction=(0.0, 0.0, 1.0))
    figure = draw_event(mini, npho, time, truth=truth, prediction=prediction)
    assert arrow(figure.axes[0])[0].tolist() == [1.0, 2.0]
    assert [text.get_text().split(":")[0] for text in figure.legends[0].texts][:2] == ["truth", "prediction"]
    figure = draw_event(mini, npho, time, prediction=prediction)
    brightest = mini.position[np.nanargmax(np.where(npho < INVALID_VALUE, npho, np.nan) / mini.areas)]
    np.testing.assert_allclose(arrow(figure.axes[0])[0], mini.to_uvw(brightest)[:2])


def test_nothing_known_is_not_in_the_legend(mini, mini_events):
    figure = draw_event(mini, mini_events.npho[0], mini_events.relative_time[0], truth=Photon(), prediction=None)
    assert [text.get_text() for text in figure.legends[0].texts] == ["no valid reading", "no valid npho (dead)"]


def test_light_and_early_times_lie_under_the_interaction_point(meg2):
    """What makes a simulated shower recognisable: the brightest sensors, and the earliest, are around it."""
    event = simulate_events(meg2, 1, sample="signal", seed=3)
    point = event.uvwTruth[0, :2]
    distance = np.linalg.norm(unroll(meg2)[meg2.faces["inner"].sensor_ids] - point, axis=1)
    figure = draw_event(meg2, event.npho[0], event.relative_time[0], scale="log")
    inner = slice(0, len(distance))
    for ax, sign in zip(figure.axes[:2], (1, -1), strict=True):
        values = np.full(meg2.num_sensors, np.nan)
        for sensors in sensors_of(ax):
            if sensors.get_array() is not None:
                values[cKDTree(unroll(meg2)).query(sensors.get_offsets().data)[1]] = sensors.get_array()
        near, far = (np.nanmedian(values[inner][mask]) for mask in (distance < 8, distance > 40))
        assert sign * np.log(near / far) > 1


def test_a_survey_moves_sensors_a_little(mini):
    surveyed = replace(mini, position=mini.position + np.random.default_rng(0).normal(0, 0.3, mini.position.shape))
    shift = unroll(surveyed) - unroll(mini)
    assert 0 < np.abs(shift).max() < 3
