from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import uproot

from xecgnn.cli.infer import main
from xecgnn.data import Events, Readings
from xecgnn.data import write as write_events
from xecgnn.data.parts import stored_events
from xecgnn.export.metadata import weights_hash
from xecgnn.inference import CheckpointPredictor, InferConfig, predict_files, stream
from xecgnn.models import XECModel
from xecgnn.provenance import file_hash
from xecgnn.schema import Schema


def columns_of(path: Path) -> dict[str, np.ndarray]:
    return dict(Events.concatenate(stored_events(path)).columns)


def write(path: Path, columns: dict[str, np.ndarray]) -> Path:
    write_events(Events(columns, Schema()), path)
    return path


@pytest.fixture
def train_files(mini_files: Path) -> str:
    return str(mini_files / "data" / "train" / "*.root")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, list[str]]]:
    """Calls `xecgnn-infer` in this process; returns its exit code and its lines on stderr."""

    def call(**options: object) -> tuple[int, list[str]]:
        code = 0
        try:
            main([f"--{name}={value}" for name, value in options.items()])
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, capsys.readouterr().err.splitlines()

    return call


def test_everything_an_analyst_needs(checkpoint: Path, network: XECModel, train_files: str, tmp_path: Path):
    output = predict_files(
        InferConfig(
            onnx=checkpoint, input=train_files, output=tmp_path / "o.root", csv=tmp_path / "t" / "o.csv", batch=50
        )
    )
    events = Events.read(train_files)
    with torch.no_grad():
        expected = network(Readings.of(events))
    columns = columns_of(output)
    predicted = ["pred_emiAng", "sigma_emiAng", "pred_energyTruth", "pred_n_gamma"]
    truth = ["emiAng", "emiVec", "energyTruth", "edepTruth", "centroidTruth", "timeTruth"]
    truth += ["uvwTruth", "xyzTruth", "xyzVTX", "n_gamma"]
    assert list(columns) == ["run", "event", *predicted, *truth]
    for name in ["run", "event", *truth]:
        np.testing.assert_array_equal(columns[name], events[name])
    np.testing.assert_allclose(columns["pred_emiAng"], expected["angle"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(columns["sigma_emiAng"], expected["angle_sigma"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(columns["pred_energyTruth"], expected["energy"][:, 0], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(columns["pred_n_gamma"], expected["n_gamma"].argmax(1))
    with uproot.open(output) as file:
        assert str(file["model"]) == file_hash(checkpoint)
        assert str(file["model_hash"]) == weights_hash(network)
    header, *rows = (tmp_path / "t" / "o.csv").read_text().splitlines()
    assert header.startswith("run,event,pred_emiAng_0,pred_emiAng_1,sigma_emiAng_0")
    table = np.array([row.split(",") for row in rows], dtype=np.float64)
    np.testing.assert_array_equal(table[:, 2:4].astype(np.float32), columns["pred_emiAng"])
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["o.csv", "o.root", "t"]


def test_truth_and_identification_only_where_all_files_have_them(
    checkpoint: Path, mini_files: Path, tmp_path: Path
) -> None:
    events = Events.read(mini_files / "data" / "val" / "a.root")
    real = write(tmp_path / "real.root", {name: events[name] for name in ("npho", "relative_time", "event")})
    output = tmp_path / "o.root"
    predict_files(InferConfig(onnx=checkpoint, input=[str(mini_files / "data/val"), str(real)], output=output))
    columns = columns_of(output)
    assert [name for name in columns if not name.startswith(("pred", "sigma"))] == ["event"]
    np.testing.assert_array_equal(columns["pred_emiAng"][:64], columns["pred_emiAng"][64:])


def test_limits_are_copied(checkpoint: Path, mini_files: Path, tmp_path: Path) -> None:
    events = Events.read(mini_files / "data" / "val" / "a.root")
    limit = np.linspace(1e-4, 2e-4, len(events), dtype=np.float32)
    path = write(tmp_path / "in.root", dict(events.columns) | {"limit_edepTruth": limit})
    columns = columns_of(predict_files(InferConfig(onnx=checkpoint, input=str(path), output=tmp_path / "o.root")))
    np.testing.assert_array_equal(columns["limit_edepTruth"], limit)


def test_an_event_without_a_valid_reading_is_not_predicted(checkpoint: Path, mini_files: Path, tmp_path: Path):
    events = Events.read(mini_files / "data" / "val" / "a.root")
    npho, time = events.npho.copy(), events.relative_time.copy()
    npho[3] = np.nan
    npho[5], time[5] = 1e10, 1e10
    npho[7, 1:] = np.nan
    path = write(tmp_path / "in.root", {"npho": npho, "relative_time": time, "event": events.event})
    columns = columns_of(predict_files(InferConfig(onnx=checkpoint, input=str(path), output=tmp_path / "o.root")))
    empty = np.isin(np.arange(64), [3, 5])
    for name in ("pred_emiAng", "sigma_emiAng", "pred_energyTruth"):
        np.testing.assert_array_equal(np.isnan(columns[name]).reshape(64, -1).all(1), empty)
        np.testing.assert_array_equal(np.isnan(columns[name]).reshape(64, -1).any(1), empty)
    np.testing.assert_array_equal(columns["pred_n_gamma"] == -1, empty)


def test_branches_are_those_of_the_training_unless_named(checkpoint: Path, mini_files: Path, tmp_path: Path, run):
    events = Events.read(mini_files / "data" / "val" / "a.root")
    angles = np.degrees(events.emiAng)
    path = write(tmp_path / "in.root", {"nphe": events.npho, "t": events.relative_time, "emiAng": angles})
    code, lines = run(onnx=checkpoint, input=path, output=tmp_path / "o.root")
    assert (code, lines[-1]) == (2, f"error: {path}: no branch 'npho'; branches: nphe, t, emiAng")
    options = {"npho_branch": "nphe", "time_branch": "t", "angle_unit": "deg"}
    assert run(onnx=checkpoint, input=path, output=tmp_path / "o.root", **options)[0] == 0
    np.testing.assert_allclose(columns_of(tmp_path / "o.root")["emiAng"], events.emiAng, rtol=1e-6)


def test_flags_of_the_earlier_program_are_answered(checkpoint: Path, train_files: str, tmp_path: Path, caplog, run):
    flags = {"npho_scale": 0.58, "npho_scale2": 1.0, "time_scale": 6.5e-8, "time_shift": 0.5, "sentinel_value": -5.0}
    assert run(onnx=checkpoint, input=train_files, output=tmp_path / "a.root", **flags)[0] == 0
    names = ", ".join(f"--{name}" for name in flags)
    assert f"{names}: not used, the model file holds the normalisation" in caplog.messages
    assert f"{checkpoint}: angle, angle_sigma, energy, n_gamma, PyTorch on cpu" in caplog.messages
    caplog.clear()
    assert run(onnx=checkpoint, input=train_files, output=tmp_path / "b.root")[0] == 0
    assert not any("not used" in message for message in caplog.messages)
    before, after = (columns_of(tmp_path / name) for name in ("a.root", "b.root"))
    np.testing.assert_array_equal(before["pred_emiAng"], after["pred_emiAng"])


def test_interrupted_and_resumed_is_one_pass(
    checkpoint: Path, mini_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run
) -> None:
    monkeypatch.setattr(stream, "PART_EVENTS", 60)  # a part per file
    options = {"onnx": checkpoint, "input": mini_files / "data/*/*.root", "batch": 24}
    assert run(output=tmp_path / "whole.root", **options)[0] == 0
    predict, calls = CheckpointPredictor.predict, iter(range(100))

    def interrupted(self, npho, time):
        if next(calls) == 8:  # one to see the outputs, six of the first file
            raise KeyboardInterrupt
        return predict(self, npho, time)

    with monkeypatch.context() as patch:
        patch.setattr(CheckpointPredictor, "predict", interrupted)
        code, _ = run(output=tmp_path / "out.root", csv=tmp_path / "out.csv", **options)
    assert code == 130
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.root.parts", "whole.root"]
    code, lines = run(output=tmp_path / "out.root", csv=tmp_path / "out.csv", **options | {"batch": 32})
    assert code == 2
    assert lines[-1].startswith(f"error: {tmp_path / 'out.root.parts'} was begun with batch 24, not 32; ")
    assert run(output=tmp_path / "out.root", csv=tmp_path / "out.csv", **options)[0] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "out.root", "whole.root"]
    whole, resumed = columns_of(tmp_path / "whole.root"), columns_of(tmp_path / "out.root")
    assert list(whole) == list(resumed)
    for name, values in whole.items():
        np.testing.assert_array_equal(resumed[name], values)


def test_a_model_without_predictions(checkpoint: Path, mini_files: Path, tmp_path: Path, monkeypatch, run):
    predictor = CheckpointPredictor(checkpoint)
    predictor.output_names = ("tokens",)  # of xecgnn-export --encoder
    monkeypatch.setattr("xecgnn.inference.infer.load_predictor", lambda *_, **__: predictor)
    code, lines = run(onnx="tokens.onnx", input=mini_files / "data" / "val", output=tmp_path / "o.root")
    tasks = "angle, energy, timing, uvwFI, angleVec, edep, centroid, n_gamma"
    assert (code, lines) == (2, [f"error: tokens.onnx: gives 'tokens', no prediction of {tasks}"])
    assert list(tmp_path.iterdir()) == []


def test_bad_files_stop_or_are_skipped(checkpoint: Path, mini_files: Path, tmp_path: Path, run):
    good = mini_files / "data" / "val" / "a.root"
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.root").write_bytes(good.read_bytes()[:5000])
    (tmp_path / "in" / "b.root").write_bytes(good.read_bytes())
    options = {"onnx": checkpoint, "input": tmp_path / "in", "output": tmp_path / "o.root"}
    code, lines = run(**options)
    assert code == 2
    assert lines[-1].startswith(f"error: {tmp_path / 'in' / 'a.root'}: truncated")
    assert run(**options, on_bad_file="skip")[0] == 0
    assert len(columns_of(tmp_path / "o.root")["event"]) == 64


def test_mistakes_are_one_line_and_leave_nothing(checkpoint: Path, mini_files: Path, tmp_path: Path, run):
    source = mini_files / "data" / "val" / "a.root"
    events = Events.read(source)
    folder = tmp_path / "in"
    readings = {"npho": events.npho, "relative_time": events.relative_time}
    other = write(folder / "other.root", {name: values[:, :200] for name, values in readings.items()})
    bare = write(folder / "bare.root", {"npho": events.npho})
    empty = write(folder / "empty.root", {name: values[:0] for name, values in readings.items()})
    wrong = write(folder / "wrong.root", {**readings, "emiAng": events.emiVec})
    (folder / "taken.root").write_text("mine")
    (tmp_path / "no folder").touch()
    good = {"onnx": checkpoint, "input": source, "output": tmp_path / "o.root"}
    for change, line in [
        ({"input": other}, f"{other}: branch 'npho' has 200 sensors, the detector has 212"),
        ({"input": bare}, f"{bare}: no branch 'relative_time'; branches: npho"),
        ({"input": empty}, f"{empty}: tree 'tree' is empty"),
        ({"input": wrong}, f"{wrong}: branch 'emiAng' has width 3, expected 2"),
        ({"input": tmp_path / "none.root"}, f"no such file: {tmp_path / 'none.root'}"),
        ({"onnx": tmp_path / "none.onnx"}, f"model '{tmp_path / 'none.onnx'}' not found"),
        ({"output": folder / "taken.root"}, f"{folder / 'taken.root'} exists; remove it, or choose another name"),
        ({"csv": folder / "taken.root"}, f"{folder / 'taken.root'} exists; remove it, or choose another name"),
        ({"output": tmp_path / "no folder" / "o.root"}, f"{tmp_path / 'no folder' / 'o.root'}.parts: Not a directory"),
        ({"batch": 0}, "batch: should be greater than or equal to 1, found '0'"),
    ]:
        code, lines = run(**good | change)
        assert code == 2
        assert len(lines) == 1
        assert lines[0].startswith(f"error: {line}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "no folder"]
    assert not list(folder.glob("*.part*"))


def test_branches_of_another_reconstruction_are_copied(checkpoint: Path, mini_files: Path, tmp_path: Path, run) -> None:
    readings = columns_of(mini_files / "data/val/a.root")
    other = {"EGamma": np.linspace(0.0, 1.0, 64), "uvwReco": np.arange(192, dtype=np.float32).reshape(64, 3)}
    data = write(tmp_path / "in.root", readings | other)
    output = tmp_path / "out.root"
    predict_files(InferConfig(onnx=checkpoint, input=str(data), output=output, copy_branches=list(other)))
    copied = columns_of(output)
    for name, values in other.items():
        assert copied[name].dtype == values.dtype
        np.testing.assert_array_equal(copied[name], values)
    missing = tmp_path / "none.root"
    code, lines = run(onnx=checkpoint, input=data, output=missing, copy_branches="ERec")
    assert code == 2
    assert "no branch 'ERec' of numbers to copy; branches: " in lines[-1]
    assert not missing.exists()
