from __future__ import annotations

import numpy as np
import pytest
import torch

from xecgnn.tasks import ReweightingConfig, SampleReweighter
from xecgnn.tasks.reweighting import MAX_WEIGHT, TargetHistogram


def test_weights_flatten_a_skewed_distribution():
    rng = np.random.default_rng(0)
    targets = rng.beta(2, 4, (50_000, 1))
    targets = targets[(targets > 0.02) & (targets < 0.8)][:, None]
    histogram = TargetHistogram((10,))
    histogram.fit(targets)
    weight = histogram(torch.tensor(targets)).numpy()
    assert weight.mean() == pytest.approx(1.0, rel=1e-5)
    assert weight.max() < MAX_WEIGHT
    before, _ = np.histogram(targets, 10)
    after, _ = np.histogram(targets[:, 0], 10, weights=weight)
    assert before.max() / before.min() > 9
    np.testing.assert_allclose(after, len(targets) / 10, rtol=1e-2)


def test_rare_events_are_clipped_and_the_mean_stays_one():
    targets = np.r_[np.zeros(100_000), np.ones(3)]
    histogram = TargetHistogram((2,))
    histogram.fit(targets)
    weight = histogram(torch.tensor(targets)[:, None])
    assert weight.double().mean().item() == pytest.approx(1.0, rel=1e-5)
    assert weight.max().item() == pytest.approx(MAX_WEIGHT, rel=1e-3)


def test_targets_outside_take_the_nearest_bin_and_nan_weighs_one():
    histogram = TargetHistogram((4, 2))
    histogram.fit(np.random.default_rng(1).uniform(0, 1, (1000, 2)) ** 2)
    inside = histogram(torch.tensor([[0.99, 0.01], [0.01, 0.9]]))
    outside = histogram(torch.tensor([[7.0, -3.0], [-1e9, 2.0]]))
    assert torch.equal(inside, outside)
    assert histogram(torch.tensor([[torch.nan, 0.5]])).item() == 1.0


def test_weights_of_several_targets_multiply_and_travel_in_the_state():
    config = ReweightingConfig(energy={"enabled": True, "nbins": 5}, uvwFI={"enabled": True, "nbins_2d": (3, 2)})
    rng = np.random.default_rng(2)
    targets = {"energy": rng.uniform(0.015, 0.06, 500) ** 2, "uvwFI": rng.normal(size=(500, 3))}
    reweighter = SampleReweighter(config)
    reweighter.fit(targets)
    assert reweighter.histograms["uvwFI"].weights.shape == (3 * 2 * 2,)
    batch = {name: torch.tensor(values[:8], dtype=torch.float32) for name, values in targets.items()}
    product = reweighter.histograms["energy"](batch["energy"]) * reweighter.histograms["uvwFI"](batch["uvwFI"])
    assert torch.equal(reweighter(batch), product)
    other = SampleReweighter(config)
    other.load_state_dict(reweighter.state_dict())
    assert torch.equal(other(batch), product)
    with pytest.raises(KeyError, match=r"reweighting\.uvwFI"):
        reweighter.fit({"energy": targets["energy"]})


def test_nothing_enabled_gives_no_weights():
    assert SampleReweighter(ReweightingConfig())({"angle": torch.zeros(3, 2)}) is None
