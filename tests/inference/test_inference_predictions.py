from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import xecgnn
from xecgnn import Events, Readings
from xecgnn.inference import Judge, ModelPredictor, stream
from xecgnn.inference.predictor import event_losses
from xecgnn.models import XECModel


class Sums:
    """A network: energy is the sum of npho in GeV, its sigma a tenth; batches are noted."""

    output_names = ("energy", "energy_sigma", "n_gamma")
    metadata: dict[str, str] = {}  # noqa: RUF012
    provider, on_gpu, num_sensors = "NumPy", False, 3

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def predict(self, npho: np.ndarray, relative_time: np.ndarray) -> dict[str, np.ndarray]:
        self.sizes.append(len(npho))
        energy = npho.sum(1, keepdims=True) * 1e-3
        one = np.tile(np.float32([0, 1, 0, 0, 0]), (len(npho), 1))
        return {"energy": energy, "energy_sigma": energy / 10, "n_gamma": one}


def table(count: int) -> Events:
    npho = np.arange(count * 3, dtype=np.float32).reshape(count, 3)
    return Events({"npho": npho, "relative_time": npho * 1e-9, "event": np.arange(count), "dose": np.arange(count) / 2})


def test_events_come_back_with_predictions() -> None:
    events, network = table(20), Sums()
    parts = list(xecgnn.predict(network, [events[:11], events[11:11], events[11:]], batch=4))
    assert [len(part) for part in parts] == [4, 4, 3, 4, 4, 1]
    assert sorted(network.sizes) == [1, 3, 4, 4, 4, 4]
    predicted = Events.concatenate(parts)
    assert predicted.select(*events.fields) == events
    assert predicted.select("prediction", "sigma").fields == ("pred_energyTruth", "pred_n_gamma", "sigma_energyTruth")
    np.testing.assert_allclose(predicted.pred_energyTruth, events.npho.sum(1) * 1e-3)
    np.testing.assert_allclose(predicted.sigma_energyTruth, predicted.pred_energyTruth / 10)
    assert (predicted.pred_n_gamma == 1).all()


def test_an_event_without_light_is_not_predicted() -> None:
    events = table(3)
    events = events.with_columns({"npho": np.where(np.arange(3)[:, None] == 1, 1e10, events.npho)})
    (predicted,) = xecgnn.predict(Sums(), [events])
    assert np.isnan(predicted.pred_energyTruth).tolist() == [False, True, False]
    assert predicted.pred_n_gamma.tolist() == [1, -1, 1]


def test_a_stream_is_read_as_far_as_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "BATCHES_AHEAD", 2)
    read = 0

    def endless() -> Iterator[Events]:
        nonlocal read
        while True:
            read += 1
            yield table(2)

    predicted = xecgnn.predict(Sums(), endless())
    for wanted in range(1, 10):
        assert len(next(predicted)) == 2
        assert read <= wanted + 4


def test_a_checkpoint_predicts_a_file(checkpoint: Path, mini_files: Path) -> None:
    files = Events.stream(mini_files / "data" / "val")
    predicted = Events.concatenate(list(xecgnn.predict(xecgnn.load_predictor(checkpoint), files)))
    assert len(predicted) == 64
    assert {"pred_emiAng", "sigma_emiAng", "pred_energyTruth", "emiAng", "npho"} <= set(predicted.fields)


def test_a_judge_adds_the_loss_of_each_event(network: XECModel, mini_events: Events) -> None:
    """Predictions are those without truth; an event without light is answered like any other."""
    events = mini_events.with_columns({"npho": np.where(np.arange(64)[:, None] == 5, 1e10, mini_events.npho)})
    judged = Events.concatenate(list(xecgnn.predict(Judge(network), [events], batch=24)))
    plain = Events.concatenate(list(xecgnn.predict(ModelPredictor(network), [events], batch=24)))
    lit = np.arange(64) != 5
    for name in plain.select("prediction", "sigma").fields:
        np.testing.assert_array_equal(judged[name][lit], plain[name][lit])
    assert np.isfinite(judged.pred_emiAng).all()
    assert np.isnan(plain.pred_emiAng[5]).all()
    assert "loss" not in plain
    batch = Readings.of(events)
    with torch.no_grad():
        tasks = {name: network.task(name) for name in network.tasks}
        expected = event_losses(tasks, network.raw_outputs(batch), batch.y)
    np.testing.assert_allclose(judged.loss, expected, rtol=1e-4)


def test_a_network_that_predicts_something_else() -> None:
    network = Sums()
    network.output_names = ("tokens",)
    with pytest.raises(ValueError, match=r"the network: gives 'tokens', no prediction of angle, energy"):
        xecgnn.predict(network, [])
