"""`xecgnn-infer` with a file of `xecgnn-export`: here, where the exported network is at hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import uproot

from xecgnn.data.parts import stored_events
from xecgnn.inference import InferConfig, load_predictor, predict_files

pytest.importorskip("onnxruntime")


def test_model_file_and_checkpoint_say_the_same(
    exported: Path, checkpoints: dict[str, Path], mini_files: Path, tmp_path: Path
) -> None:
    assert load_predictor(exported).provider.startswith("onnxruntime")
    columns, notes = {}, {}
    for model in (exported, checkpoints["all"]):
        output = tmp_path / f"{model.stem}{model.suffix}.root"
        predict_files(InferConfig(onnx=model, input=str(mini_files / "data" / "val"), output=output))
        (found,) = stored_events(output)
        columns[model] = found.columns
        with uproot.open(output) as file:
            notes[model] = str(file["model"]), str(file["model_hash"])
    ours, expected = columns.values()
    assert list(ours) == list(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(ours[name], values, rtol=1e-3, atol=1e-4 * np.std(values), err_msg=name)
    (file, weights), (checkpoint_file, checkpoint_weights) = notes.values()
    assert file != checkpoint_file
    assert weights == checkpoint_weights
