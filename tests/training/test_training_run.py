"""Whole trainings on the small detector, through the command that a user types."""

from __future__ import annotations

import csv
import json
import logging
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import uproot
from matplotlib.figure import Figure

import xecgnn
from xecgnn.cli.report import main as report
from xecgnn.cli.train import main
from xecgnn.data import Events, Readings, write
from xecgnn.detector import load_detector
from xecgnn.export.metadata import weights_hash
from xecgnn.provenance import file_hash, source
from xecgnn.simulation import simulate_events
from xecgnn.training.module import TrainingModule
from xecgnn.training.objective import RegressionObjective

SMALL = [
    "--detector", "mini", "--batch", "32", "--data.num_workers", "0",
    "--model.encoder_dim", "32", "--model.hex_dim", "8", "--model.hex_depth", "1", "--model.depths", "1", "1",
    "--model.num_heads", "2", "--model.hidden_dim", "16",
    "--training.device", "cpu", "--logging.progress_bar", "false",
]  # fmt: skip
UNSEEN = ["--evaluation.worst_events", "0", "--evaluation.saliency_events", "0"]  # no pictures of sensors
QUIET = ["--logging.mlflow", "false", "--logging.tensorboard", "false", *UNSEEN]


@pytest.fixture
def workplace(tmp_path: Path, mini_files: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder with `data` in it."""
    (tmp_path / "data").symlink_to(mini_files / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def weights(path: str, key: str = "state_dict") -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)[key]


@pytest.mark.drawn
def test_a_run_leaves_its_artifacts(
    workplace: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with caplog.at_level(logging.INFO, "xecgnn"):
        evaluation = ["--evaluation.worst_events", "1", "--evaluation.saliency_events", "4"]
        main(["angle.yaml", *SMALL, *evaluation, "--epochs", "2", "--run_name", "first", "--tasks", "angle", "energy"])
    assert "mean direction" in caplog.text
    assert "surface normal" in caplog.text
    folder = workplace / "artifacts" / "first"
    drawn = {f"{kind}_profile_{task}.pdf" for kind in ("resolution", "saliency") for task in ("angle", "energy")}
    drawn |= {"worst_event_1.pdf"}
    assert {path.name for path in folder.iterdir()} == drawn | {
        "checkpoint_best.pth", "checkpoint_last.pth", "config.yaml", "metrics", "predictions_first.csv",
        "saliency_first.npz", "validation_results_first.root", "worst_events_first.root",
    }  # fmt: skip
    assert (workplace / "runs" / "first").is_dir()
    assert (workplace / "mlruns.db").is_file()

    # The checkpoint gives back the network that made the predictions.
    model = xecgnn.load_model(folder / "checkpoint_best.pth")
    events = Events.read("data/val")
    with torch.no_grad():
        predicted = model(Readings.of(events))
    tree = uproot.open(folder / "validation_results_first.root")["tree"].arrays(library="np")
    np.testing.assert_allclose(tree["pred_emiAng"], predicted["angle"], atol=1e-5)
    np.testing.assert_allclose(tree["emiAng"], events.emiAng)
    np.testing.assert_array_equal(tree["event"], events.event)
    with (folder / "predictions_first.csv").open() as file:
        assert len(list(csv.reader(file))) == len(events) + 1
    settings = xecgnn.load_config(folder / "config.yaml")
    assert (settings.run_name, settings.detector) == ("first", "mini")
    assert settings.data.val_path == [str(workplace / "data/val/*.root")]

    # And says what made it.
    (start,) = json.loads((folder / "metrics/provenance.json").read_text())
    assert start["detector"] == f"mini, {model.detector.hash}"
    assert [(row["sample"], row["events"]) for row in start["data"]] == [
        ("training", 128), ("training", 64), ("validation", 64),
    ]  # fmt: skip
    val = workplace / "data/val/a.root"
    assert start["data"][-1] == {"sample": "validation"} | source(val, 64)
    assert val.stat().st_size > 2**21 or start["data"][-1]["sha256"] == file_hash(val)
    text = (folder / "metrics/training_report.md").read_text()
    for part in (start["host"], start["versions"], start["data"][-1]["sha256"], weights_hash(model), "surface normal"):
        assert part in text

    # What was drawn is drawn again from the files, also where the folder has another name.
    moved = folder.rename(workplace / "moved")
    pictures = [*drawn, "metrics/loss_log.png", "metrics/training_report.md"]
    for name in pictures:
        (moved / name).unlink()
    table = next(message for message in caplog.messages if "surface normal" in message).partition("\n\nArtifacts")[0]
    caplog.clear()
    monkeypatch.setattr("xecgnn.evaluation.report.resolution_pages", lambda *_: iter([Figure()]))  # takes its time
    with caplog.at_level(logging.INFO, "xecgnn"):
        report(["moved"])
    assert caplog.messages[0].strip() == f"moved\n\n{table.strip()}"
    assert {f"  moved/{name}" for name in pictures} <= set(caplog.messages[1].splitlines())
    assert all((moved / name).stat().st_size for name in pictures)


def test_a_third_file_gives_the_numbers_that_are_shown(workplace: Path, caplog: pytest.LogCaptureFixture) -> None:
    import mlflow

    events = simulate_events(load_detector("mini"), 40, seed=9)
    write(events, "test.root")
    tracked = ["--logging.tensorboard", "false", "--logging.mlflow_uri", store(workplace), *UNSEEN]
    options = ["angle.yaml", *SMALL, *tracked, "--epochs", "1", "--tasks", "energy"]
    for name, test, head in (
        ("tested", ["--test_path", "test.root"], f"test events, {workplace}/test.root"),
        ("plain", ["--test_path", "null"], "validation events, also used to choose the epoch"),
    ):
        caplog.clear()
        with caplog.at_level(logging.INFO, "xecgnn"):
            main([*options, *test, "--run_name", name])
        table = next(message for message in caplog.messages if "training mean" in message).partition("\n\nArtifacts")[0]
        assert table.strip().startswith(f"{head}\n\nenergy ({40 if test[1] != 'null' else 64} events)")
        tree = uproot.open(f"artifacts/{name}/validation_results_{name}.root")["tree"].arrays(library="np")
        expected = events if test[1] != "null" else Events.read("data/val")
        np.testing.assert_array_equal(tree["run"], expected.run)
        np.testing.assert_array_equal(tree["event"], expected.event)
        caplog.clear()
        with caplog.at_level(logging.INFO, "xecgnn"):
            report([f"artifacts/{name}"])
        assert f"artifacts/{name}\n\n{table.strip()}" in [message.strip() for message in caplog.messages]

        client = mlflow.MlflowClient(store(workplace))
        (run,) = client.search_runs(
            [client.get_experiment_by_name("xecgnn").experiment_id], f"attributes.run_name = '{name}'"
        )
        logged = {key: value for key, value in run.data.metrics.items() if key.startswith("test_")}
        assert bool(logged) == (name == "tested")
        if logged:
            error = 100 * np.abs(tree["pred_energyTruth"] - tree["energyTruth"]) / tree["energyTruth"]
            assert logged["test_energy_resolution_68"] == pytest.approx(np.quantile(error, 0.68), rel=1e-5)


def store(folder: Path) -> str:
    """An MLflow store of its own: stores are cached by name, whatever the current folder."""
    return f"sqlite:///{folder}/tracking.db"


@pytest.mark.drawn
def test_mlflow_has_the_metrics_of_the_seeds(workplace: Path) -> None:
    import mlflow

    options = ["--run_name", "tracked", "--logging.mlflow_uri", store(workplace)]
    main(["angle.yaml", *SMALL, *UNSEEN, "--epochs", "1", *options])
    client = mlflow.MlflowClient(store(workplace))
    (run,) = client.search_runs([client.get_experiment_by_name("xecgnn").experiment_id])
    metrics = set(run.data.metrics)
    assert {"train_loss", "val_loss", "val_resolution_deg", "theta_bias", "theta_rms", "theta_skew"} <= metrics
    assert {
        "system/throughput_events_per_sec", "system/avg_data_load_sec", "system/compute_efficiency",
        "system/epoch_duration_sec", "system/ram_used_gb",
    } <= metrics  # fmt: skip
    assert run.data.params["training.lr"] == "0.0003"
    copied = [file.path for file in client.list_artifacts(run.info.run_id)]
    assert copied == ["metrics", "resolution_profile_angle.pdf"]
    metrics_folder = workplace / "artifacts/tracked/metrics"
    copied = {Path(file.path).name for file in client.list_artifacts(run.info.run_id, "metrics")}
    assert copied == {path.name for path in metrics_folder.iterdir()} >= {"training_report.md", "training_metrics.csv"}


FULL = [
    "--training.grad_accum_steps",
    "2",
    "--training.channel_dropout",
    "0.1",
    "--model.drop_path_rate",
    "0.1",
    "--epochs",
    "4",
]


@pytest.mark.parametrize(
    ("monitor", "epoch"), [("val_loss", 2), ("val_resolution_deg", 1), ("val_n_gamma_accuracy", 0)]
)
def test_the_monitored_metric_chooses_the_best_epoch_and_the_learning_rate(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, monitor: str, epoch: int
) -> None:
    values = {"val_loss": [-1, -2, -3], "val_resolution_deg": [9, 3, 5], "val_n_gamma_accuracy": [0.9, 0.5, 0.7]}
    scripted = [{name: torch.tensor(float(v[i])) for name, v in values.items()} for i in range(3)]
    monkeypatch.setattr(RegressionObjective, "compute_metrics", lambda self: scripted.pop(0))
    options = ["--tasks", "angle", "n_gamma", "--checkpoint.monitor", monitor, "--epochs", "3", "--run_name", "run"]
    plateau = ["--training.scheduler", "plateau", "--training.lr_patience", "0", "--lr", "0.001"]
    main(["angle.yaml", *SMALL, *QUIET, *options, *plateau])
    assert weights("artifacts/run/checkpoint_best.pth", "epoch") == epoch
    assert weights("artifacts/run/checkpoint_last.pth", "epoch") == 2
    with (workplace / "artifacts/run/metrics/training_metrics.csv").open() as file:
        rates = [float(row["lr"]) for row in csv.DictReader(file)]
    bad = values[monitor].index(values[monitor][epoch]) == 0  # worse from the second epoch on: the third is slower
    assert rates == pytest.approx([1e-3, 1e-3, 5e-4 if bad else 1e-3])


def test_every_monitored_metric_is_logged_and_an_unknown_one_is_an_error(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = ["--tasks", "angle", "energy", "timing", "uvwFI", "angleVec", "n_gamma"]
    main(["angle.yaml", *SMALL, *QUIET, *tasks, "--epochs", "1", "--run_name", "all"])
    header = (workplace / "artifacts/all/metrics/training_metrics.csv").read_text().split("\n")[0].strip().split(",")
    with pytest.raises(SystemExit):
        main(["angle.yaml", *SMALL, *QUIET, *tasks, "--epochs", "1", "--checkpoint.monitor", "phi_bias"])
    error = capsys.readouterr().err
    assert error.startswith("error: checkpoint.monitor: no metric 'phi_bias' to choose an epoch by; allowed: val_loss,")
    allowed = error.split("allowed: ")[1].strip().split(", ")
    assert {"val_resolution_deg", "val_energy_resolution_68", "val_n_gamma_accuracy", "theta_rms"} <= set(allowed)
    logged = {name for name in header if name.startswith("val_") or name.endswith("_rms")}
    assert set(allowed) == logged
    assert [path.name for path in (workplace / "artifacts").iterdir()] == ["all"]


@pytest.mark.parametrize("schedule", ["cosine", "onecycle", "plateau", "none"])
def test_resumed_equals_uninterrupted(workplace: Path, monkeypatch: pytest.MonkeyPatch, schedule: str) -> None:
    options = ["angle.yaml", *SMALL, *QUIET, *FULL, "--training.scheduler", schedule]
    main([*options, "--run_name", "whole"])

    step = TrainingModule.training_step

    def interrupted(self: TrainingModule, batch: object, batch_idx: int) -> torch.Tensor:
        if self.current_epoch == 2 and batch_idx == 1:
            raise KeyboardInterrupt
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingModule, "training_step", interrupted)
        with pytest.raises(SystemExit) as stop:
            main([*options, "--run_name", "parts"])
    assert stop.value.code == 130
    main([*options, "--resume_from", "artifacts/parts/checkpoint_last.pth"])

    assert weights("artifacts/whole/checkpoint_last.pth", "epoch") == 3
    for key in ("state_dict", "current_model_state"):  # averaged and trained weights
        whole, parts = (weights(f"artifacts/{run}/checkpoint_last.pth", key) for run in ("whole", "parts"))
        assert whole.keys() == parts.keys()
        assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_same_seed_same_weights_other_seed_others(workplace: Path) -> None:
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        main(["angle.yaml", *SMALL, *QUIET, "--epochs", "1", "--seed", str(seed), "--run_name", name])
    a, b, c = (weights(f"artifacts/{name}/checkpoint_last.pth") for name in "abc")
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not all(torch.equal(a[name], c[name]) for name in a)


def test_resume_goes_on_in_the_same_mlflow_run(workplace: Path) -> None:
    import mlflow

    options = ["angle.yaml", *SMALL, "--logging.tensorboard", "false", "--logging.mlflow_uri", store(workplace)]
    once = ["--epochs", "1", "--run_name", "once", "--evaluation.saliency_events", "4"]
    main([*options, *once, "--evaluation.worst_events", "1"])
    main([*options, *UNSEEN, "--epochs", "2", "--resume_from", "artifacts/once/checkpoint_last.pth"])
    client = mlflow.MlflowClient(store(workplace))
    (run,) = client.search_runs([client.get_experiment_by_name("xecgnn").experiment_id])
    assert len(client.get_metric_history(run.info.run_id, "val_loss")) == 2
    files = sorted(path.name for path in (workplace / "artifacts/once").iterdir() if path.is_file())
    assert not [name for name in files if name.startswith(("worst", "saliency"))]  # asked for in the first part alone
    assert [path.name for path in (workplace / "artifacts").iterdir()] == ["once"]


def test_a_continued_run_keeps_its_schedule(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["angle.yaml", *SMALL, *QUIET, "--training.scheduler", "onecycle", "--epochs", "1"]
    main([*options, "--run_name", "once"])
    last = ["--resume_from", "artifacts/once/checkpoint_last.pth"]
    for change, line in (
        (["--epochs", "2"], "training.epochs: the run has 1, found 2"),
        (["--lr", "1e-4"], "training.lr: the run has 0.0003, found 0.0001"),
        (["--training.scheduler", "cosine"], "training.scheduler: the run has 'onecycle', found 'cosine'"),
    ):
        with pytest.raises(SystemExit):
            main([*options, *last, *change])
        assert capsys.readouterr().err.endswith(f"(--init_from):\n  {line}\n")


def test_a_lost_mlflow_run_is_replaced(workplace: Path, caplog: pytest.LogCaptureFixture) -> None:
    options = ["angle.yaml", *SMALL, *UNSEEN, "--logging.tensorboard", "false", "--epochs", "2"]
    main([*options, "--run_name", "once", "--logging.mlflow_uri", store(workplace), "--epochs", "1"])
    other = f"sqlite:///{workplace}/other.db"
    with caplog.at_level(logging.WARNING, "xecgnn"):
        main([*options, "--resume_from", "artifacts/once/checkpoint_last.pth", "--logging.mlflow_uri", other])
    assert "a new one is started" in caplog.text


def test_validation_without_targets_is_an_error(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = Events.read("data/val")
    columns = {**events.columns, "emiAng": np.full_like(events.emiAng, np.nan)}
    write(Events(columns), "blind.root")
    with pytest.raises(SystemExit):
        main(["angle.yaml", *SMALL, *QUIET, "--epochs", "1", "--val_path", "blind.root"])
    assert "no validation event has a target" in capsys.readouterr().err


def test_other_weights_are_loaded_where_they_fit(workplace: Path, caplog: pytest.LogCaptureFixture) -> None:
    main(["angle.yaml", *SMALL, *QUIET, "--epochs", "1", "--run_name", "angle"])
    with caplog.at_level(logging.INFO, "xecgnn"):
        options = ["--init_from", "artifacts/angle/checkpoint_best.pth", "--run_name", "both", "--lr", "1e-12"]
        main(["angle.yaml", *SMALL, *QUIET, "--tasks", "angle", "energy", "--epochs", "1", *options])
    assert "fresh: heads.energy" in caplog.text
    old, new = (weights(f"artifacts/{name}/checkpoint_last.pth") for name in ("angle", "both"))
    shared = [name for name in old if ".encoder." in name]
    assert all(torch.allclose(old[name], new[name], atol=1e-6) for name in shared)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            ["--run_name", "taken"],
            "artifacts/taken exists; choose another --run_name, or continue it with --resume_from",
        ),
        (["--test_path", "nowhere"], "--detector mini --events 2000 --seed 3 --output nowhere/simulated.root"),
        (["--train_path", "nowhere/*.root"], "no file matches 'nowhere/*.root'; simulated files to start with:"),
        (["--resume_from", "nowhere.pth"], "checkpoint 'nowhere.pth' not found"),
        (
            ["--val_path", "nowhere"],
            "--detector mini --events 2000 --seed 2 --output nowhere/simulated.root",
        ),
        (["--detector", "meg2"], "sensors, the detector has 4760"),
        (["--batch", "1000"], "1000"),
        (["--detector", "meg3"], "meg3"),
    ],
)
def test_mistakes_are_named_and_nothing_is_written(
    workplace: Path, options: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (workplace / "artifacts" / "taken").mkdir(parents=True)
    (workplace / "artifacts" / "taken" / "checkpoint_last.pth").touch()
    with pytest.raises(SystemExit) as stop:
        main(["angle.yaml", *SMALL, *QUIET, "--epochs", "1", *options])
    assert stop.value.code == 2
    assert line in capsys.readouterr().err
    assert [path.name for path in (workplace / "artifacts").iterdir()] == ["taken"]
    assert [path.name for path in (workplace / "artifacts" / "taken").iterdir()] == ["checkpoint_last.pth"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_an_error(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["angle.yaml", *SMALL, *QUIET, "--training.device", "cuda"])
    assert "torch sees no GPU; allowed here: auto, cpu" in capsys.readouterr().err


def test_two_processes_share_an_epoch(workplace: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "xecgnn.cli.train",
        "angle.yaml",
        *SMALL,
        *QUIET,
        "--epochs",
        "2",
    ]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    out = subprocess.run(
        [*command, "--training.num_devices", "2"], capture_output=True, text=True, timeout=240, env=env, check=False
    )
    assert out.returncode == 0, out.stderr
    (folder,) = (workplace / "artifacts").iterdir()  # one name, though each process has its own clock
    assert (folder / f"validation_results_{folder.name}.root").is_file()
    assert "angle (64 events)" in out.stderr


def test_training_and_validation_never_hold_their_workers_together(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: dict[tuple[str, int], set[int]] = {}
    others = len(multiprocessing.active_children())

    def counted(name: str) -> None:
        step = getattr(TrainingModule, name)

        def count(self: TrainingModule, batch: object, batch_idx: int) -> object:
            alive.setdefault((name, self.current_epoch), set()).add(len(multiprocessing.active_children()) - others)
            return step(self, batch, batch_idx)

        monkeypatch.setattr(TrainingModule, name, count)

    counted("training_step")
    counted("validation_step")
    main(["angle.yaml", *SMALL, *QUIET, "--epochs", "2", "--data.num_workers", "1"])
    # With the last batch of an epoch its worker has ended.
    assert alive == {(name, epoch): {0, 1} for name in ("training_step", "validation_step") for epoch in (0, 1)}


def test_every_event_of_the_validation_sample_counts_once(workplace: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "xecgnn"):
        main(["angle.yaml", *SMALL, *QUIET, "--epochs", "1", "--batch", "24", "--run_name", "odd"])
    assert "angle (64 events)" in caplog.text
