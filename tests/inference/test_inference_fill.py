from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import uproot
from torch import Tensor, nn

from xecgnn.cli.fill import main
from xecgnn.config import FORMAT, InpaintConfig
from xecgnn.data import Events, Readings
from xecgnn.data import write as write_events
from xecgnn.data.parts import stored_events
from xecgnn.detector import Detector
from xecgnn.inference import FillConfig, fill_file, stream
from xecgnn.names import INVALID_LIMIT, INVALID_VALUE
from xecgnn.schema import Schema
from xecgnn.simulation import simulate_events
from xecgnn.training.checkpoint import KEY, load_network, read_checkpoint
from xecgnn.training.kinds import build_model

DEAD = [0, 5, 17, 100, 150, 211]
THRESHOLD = 100.0


class MeanInpainter(nn.Module):
    """Fills as `Inpainter` does: npho with a tenth of the mean of visible sensors and the sensor id, time with 1 ns."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector
        self.offset = nn.Parameter(torch.arange(detector.num_sensors, dtype=torch.float32))

    def fill(self, batch: Readings, dead: Tensor | None = None):
        x = batch.x  # [B, S, 2]
        npho = x[..., 0]
        hidden = ~(npho.abs() < INVALID_LIMIT)
        if dead is not None:
            hidden = hidden | dead
        seen = (~hidden).sum(1, keepdim=True)
        filled = hidden & (seen > 0)
        mean = torch.where(hidden, 0, npho).sum(1, keepdim=True) / seen.clamp(min=1)
        predicted = (mean / 10 + self.offset - 100).clamp(min=0)
        time = torch.where(predicted >= THRESHOLD, 1e-9, INVALID_VALUE)
        x = torch.where(filled[..., None], torch.stack([predicted, time], -1), x)
        return x, filled


def write(path: Path, columns: Mapping[str, np.ndarray]) -> Path:
    write_events(Events(columns, Schema()), path)
    return path


def columns_of(path: Path) -> dict[str, np.ndarray]:
    return dict(Events.concatenate(stored_events(path)).columns)


def fill(checkpoint: Path, source: Path) -> dict[str, np.ndarray]:
    output = source.with_name("filled.root")
    return columns_of(fill_file(FillConfig(checkpoint=checkpoint, input=source, output=output)))


def valid(values: np.ndarray) -> np.ndarray:
    return np.abs(values) < INVALID_LIMIT


@pytest.fixture(scope="module")
def model(mini: Detector) -> MeanInpainter:
    return MeanInpainter(mini)


@pytest.fixture(scope="module")
def checkpoints(save_checkpoint, model: MeanInpainter, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints of training with either npho branch."""
    folder = tmp_path_factory.mktemp("inpaint")
    return {
        npho: save_checkpoint(
            folder / f"{npho}.pth",
            model,
            "inpainting",
            {"format": FORMAT, "data": {"npho_branch": npho, "time_branch": "relative_time"}},
        )
        for npho in ("npho", "relative_npho")
    }


def mean_network(model: MeanInpainter) -> Callable[[Path, str], tuple[MeanInpainter, dict[str, Any]]]:
    """In place of `load_network`."""

    def load(path: Path, kind: str) -> tuple[MeanInpainter, dict[str, Any]]:
        assert kind == "inpainting"
        return model, read_checkpoint(path)[KEY]

    return load


@pytest.fixture(autouse=True)
def use_the_mean(model: MeanInpainter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xecgnn.training.checkpoint.load_network", mean_network(model))


@pytest.fixture(scope="module")
def events(mini: Detector) -> dict[str, np.ndarray]:
    """40 events with all four sensor branches and dead sensors, and branches that the package does not know."""
    columns = dict(simulate_events(mini, 40, seed=3, dead=DEAD, all_branches=True).columns)
    rng = np.random.default_rng(0)
    columns["trigger"] = rng.integers(0, 2**31, 40, dtype=np.uint32)
    columns["pedestal"] = rng.random((40, 7))
    columns["good"] = rng.random((40, 5)) > 0.5
    return columns


@pytest.fixture
def source(events: Mapping[str, np.ndarray], tmp_path: Path) -> Path:
    return write(tmp_path / "in" / "a.root", events)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, list[str]]]:
    """Calls `xecgnn-fill` in this process; returns its exit code and its lines on stderr."""

    def call(*argv: object) -> tuple[int, list[str]]:
        code = 0
        try:
            main([str(word) for word in argv])
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, capsys.readouterr().err.splitlines()

    return call


