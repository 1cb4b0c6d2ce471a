"""The command, its files and its mistakes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from xecgnn.cli.export import main
from xecgnn.data import Events
from xecgnn.detector import load_detector
from xecgnn.export import ExportConfig, OnnxPredictor, convert, export_checkpoint, runtime
from xecgnn.export import verify as verify_module
from xecgnn.export.onnx_file import FORBIDDEN, operators
from xecgnn.export.verify import damaged
from xecgnn.inference import load_predictor
from xecgnn.simulation import SimulationConfig, simulate_events, write_simulation
from xecgnn.training.checkpoint import sealed

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*argv: object) -> tuple[int, str]:
        """Exit code and stderr."""
        try:
            main([str(argument) for argument in argv])
        except SystemExit as stop:
            return int(stop.code or 0), capsys.readouterr().err
        return 0, capsys.readouterr().err

    return call


def test_normalized_input_gives_the_same_predictions(
    checkpoints: dict[str, Path], mini_events: Events, mini_files: Path, tmp_path: Path, run: Run
) -> None:
    output, data = tmp_path / "folder" / "normalized.onnx", mini_files / "data/val/a.root"
    options = ("--multi-task", "--normalized-input", "--data", data, "--events", 32)
    code, lines = run(checkpoints["angle"], "--output", output, "--tasks", "angle", *options)
    assert code == 0, lines
    events = damaged(mini_events[:9])
    expected = load_predictor(checkpoints["angle"]).predict(events.npho, events.relative_time)["angle"]
    found = OnnxPredictor(output).predict(events.npho, events.relative_time)
    assert list(found) == ["angle"]
    np.testing.assert_allclose(found["angle"], expected, atol=1e-5)
    assert run("--verify", output, "--checkpoint", checkpoints["angle"], data)[0] == 0


def test_inpainter_in_front(tiny: Path, checkpoints: dict[str, Path], tmp_path: Path, run: Run) -> None:
    output, data = tmp_path / "filled.onnx", tmp_path / "data.root"
    write_simulation(SimulationConfig(detector=str(tiny), events=32, output=data))
    code, lines = run(checkpoints["tiny"], "--output", output, "--inpaint", checkpoints["inpainting"], "--data", data)
    assert code == 0, lines
    predictor, events = OnnxPredictor(output), damaged(simulate_events(load_detector(tiny), 4))
    plain = load_predictor(checkpoints["tiny"]).predict(events.npho, events.relative_time)["angle"]
    filled = predictor.predict(events.npho, events.relative_time)["angle"]
    assert np.abs(filled - plain)[3].max() > 1e-3
    assert np.allclose(filled[[0, 2]], plain[[0, 2]], atol=1e-5)  # nothing to fill
    assert len(predictor.metadata["inpainter_hash"]) == 64
    assert not set(operators(output)) & set(FORBIDDEN)
    verify = ("--verify", output, "--checkpoint", checkpoints["tiny"])
    assert run(*verify, data) == (2, f"error: {output} has an inpainter: give --inpaint\n")
    assert run(*verify, "--inpaint", checkpoints["inpainting"], data)[0] == 0
    other = (checkpoints["angle"], "--output", tmp_path / "new.onnx", "--inpaint", checkpoints["inpainting"])
    assert run(*other)[1].startswith("error: the inpainter is for detector tiny")


def test_encoder_of_any_training(checkpoints: dict[str, Path], tmp_path: Path, run: Run) -> None:
    output = tmp_path / "encoder.onnx"
    code, lines = run(checkpoints["inpainting"], "--encoder", "--output", output)
    assert code == 0, lines
    predictor = OnnxPredictor(output)
    assert (predictor.output_names, predictor.metadata["kind"]) == (("tokens",), "encoder")
    tokens = predictor.predict(np.full((3, 112), 500.0, np.float32), np.zeros((3, 112), np.float32))["tokens"]
    assert tokens.shape == (3, 2, 32)


def test_comparison_can_be_repeated(
    exported: Path, checkpoints: dict[str, Path], mini_files: Path, caplog: pytest.LogCaptureFixture, run: Run
) -> None:
    with caplog.at_level("INFO", "xecgnn"):
        data = mini_files / "data/val/a.root"
        assert run("--verify", exported, "--checkpoint", checkpoints["all"], data)[0] == 0
    assert "over 64 events" in caplog.text
    assert "uvwFI_sigma     cm" in caplog.text
    code, line = run("--verify", exported, "--checkpoint", checkpoints["angle"], data)
    assert code == 2
    assert line.startswith(f"error: {exported} holds the weights ")
    code, line = run("--verify", exported, "--checkpoint", checkpoints["tiny"], data)
    assert line.startswith(f"error: {exported} holds the weights ")


def test_a_file_that_fails_is_not_left_behind(
    exported: Path, checkpoints: dict[str, Path], tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convert, "write_onnx", lambda raw, path, metadata: shutil.copy(exported, path))
    output = tmp_path / "model.onnx"
    arguments = (checkpoints["all"], "--output", output, "--events", 8)
    with monkeypatch.context() as strict:
        strict.setattr(verify_module, "TOLERANCE", 1e-12)
        code, lines = run(*arguments)
    assert code == 2
    assert lines.startswith("error: angle, angle_sigma, energy")
    assert list(tmp_path.iterdir()) == []
    assert run(*arguments)[0] == 0
    assert list(tmp_path.iterdir()) == [output]


def test_averaged_weights_are_exported(
    exported: Path, checkpoints: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trained weights beside them play no part."""
    content = torch.load(checkpoints["all"], weights_only=True)
    content["current_model_state"] = {name: value + 1 for name, value in content["state_dict"].items()}
    torch.save(sealed(content), tmp_path / "trained.pth")
    monkeypatch.setattr(convert, "write_onnx", lambda raw, path, metadata: shutil.copy(exported, path))
    export_checkpoint(ExportConfig(checkpoint=tmp_path / "trained.pth", output=tmp_path / "a.onnx", events=8))


