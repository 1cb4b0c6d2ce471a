from __future__ import annotations

import re

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from scipy.spatial import cKDTree
from test_evaluation_inpainting import Hide, Oracle

from xecgnn.data import Readings
from xecgnn.evaluation.display.reconstruction import draw_reconstruction, reconstruction_pages
from xecgnn.evaluation.display.sensors import HOLLOW, MARK
from xecgnn.evaluation.display.unrolled import unroll
from xecgnn.evaluation.pages.page import save
from xecgnn.evaluation.reconstruction import reconstructions
from xecgnn.simulation import simulate_events

MASKED = to_rgba(MARK["facecolor"])


def sensors(ax):
    return [collection for collection in ax.collections if collection.get_array() is not None]


def panels(detector, figure):
    """Colours of the sensors (S, 4) in each panel, and the panels."""
    figure.draw_without_rendering()
    axes, places, found = [ax for ax in figure.axes if ax.get_title()], cKDTree(unroll(detector)), []
    for ax in axes:
        found.append(np.full((detector.num_sensors, 4), np.nan))
        for drawn in filter(lambda drawn: len(drawn.get_offsets()), ax.collections):
            found[-1][places.query(drawn.get_offsets().data)[1]] = drawn.get_facecolor()
    return found, axes


@pytest.fixture
def event(mini):
    rng = np.random.default_rng(0)
    npho = rng.exponential(200, mini.num_sensors)
    return npho, rng.uniform(0, 1e-8, mini.num_sensors), rng.random(mini.num_sensors) < 0.3


def test_masked_sensors_are_marked_in_the_middle_only(mini, event):
    npho, time, masked = event
    found, axes = panels(mini, draw_reconstruction(mini, npho, time, masked, npho, time, "an event"))
    names = ["truth", "visible to the network", "reconstructed", "reconstructed - truth"]
    assert [ax.get_title() for ax in axes] == names * 2
    for row in (found[:4], found[4:]):
        truth, hidden, restored, difference = row
        np.testing.assert_array_equal((hidden == MASKED).all(1), masked)
        np.testing.assert_array_equal(hidden[~masked], truth[~masked])
        np.testing.assert_allclose(truth, restored)  # a perfect prediction looks like the truth
        assert not (truth == MASKED).all(1).any()
        assert len(np.unique(difference[masked].round(1), axis=0)) == 1  # zero
        assert (difference[~masked] == to_rgba(HOLLOW["facecolor"])).all()


def test_prediction_is_shown_on_the_scale_of_the_truth(mini, event):
    npho, time, masked = event
    (truth, _, restored, difference), axes = panels(mini, draw_reconstruction(mini, npho, time, masked, 0.1 * npho))
    assert len({collection.get_clim() for ax in axes[:3] for collection in sensors(ax)}) == 1
    (low, high) = sensors(axes[3])[0].get_clim()
    assert low == -high
    assert (difference[masked, 2] >= difference[masked, 0]).all()  # too little is blue
    differs = (truth != restored).any(1).sum()
    assert 0.5 * masked.sum() < differs <= masked.sum()
    (_, _, brighter, _), _ = panels(mini, draw_reconstruction(mini, npho, time, masked, 1e6 * npho))
    assert not (brighter == MASKED).all(1).any()


@pytest.mark.parametrize("value", [np.nan, 0.0])
def test_events_without_light_or_prediction_are_drawn(mini, value):
    nothing, masked = np.full(mini.num_sensors, value), np.ones(mini.num_sensors, dtype=bool)
    found, _ = panels(mini, draw_reconstruction(mini, nothing, nothing, masked, nothing, nothing))
    assert all((found[i] == MASKED).all() for i in (1, 5))


@pytest.mark.parametrize(("channels", "events"), [(1, 1), (2, 2)])
def test_a_page_per_event_over_batches(mini, tmp_path, channels, events):
    sample = simulate_events(mini, 4, seed=2)
    batches = [Readings.of(sample[i : i + 1]) for i in range(4)]
    path = tmp_path / "pages.pdf"
    found = reconstructions(Oracle(mini, channels), Hide(mini, [1, 100, 200]), batches, max_events=events)
    save(path, reconstruction_pages(mini, found, 100.0, "a run"))
    content = path.read_bytes()
    assert len(re.findall(rb"/Type /Page\b", content)) == events
    assert [p.name for p in tmp_path.iterdir()] == ["pages.pdf"]