def test_only_dead_sensors_change(checkpoints, events, source: Path, tmp_path: Path, run) -> None:
    assert run(checkpoints["npho"], "--input", source, "--output", tmp_path / "o.root")[0] == 0
    columns = columns_of(tmp_path / "o.root")
    assert set(columns) == {*events, "filled"}
    filled = columns["filled"]
    assert filled.dtype == bool
    np.testing.assert_array_equal(filled, ~valid(events["npho"]))
    assert filled[:, DEAD].all()
    for name, values in events.items():
        assert columns[name].dtype.newbyteorder("=") == values.dtype
        if name in ("npho", "relative_npho", "time", "relative_time"):
            np.testing.assert_array_equal(columns[name][~filled], values[~filled])
        else:
            np.testing.assert_array_equal(columns[name], values)


def test_derived_branches_follow(checkpoints, source: Path) -> None:
    columns = fill(checkpoints["npho"], source)
    npho, relative, filled = (columns[name] for name in ("npho", "relative_npho", "filled"))
    assert valid(npho[filled]).all()
    brightest = np.where(filled | ~valid(npho), 0, npho).max(1, keepdims=True)
    np.testing.assert_allclose(relative[filled], (npho / brightest)[filled], rtol=1e-6)
    timed = filled & (npho >= THRESHOLD)
    assert timed.any()
    assert (filled & ~timed).any()
    read = ~filled & valid(columns["time"])
    first = np.where(read, columns["time"], np.inf).min(1, keepdims=True)
    np.testing.assert_allclose(columns["relative_time"][timed], 1e-9, rtol=1e-6)
    np.testing.assert_allclose(columns["time"][timed], (first + 1e-9).repeat(212, 1)[timed], rtol=1e-6, atol=1e-15)
    for name in ("time", "relative_time"):
        np.testing.assert_array_equal(columns[name][filled & ~timed], np.float32(INVALID_VALUE))


def test_npho_follows_where_the_network_knows_relative_npho(checkpoints, events, source: Path) -> None:
    columns = fill(checkpoints["relative_npho"], source)
    filled = columns["filled"]
    brightest = np.where(valid(events["npho"]), events["npho"], 0).max(1, keepdims=True)
    np.testing.assert_allclose(columns["npho"][filled], (columns["relative_npho"] * brightest)[filled], rtol=1e-5)


def test_sensors_of_the_list_are_filled_whatever_they_read(
    checkpoints, events, source: Path, tmp_path: Path, run
) -> None:
    (tmp_path / "dead.txt").write_text("# hot\n8\n9\n")
    argv = [checkpoints["npho"], "--input", source, "--output", tmp_path / "o.root"]
    assert run(*argv, "--dead_channels", tmp_path / "dead.txt")[0] == 0
    columns = columns_of(tmp_path / "o.root")
    listed = np.isin(np.arange(212), [8, 9]) | ~valid(events["npho"])
    np.testing.assert_array_equal(columns["filled"], listed)
    assert (columns["npho"][:, 8] != events["npho"][:, 8]).all()


def test_dead_faces_and_blind_events(checkpoints, events, mini: Detector, tmp_path: Path) -> None:
    columns = {name: events[name].copy() for name in ("npho", "relative_npho", "time", "relative_time")}
    for values in columns.values():
        values[:, mini.faces["us"].sensor_ids] = np.nan
        values[4] = np.nan
        values[5] = INVALID_VALUE
    columns["relative_npho"][6] = np.nan  # npho is there, its partner is not
    path = write(tmp_path / "in.root", columns)
    filled = fill(checkpoints["npho"], path)
    blind = np.isin(np.arange(40), [4, 5])
    assert filled["filled"][~blind][:, mini.faces["us"].sensor_ids].all()
    assert not filled["filled"][blind].any()
    for name, values in columns.items():
        np.testing.assert_array_equal(filled[name][blind], values[blind])  # nothing to go by: as they were
        assert np.isfinite(filled[name][filled["filled"]]).all()
    assert (filled["relative_npho"][6][filled["filled"][6]] == np.float32(INVALID_VALUE)).all()


def test_the_network_itself(save_checkpoint, events, source: Path, monkeypatch) -> None:
    config = InpaintConfig(detector="mini", model={"encoder_dim": 64, "dim_feedforward": 64})
    model = build_model(config)
    checkpoint = save_checkpoint(source.parent / "a.pth", model, "inpainting", config.model_dump(mode="json"))
    monkeypatch.setattr("xecgnn.training.checkpoint.load_network", load_network)
    columns = fill(checkpoint, source)
    filled = columns["filled"]
    np.testing.assert_array_equal(filled, ~valid(events["npho"]))
    assert (columns["npho"][filled] >= 0).all()
    timed = valid(columns["relative_time"])
    np.testing.assert_array_equal(timed[filled], (columns["npho"] >= THRESHOLD)[filled])
    for name in ("npho", "relative_time"):
        np.testing.assert_array_equal(columns[name][~filled], events[name][~filled])


def test_a_prediction_that_overflows_fills_nothing(checkpoints, model, source: Path, monkeypatch):
    monkeypatch.setattr(model.offset, "data", torch.full((212,), torch.inf))
    columns = fill(checkpoints["npho"], source)
    assert not columns["filled"].any()