def test_missing_library_is_found_before_any_work(
    checkpoints: dict[str, Path], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "find_spec", lambda name: None if name == "onnxruntime" else name)
    code, line = run(checkpoints["all"], "--output", "no such folder/model.onnx")
    assert code == 2
    assert line == "error: onnxruntime is not installed: pip install 'xecgnn[cpu]', or 'xecgnn[gpu]' for CUDA\n"


def test_mistakes_are_one_line(
    exported: Path, checkpoints: dict[str, Path], mini_files: Path, tmp_path: Path, run: Run
) -> None:
    good, new = checkpoints["all"], tmp_path / "new.onnx"
    text = tmp_path / "text"
    text.write_text("nothing")
    cases = [
        ((good, "--output", exported), f"{exported} exists; choose another --output, or --overwrite to replace it"),
        ((tmp_path / "none.pth", "--output", new), f"checkpoint '{tmp_path / 'none.pth'}' not found"),
        ((text, "--output", new), f"{text}: not a readable checkpoint"),
        ((good, "--output", new, "--tasks", "angel"), "the model has no task 'angel'; its tasks: angle, energy"),
        ((good, "--output", new, "--inpaint", good), f"{good}: expected a checkpoint of xecgnn-inpaint, found one of"),
        (
            (checkpoints["inpainting"], "--output", new),
            f"{checkpoints['inpainting']}: expected a checkpoint of xecgnn-t",
        ),
        ((good, "--output", new, "--data", tmp_path / "no.root"), f"no such file: {tmp_path / 'no.root'}"),
        ((good, "--output", new, "--data", text), f"{text}: truncated or not a ROOT file"),
        (("--verify", text, "--checkpoint", good, text), f"{text}: not a readable ONNX file"),
        (("--verify", exported, "--checkpoint", good, tmp_path / "no.root"), "no such file"),
    ]
    for arguments, message in cases:
        code, lines = run(*arguments)
        assert code == 2, message
        assert lines.removeprefix("error: ").startswith(message)
        assert lines.count("\n") == 1, lines
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text"]
    assert run("--output", new)[0] == 2
    assert run("--verify", exported, mini_files / "data/val/a.root")[0] == 2
