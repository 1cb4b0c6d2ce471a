from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from xecgnn.export import OnnxPredictor, runtime
from xecgnn.inference import load_predictor


def test_says_what_runs_it(exported: Path) -> None:
    predictor = load_predictor(exported)
    assert predictor.provider.startswith("onnxruntime ")
    assert predictor.provider.endswith("ExecutionProvider")
    assert predictor.num_sensors == 212


def test_takes_any_float_array(exported: Path) -> None:
    predictor = OnnxPredictor(exported)
    npho = np.asfortranarray(np.full((3, 212), 500.0, dtype=">f4"))
    expected = predictor.predict(np.full((3, 212), 500.0, np.float32), np.zeros((3, 212), np.float32))
    found = predictor.predict(npho, np.zeros((3, 212)))
    assert all(np.array_equal(found[name], expected[name]) for name in predictor.output_names)


def test_another_number_of_sensors_is_named(exported: Path) -> None:
    with pytest.raises(ValueError, match=r"relative_time has shape \(2, 211\), the model takes \(B, 212\)"):
        OnnxPredictor(exported).predict(np.zeros((2, 212), np.float32), np.zeros((2, 211), np.float32))


def test_files_of_others_are_named(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"model '.*none.onnx' not found"):
        OnnxPredictor(tmp_path / "none.onnx")
    text = tmp_path / "text.onnx"
    text.write_text("not a model")
    with pytest.raises(ValueError, match=r"text.onnx: not a readable ONNX file \(InvalidProtobuf\)$"):
        OnnxPredictor(text)
    model = onnx.load(exported)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "bare.onnx")
    with pytest.raises(ValueError, match=r"bare.onnx: not a file of xecgnn-export, it has no 'detector_hash'"):
        OnnxPredictor(tmp_path / "bare.onnx")


def test_missing_library_names_the_extra(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match=r"^onnxruntime is not installed: pip install 'xecgnn\[cpu\]', or 'xecgnn\[gpu"
    ):
        OnnxPredictor(exported)