def test_what_cannot_be_written_is_named(checkpoints, events, tmp_path: Path, caplog, run) -> None:
    path = tmp_path / "in.root"
    with uproot.recreate(path) as file:
        flat = {name: np.dtype(("f4", (212,))) for name in ("npho", "relative_time")}
        file.mktree("data", {**flat, "hits": "var * float32", "matrix": np.dtype(("f4", (2, 2)))})
        more = {"hits": [[1.0], []] * 20, "matrix": np.zeros((40, 2, 2), np.float32)}
        file["data"].extend({**{name: events[name] for name in flat}, **more})
    argv = [checkpoints["npho"], "--input", path, "--output", tmp_path / "o.root"]
    assert run(*argv)[1] == [f"error: {path}: no tree 'tree'; trees: data"]
    assert run(*argv, "--tree", "data")[0] == 0
    assert f"{path}: left out, as no flat arrays of numbers: hits, matrix" in caplog.messages
    assert set(columns_of(tmp_path / "o.root")) == {"npho", "relative_time", "nhits", "filled"}


def test_interrupted_and_resumed_is_one_pass(checkpoints, events, model, tmp_path: Path, monkeypatch, run) -> None:
    monkeypatch.setattr("xecgnn.data.writer.BASKET_EVENTS", 10)
    source = write(tmp_path / "in" / "a.root", events)
    monkeypatch.undo()
    monkeypatch.setattr("xecgnn.training.checkpoint.load_network", mean_network(model))
    monkeypatch.setattr(stream, "BLOCK_EVENTS", 10)
    monkeypatch.setattr(stream, "PART_EVENTS", 10)
    options = [checkpoints["npho"], "--input", source, "--batch", 7]
    assert run(*options, "--output", tmp_path / "whole.root")[0] == 0
    fill, calls = MeanInpainter.fill, iter(range(100))

    def interrupted(self, *readings):
        if next(calls) == 5:
            raise KeyboardInterrupt
        return fill(self, *readings)

    output = tmp_path / "o.root"
    with monkeypatch.context() as patch:
        patch.setattr(MeanInpainter, "fill", interrupted)
        assert run(*options, "--output", output)[0] == 130
    assert not output.exists()
    assert len(list((tmp_path / "o.root.parts").glob("part-*.root"))) == 2
    (tmp_path / "dead.txt").write_text("8\n")
    code, lines = run(*options, "--output", output, "--dead-channels", tmp_path / "dead.txt")
    assert code == 2
    assert "o.root.parts was begun with dead channels none, not 1, " in lines[0]
    assert run(*options, "--output", output)[0] == 0
    whole, resumed = columns_of(tmp_path / "whole.root"), columns_of(output)
    assert whole.keys() == resumed.keys()
    for name, values in whole.items():
        np.testing.assert_array_equal(resumed[name], values)


def test_mistakes_are_one_line_and_leave_nothing(
    checkpoints, checkpoint, events, source: Path, tmp_path: Path, monkeypatch, run
) -> None:
    folder = source.parent
    readings = {name: events[name] for name in ("npho", "relative_time")}
    small = write(folder / "small.root", {name: values[:, :200] for name, values in readings.items()})
    bare = write(folder / "bare.root", {"npho": events["npho"]})
    counts = write(folder / "counts.root", {**readings, "npho": np.ones((40, 212), np.int32)})
    twice = write(folder / "twice.root", {**readings, "filled": events["npho"] > 0})
    (folder / "dead.txt").write_text("212\n")
    for path, more, line in [
        (small, [], f"{small}: branch 'npho' has 200 sensors, the detector has 212"),
        (bare, [], f"{bare}: no branch 'relative_time'; branches: npho"),
        (counts, [], "branch 'npho' holds <i4, filling needs floating-point numbers"),
        (twice, [], "the input has a branch 'filled': it was filled before"),
        (folder / "none.root", [], f"no such file: {folder / 'none.root'}"),
        (source, ["--dead_channels", folder / "dead.txt"], f"{folder / 'dead.txt'}, line 1: '212' is not a sensor id"),
    ]:
        code, lines = run(checkpoints["npho"], "--input", path, "--output", tmp_path / "o.root", *more)
        assert code == 2
        assert len(lines) == 1
        assert lines[0].startswith(f"error: {line}")
    monkeypatch.setattr("xecgnn.training.checkpoint.load_network", load_network)
    argv = ["--input", source, "--output", tmp_path / "o.root"]
    assert run(checkpoint, *argv)[1] == [
        f"error: {checkpoint}: expected a checkpoint of xecgnn-inpaint, found one of xecgnn-train"
    ]
    assert run(checkpoints["npho"], "--input", source, "--output", source)[1] == [
        f"error: {source} exists; remove it, or choose another name"
    ]
    assert list(tmp_path.iterdir()) == [folder]
