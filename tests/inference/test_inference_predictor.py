from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from xecgnn.data import Events, Readings
from xecgnn.inference import CheckpointPredictor, load_predictor
from xecgnn.models import XECModel


def test_a_checkpoint_predicts_what_its_network_does(checkpoint: Path, network: XECModel, mini_events: Events):
    predictor = load_predictor(checkpoint)
    assert isinstance(predictor, CheckpointPredictor)
    assert predictor.num_sensors == 212
    assert predictor.output_names == ("angle", "angle_sigma", "energy", "n_gamma")
    assert predictor.metadata["detector_hash"] == network.detector.hash
    assert json.loads(predictor.metadata["config"])["data"]["npho_branch"] == "npho"
    with torch.no_grad():
        expected = network(Readings.of(mini_events))
    predicted = predictor.predict(mini_events.npho, mini_events.relative_time)
    assert tuple(predicted) == predictor.output_names
    for name, values in predicted.items():
        np.testing.assert_allclose(values, expected[name].numpy(), rtol=1e-5, atol=1e-6)


def test_no_such_model(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"model '.*none\.onnx' not found"):
        load_predictor(tmp_path / "none.onnx")


def test_a_broken_checkpoint(tmp_path: Path):
    (tmp_path / "a.pth").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(ValueError, match=r"a\.pth: not a readable checkpoint"):
        load_predictor(tmp_path / "a.pth")
