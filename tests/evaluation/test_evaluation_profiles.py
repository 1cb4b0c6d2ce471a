from __future__ import annotations

import re

import numpy as np
import pytest
from matplotlib.figure import Figure

from xecgnn.estimate import quantile
from xecgnn.evaluation.measures import build_methods
from xecgnn.evaluation.pages.panels import MIN_EVENTS, bins, profile, residual_histogram
from xecgnn.evaluation.pages.resolution import resolution_pages
from xecgnn.tasks import TasksConfig, build_tasks

ENERGY = build_tasks(TasksConfig(angle={"enabled": False}, energy={"enabled": True}))["energy"]


def test_quantile_interval_covers_the_truth_in_68_percent_of_samples():
    rng = np.random.default_rng(0)
    truth = -np.log(1 - 0.68)  # 68 % quantile of an exponential
    estimates = [quantile(rng.exponential(size=200)) for _ in range(2000)]
    inside = [found.low < truth < found.high for found in estimates]
    assert np.mean(inside) == pytest.approx(0.68, abs=0.04)
    assert all(found.low < found.value for found in estimates)


def test_profile_follows_the_width_along_x():
    rng = np.random.default_rng(1)
    x = rng.uniform(0, 10, 60_000)
    points = profile(x, np.abs(rng.normal(size=x.size) * (1 + x)), quantile)
    assert len(points.x) == 12
    expected = 0.9945 * (1 + points.x)  # 68 % quantile of |normal|
    np.testing.assert_allclose(points.y, expected, rtol=0.06)
    assert ((points.x_low < points.x) & (points.x < points.x_high)).all()
    assert (np.diff(points.x) > 0).all()


def test_bins_need_events_and_spread():
    assert bins(np.full(1000, 52.83)) == []
    assert bins(np.arange(MIN_EVENTS - 1.0)) == []
    parts = bins(np.random.default_rng(2).exponential(size=3000))
    assert min(map(len, parts)) >= MIN_EVENTS
    assert len(np.unique(np.concatenate(parts))) == sum(map(len, parts))


def test_a_histogram_counts_what_is_outside_its_window():
    rng = np.random.default_rng(5)
    true, residual = np.full((500, 1), 0.05), np.append(rng.normal(0, 1e-3, 480), [-1.0] * 13 + [0.02] * 7)[:, None]
    ax = Figure().subplots()
    residual_histogram(ax, ENERGY.axes[0], build_methods(ENERGY, {"network": true + residual}, true), 0)
    window = ax.get_xlim()
    inside = np.sum((1e3 * residual >= window[0]) & (1e3 * residual <= window[1]))
    (label,) = [text.get_text() for text in ax.get_legend().get_texts()]
    below, above = map(int, re.findall(r"← (\d+), (\d+) →", label)[0])
    assert (below, above) == (13, 7)
    assert ax.patches[0].get_data().values.sum() == inside == 500 - below - above
    assert "[MeV]" in ax.get_legend().get_title().get_text()


def test_monochromatic_and_empty_samples_give_pages():
    true = np.full(200, 0.05283)
    predicted = np.random.default_rng(3).normal(0.05283, 1e-3, (200, 1))
    pages = list(resolution_pages(ENERGY, {"network": predicted}, {"energyTruth": true}, "run"))
    assert len(pages) == 1  # nothing varies: no profiles
    text = " ".join(item.get_text() for item in pages[0].findobj(lambda artist: hasattr(artist, "get_text")))
    assert "run" in text
    assert "200 events" in text
    assert "MeV" in text
    empty = list(resolution_pages(ENERGY, {"network": predicted}, {"energyTruth": np.full(200, np.nan)}, "run"))
    assert len(empty) == 1


def test_a_network_without_error_is_drawn():
    true = np.linspace(0.015, 0.06, 300)
    truth = {"energyTruth": true, "uvwTruth": np.random.default_rng(4).normal(size=(300, 3))}
    assert len(list(resolution_pages(ENERGY, {"network": true[:, None]}, truth, "run"))) == 2
