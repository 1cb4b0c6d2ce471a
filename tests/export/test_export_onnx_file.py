from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

import xecgnn
from xecgnn.data import Events, Readings
from xecgnn.detector import Detector
from xecgnn.export import OnnxPredictor
from xecgnn.export.metadata import weights_hash
from xecgnn.export.onnx_file import FORBIDDEN, IR_VERSION, OLDEST_RUNTIME, operators
from xecgnn.export.verify import damaged
from xecgnn.nn import NormalizationConfig
from xecgnn.training.checkpoint import load_model, read_checkpoint

# Static and dense, whatever the exporter of tomorrow makes of the same network.
ALLOWED = {
    *("ArgMax", "AveragePool", "Einsum", "GatherElements"),  # the spot
    *("Abs", "Add", "And", "Atan", "Cast", "Clip", "Concat", "Conv", "Div", "Exp", "Expand", "Gather", "Gelu", "Gemm"),
    *("Greater", "GreaterOrEqual", "IsNaN", "LayerNormalization", "LeakyRelu", "Less", "Log", "MatMul", "Max", "Mul"),
    *(
        "Neg",
        "Pow",
        "Reciprocal",
        "ReduceMean",
        "ReduceSum",
        "Reshape",
        "Shape",
        "Sign",
        "Slice",
        "Softmax",
        "Split",
        "Sqrt",
    ),
    *("Squeeze", "Sub", "Transpose", "Unsqueeze", "Where"),
}


def test_operators_are_static(exported: Path) -> None:
    found = set(operators(exported))
    assert found <= ALLOWED, found - ALLOWED
    assert not found & set(FORBIDDEN)
    assert {"Gelu", "LayerNormalization", "Conv"} <= found  # as one operator each


def test_one_file_with_a_dynamic_batch(exported: Path, mini: Detector) -> None:
    model = onnx.load(exported, load_external_data=False)
    assert {entry.domain: entry.version for entry in model.opset_import}[""] >= 18
    assert not any(tensor.external_data for tensor in model.graph.initializer)
    inputs = {value.name: value.type.tensor_type.shape.dim for value in model.graph.input}
    assert list(inputs) == ["npho", "relative_time"]
    for batch, sensors in inputs.values():
        assert batch.dim_param
        assert sensors.dim_value == mini.num_sensors
    assert sorted(path.name for path in exported.parent.iterdir() if path.suffix != ".pth") == [exported.name]


@pytest.mark.parametrize("batch", [1, 2, 7, 33])
def test_predictions_are_those_of_the_checkpoint(
    exported: Path, checkpoints: dict[str, Path], mini: Detector, mini_events: Events, batch: int
) -> None:
    predictor = OnnxPredictor(exported)
    events = damaged(mini_events[:batch]) if batch > 1 else mini_events[:1]
    found = predictor.predict(events.npho, events.relative_time)
    expected = load_model(checkpoints["all"])(Readings.of(events))
    assert set(found) == set(expected) == set(predictor.output_names)
    for name, values in expected.items():
        assert found[name].shape == values.shape
        np.testing.assert_allclose(found[name], values.detach(), rtol=2e-5, atol=2e-5)


def test_metadata_holds_what_is_needed_to_use_the_file(exported: Path, checkpoints: dict[str, Path]) -> None:
    metadata = OnnxPredictor(exported).metadata
    model = load_model(checkpoints["all"])
    assert metadata["xecgnn_version"] == xecgnn.__version__
    assert (metadata["kind"], metadata["input"]) == ("regression", "raw")
    assert json.loads(metadata["tasks"]) == list(model.tasks)
    units = json.loads(metadata["output_units"])
    assert (units["angle_sigma"], units["energy"], units["timing"], units["uvwFI_sigma"]) == ("rad", "GeV", "s", "cm")
    config = read_checkpoint(checkpoints["all"])["xecgnn"]["config"]
    assert json.loads(metadata["config"]) == config
    assert NormalizationConfig.model_validate_json(metadata["normalization"]).npho_scale == pytest.approx(30.0)
    detector = Detector.from_yaml(metadata["detector_yaml"])
    assert (metadata["detector"], metadata["detector_hash"]) == (detector.name, detector.hash)
    assert (metadata["run_name"], metadata["run_id"]) == ("a run", "0123abcd")
    assert metadata["model_hash"] == weights_hash(model)


def test_hash_is_that_of_the_weights(build) -> None:
    first, second = build(), build()
    assert weights_hash(first) == weights_hash(second)
    second.heads["angle"][0].bias.data[3] += 1e-3
    assert weights_hash(first) != weights_hash(second)


def test_runtimes_of_opset_20_read_it(exported: Path) -> None:
    """From 1.17 on; 1.18 to 1.23 fuse a transposed factor into a product that they do not have for doubles."""
    model = onnx.load(exported)
    assert model.ir_version <= IR_VERSION == 9
    assert OnnxPredictor(exported).metadata["onnxruntime"] == OLDEST_RUNTIME
    double = {v.name for v in model.graph.value_info if v.type.tensor_type.elem_type == onnx.TensorProto.DOUBLE}
    transposed = {name for node in model.graph.node if node.op_type == "Transpose" for name in node.output}
    products = [node for node in model.graph.node if node.op_type == "MatMul" and double & {*node.input}]
    assert products
    assert not [node.name for node in products if transposed & {*node.input}]
