"""The folder of a run, whoever moves, shares, interrupts or kills it; and what follows its training."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sqlite3
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch

from xecgnn.cli.compare import main as compare
from xecgnn.cli.train import _export, main
from xecgnn.lock import Lock
from xecgnn.training.checkpoint import sealed
from xecgnn.training.config import LoggingConfig
from xecgnn.training.folder import check_space, newest_checkpoint, open_run_folder
from xecgnn.training.module import TrainingModule
from xecgnn.training.tracking import Tracker, build_trackers

LINE = [
    "angle.yaml", "--detector", "mini", "--batch", "32", "--data.num_workers", "0", "--model.encoder_dim", "32",
    "--model.hex_dim", "8", "--model.hex_depth", "1", "--model.depths", "1", "1", "--model.num_heads", "2",
    "--training.device", "cpu", "--logging.mlflow", "false", "--logging.tensorboard", "false",
    "--evaluation.worst_events", "0", "--evaluation.saliency_events", "0", "--epochs", "2",
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def undrawn() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xecgnn.evaluation.report.make", lambda *_: [])
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, mini_files: Path) -> Path:
    """A folder with `data` and the run `whole` of two epochs."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "data").symlink_to(mini_files / "data")
    before = Path.cwd()
    os.chdir(folder)
    try:
        main([*LINE, "--run_name", "whole"])
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def place(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it as the current folder."""
    shutil.copytree(whole, tmp_path / "place", symlinks=True)
    monkeypatch.chdir(tmp_path / "place")
    return tmp_path / "place"


def weights(path: str) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["state_dict"]


def signalled(monkeypatch: pytest.MonkeyPatch, step: str, number: int, epoch: int, batch: int) -> None:
    """Send this process a signal in a step of an epoch."""
    original = getattr(TrainingModule, step)

    def send(self: TrainingModule, readings: object, batch_idx: int) -> object:
        if (self.current_epoch, batch_idx) == (epoch, batch):
            os.kill(os.getpid(), number)
        return original(self, readings, batch_idx)

    monkeypatch.setattr(TrainingModule, step, send)


@pytest.mark.parametrize(
    ("step", "number", "epoch", "batch", "reached"),
    [
        ("training_step", signal.SIGTERM, 1, 2, "step 3 of epoch 2, whose metrics count the others"),
        ("validation_step", signal.SIGUSR1, 0, 0, "epoch 1"),
    ],
)
def test_a_signal_keeps_the_steps_that_are_done(
    place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    step: str, number: signal.Signals, epoch: int, batch: int, reached: str,
) -> None:  # fmt: skip
    with monkeypatch.context() as patch, caplog.at_level(logging.INFO, "xecgnn"):
        signalled(patch, step, number, epoch, batch)
        with pytest.raises(SystemExit) as stop:
            main([*LINE, "--run_name", "parts"])
    assert stop.value.code == 128 + number
    assert f"{number.name}: ending after this step" in caplog.text
    assert "Continue with --resume_from artifacts/parts/checkpoint_last.pth" in caplog.text
    with caplog.at_level(logging.INFO, "xecgnn"):
        main([*LINE, "--run_name", "parts", "--resume_from", "artifacts/parts"])
    assert f"Continuing artifacts/parts after {reached}." in caplog.text
    for name in ("best", "last"):
        expected, found = (weights(f"artifacts/{run}/checkpoint_{name}.pth") for run in ("whole", "parts"))
        assert all(torch.equal(expected[key], found[key]) for key in expected)


def test_the_best_score_belongs_to_the_folder(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Resumed where it was moved to, a run keeps its best; where that is gone, the next best is kept, and said."""
    last = Path("artifacts/whole/checkpoint_last.pth")
    checkpoint = torch.load(last, weights_only=True)
    (state,) = (state for name, state in checkpoint["callbacks"].items() if "'monitor': 'val_loss'" in name)
    state["best_model_score"] = torch.tensor(-100.0)
    torch.save(sealed(checkpoint), last)
    Path("artifacts/whole").rename("moved")
    before = Path("moved/checkpoint_best.pth").read_bytes()
    main([*LINE, "--resume_from", "moved/checkpoint_last.pth", "--epochs", "3"])
    assert Path("moved/checkpoint_best.pth").read_bytes() == before
    Path("moved/checkpoint_best.pth").unlink()
    main([*LINE, "--resume_from", "moved/checkpoint_last.pth", "--epochs", "4"])
    assert "checkpoint_best.pth is not there" in caplog.text
    assert torch.load("moved/checkpoint_best.pth", weights_only=True)["epoch"] == 3


def test_a_run_that_goes_on_is_not_touched(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path("artifacts/whole")
    for options in (["--run_name", "whole"], ["--resume_from", "artifacts/whole", "--epochs", "3"]):
        with Lock(folder / "lock", folder):
            content = (folder / "config.yaml").read_text()
            with pytest.raises(SystemExit) as stop:
                main([*LINE, *options])
        assert stop.value.code == 2
        assert f"artifacts/whole is in use by process {os.getpid()} on " in capsys.readouterr().err
        assert (folder / "config.yaml").read_text() == content


def test_two_jobs_of_one_second_have_two_folders(tmp_path: Path) -> None:
    with ExitStack() as locks:
        found = [open_run_folder(tmp_path / "train_20261127_120000", locks, new_name=True).name for _ in range(3)]
    assert found == ["train_20261127_120000", "train_20261127_120000_2", "train_20261127_120000_3"]


def test_every_moment_of_a_killed_run_can_go_on(tmp_path: Path) -> None:
    """The order of its files: settings, row of the metrics, best, last."""
    folder = tmp_path / "run"
    with ExitStack() as locks:
        open_run_folder(folder, locks)
    (folder / "metrics").mkdir()
    (folder / "metrics" / "training_metrics.csv").write_text("epoch,loss_mean\n0,1\n")
    (folder / "config.yaml").touch()
    (folder / "checkpoint_best.pth.part").touch()
    with ExitStack() as locks:
        open_run_folder(folder, locks)
    assert [path.name for path in folder.iterdir()] == ["config.yaml"]
    (folder / "checkpoint_best.pth").touch()
    assert newest_checkpoint(folder) == folder / "checkpoint_best.pth"
    with pytest.raises(FileExistsError, match=r"--resume_from .*checkpoint_best\.pth"), ExitStack() as locks:
        open_run_folder(folder, locks)
    (folder / "checkpoint_best.pth").rename(folder / "notes.txt")
    (folder / "download.part").touch()
    with pytest.raises(FileExistsError, match=r"run exists; choose another --run_name$"), ExitStack() as locks:
        open_run_folder(folder, locks)
    assert {path.name for path in folder.iterdir()} == {"config.yaml", "notes.txt", "download.part"}


def test_a_full_disk_shows_before_the_first_epoch(tmp_path: Path) -> None:
    check_space(tmp_path, 1000)
    with pytest.raises(OSError, match=r"MB free, the checkpoints need about"):
        check_space(tmp_path, 10**18)


def test_an_export_that_fails_is_a_warning(
    place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(config: Any) -> None:
        raise RuntimeError("no operator")

    monkeypatch.setattr("xecgnn.export.convert.export_checkpoint", fail)
    _export(Path("artifacts/whole/checkpoint_best.pth"), Path("a.onnx"))
    (line,) = caplog.messages
    assert line.startswith("a.onnx is not written: no operator")
    assert line.endswith("xecgnn-export artifacts/whole/checkpoint_best.pth")


def settings(folder: Path, **others: Any) -> LoggingConfig:
    return LoggingConfig(mlflow_uri=f"sqlite:///{folder}/m.db", tensorboard=False, **others)


def test_mlflow_makes_its_files_beside_its_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "m.db.part").write_text("half of a database")
    (tracker,) = build_trackers(settings(tmp_path), "run", {"a": 1})
    client = tracker.experiment
    (experiment,) = [e for e in client.search_experiments() if e.name == "xecgnn"]
    assert experiment.artifact_location == (tmp_path / "mlruns").as_uri()
    assert list((tmp_path / "here").iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "m.db"]


def test_what_mlflow_has_lost_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with sqlite3.connect(tmp_path / "m.db") as half:
        half.execute("CREATE TABLE experiments (a INTEGER)")
    assert build_trackers(settings(tmp_path), "run", {}) == []
    assert f"delete {tmp_path}/m.db" in caplog.text
    (tmp_path / "m.db").rename(tmp_path / "half.db")

    whole = LoggingConfig(mlflow_uri=f"sqlite:///{tmp_path}/whole.db", tensorboard=False)
    (tracker,) = build_trackers(whole, "run", {})
    tracker.experiment.delete_experiment(tracker.logger.experiment_id)  # type: ignore[attr-defined]
    caplog.clear()
    assert build_trackers(whole, "run", {}) == []
    assert "experiment 'xecgnn' is deleted; restore it (mlflow experiments restore -x " in caplog.text
    assert all(message.count("\n") == 0 for message in caplog.messages)


def test_what_a_tracker_cannot_write_is_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        name = version = "x"

        def log_metrics(self, *_: object) -> None:
            raise ConnectionError("no server\nand much more")

    tracker = Tracker("MLflow", Broken(), "http://there")  # type: ignore[arg-type]
    for step in range(3):
        tracker.log_metrics({"loss": 1.0}, step)
    said = "MLflow at http://there: ConnectionError: no server; the training goes on, metrics/ has its numbers"
    assert caplog.messages == [said]

    (tmp_path / "runs").write_text("no folder")
    board = LoggingConfig(mlflow=False, tensorboard_dir=str(tmp_path / "runs"))
    assert build_trackers(board, "run", {}) == []
    assert caplog.messages[-1].startswith(f"TensorBoard at {tmp_path}/runs: ")


def test_a_damaged_store_is_one_line_of_the_comparison(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with sqlite3.connect(tmp_path / "m.db") as half:
        half.execute("CREATE TABLE experiments (a INTEGER)")
    with pytest.raises(SystemExit) as stop:
        compare(["first", "second", "--mlflow-uri", f"sqlite:///{tmp_path}/m.db"])
    assert stop.value.code == 2
    text = capsys.readouterr().err
    assert text.startswith(f"error: MLflow at sqlite:///{tmp_path}/m.db: ")
    assert text.count("\n") == 1
