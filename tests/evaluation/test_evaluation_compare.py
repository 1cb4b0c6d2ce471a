from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from matplotlib.figure import Figure

from xecgnn.cli.compare import main
from xecgnn.evaluation.compare import compare_runs, differing_settings
from xecgnn.evaluation.compared import Run, read_run


def make_run(
    name: str, losses: Sequence[float], rate: float = 1e-3, monitor: str | None = None, **columns: Sequence[float]
) -> str:
    """The folder of a run with a setting and metrics per epoch."""
    folder = Path("artifacts") / name
    (folder / "metrics").mkdir(parents=True)
    settings: dict[str, Any] = {"run_name": name, "seed": 0, "training": {"epochs": 3, "lr": rate}}
    settings["checkpoint"] = {"resume_from": f"{name}.pth", "artifacts_dir": f"runs of {name}"}
    settings["checkpoint"] |= {"monitor": monitor} if monitor else {}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    rows = [["epoch", "val_loss", "gpu_peak_mb", *columns]]
    for epoch, values in enumerate(zip(losses, *columns.values(), strict=True)):
        rows.append([str(epoch), str(values[0]), "", *map(str, values[1:])])
    (folder / "metrics/training_metrics.csv").write_text("".join(",".join(row) + "\r\n" for row in rows))
    return str(folder)


def results(folder: str = "comparison") -> dict[str, list[list[str]]]:
    """The rows of comparison.md: {metric: [[rank, run, best, in epoch, final, epochs], ...]}."""
    found: dict[str, list[list[str]]] = {}
    text = (Path(folder) / "comparison.md").read_text().split("## Settings")[0]
    for line in re.findall(r"^\| (.*) \|$", text, re.MULTILINE)[1:]:
        metric, *cells = map(str.strip, line.split("|"))
        found.setdefault(metric, []).append(cells)
    return found


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_ranking_and_the_settings_that_differ() -> None:
    a = make_run("a", [0.5, 0.2, 0.3], val_n_gamma_accuracy=[0.1, 0.7, 0.6], theta_bias=[3, -0.1, 2])
    b = make_run("b", [0.6, 0.5, 0.1], 5e-4, val_n_gamma_accuracy=[0.1, 0.8, 0.9], theta_bias=[-9, 2, 1])
    main([a, b])
    assert results() == {
        "val_loss": [["1", "b", "0.1", "2", "0.1", "3"], ["2", "a", "0.2", "1", "0.3", "3"]],
        "val_n_gamma_accuracy": [["1", "b", "0.9", "2", "0.9", "3"], ["2", "a", "0.7", "1", "0.6", "3"]],
        "theta_bias [deg]": [["1", "a", "-0.1", "1", "2", "3"], ["2", "b", "1", "2", "1", "3"]],
    }
    text = Path("comparison/comparison.md").read_text()
    assert re.search(r"^\| training.lr +\| 0.0005 +\| 0.001 +\|$", text, re.MULTILINE)  # columns: the best run first
    assert text.count("training.") == 1
    assert "seed" not in text
    assert "resume_from" not in text
    assert "artifacts_dir" not in text
    assert "run_name" not in text


def test_another_metric_ranks_otherwise_and_ties_share_a_rank() -> None:
    runs = [make_run(name, [loss], val_resolution_deg=[2.0]) for name, loss in (("a", 0.5), ("b", 0.1))]
    main([*runs, "--metric", "val_resolution_deg"])
    assert list(results()) == ["val_resolution_deg [deg]", "val_loss"]
    assert [row[:2] for row in results()["val_resolution_deg [deg]"]] == [["1", "a"], ["1", "b"]]


def test_runs_are_ranked_by_what_chose_their_epochs_where_they_agree() -> None:
    columns = {"val_resolution_deg": [3.0]}
    runs = [make_run(name, [loss], monitor="val_resolution_deg", **columns) for name, loss in (("a", 0.5), ("b", 0.1))]
    main(runs)
    assert next(iter(results())) == "val_resolution_deg [deg]"
    main([runs[0], make_run("c", [0.2], **columns), "--overwrite"])
    assert next(iter(results())) == "val_loss"


def test_the_pages_have_all_runs_and_units(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Figure] = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *args, **kw: (drawn.append(self), save(self, *args, **kw))[1])
    columns = {"theta_rms": [1.0, 2.0], "val_resolution_deg": [3.0, 2.5], "lr": [1e-3, 1e-4]}
    main([make_run(name, [0.5, 0.4], rate, **columns) for name, rate in (("a", 1e-3), ("b", 1e-4))])
    assert Path("comparison/comparison.pdf").read_bytes().startswith(b"%PDF")
    first, second = drawn
    (table,) = [label for label in first.texts if "training.lr" in label.get_text()]
    assert "val_resolution_deg [deg]" in table.get_text()
    curves = [*first.axes, *second.axes]
    labels = ["val_loss", "val_resolution_deg [deg]", "theta_rms [deg]", "learning rate"]
    assert [ax.get_ylabel() for ax in curves] == labels
    assert all(ax.get_xlabel() == "epoch" and len(ax.lines) == 2 for ax in curves)
    assert [label.get_text() for label in first.legends[0].get_texts()] == ["a", "b"]
    assert len({line.get_color() for line in first.axes[0].lines}) == 2
    assert first.axes[0].get_window_extent().y1 < table.get_window_extent().y0


def test_what_is_missing_is_told_and_the_rest_is_drawn(caplog: pytest.LogCaptureFixture) -> None:
    whole, half = make_run("whole", [0.5, 0.4, 0.3]), make_run("half", [0.5, float("nan")])
    blind, empty = make_run("blind", [float("nan")] * 3, theta_rms=[1, 2, 3]), make_run("empty", [])
    (Path(empty) / "metrics/training_metrics.csv").unlink()
    main([blind, empty, half, whole])
    assert caplog.messages[:3] == [
        "blind: has no val_loss and is not ranked",
        "empty: no epoch is finished (no metrics/training_metrics.csv); its settings alone are compared",
        "half: unfinished, 1 of 3 epochs",
    ]
    assert [row[:2] for row in results()["val_loss"]] == [["1", "whole"], ["2", "half"]]
    assert [row[1] for row in results()["theta_rms [deg]"]] == ["blind"]


def test_one_run_alone_without_an_epoch(caplog: pytest.LogCaptureFixture) -> None:
    run = make_run("alone", [])
    main([run])
    assert "alone: one run alone, nothing to compare it with" in caplog.messages
    assert Path("comparison/comparison.pdf").is_file()
    assert results() == {}


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["artifacts/a", "c"], "run 'c': no such folder, and no mlruns.db to look for it in"),
        (["artifacts/a", "artifacts"], "artifacts: there is no config.yaml in it, it is not the folder of a run"),
        (["artifacts/a", "artifacts/a"], "2 of the runs are called 'a'; names must differ"),
        (["artifacts/a", "--metric", "val_los"], "metric 'val_los' is in none of the runs; known metrics: val_loss"),
        (["artifacts/bad"], "artifacts/bad/metrics/training_metrics.csv: not a table of training metrics"),
        (["artifacts/a", "--output-dir", "taken"], "taken/comparison.md exists; choose another --output-dir, or"),
    ],
)
def test_mistakes_are_named_and_nothing_is_written(
    workplace: Path, arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run("a", [0.5])
    (Path(make_run("bad", [0.5])) / "metrics/training_metrics.csv").write_text("epoch,val_loss\n0,low\n")
    Path("taken").mkdir()
    Path("taken/comparison.md").touch()
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {line}")
    assert not Path("mlruns.db").exists()
    assert {path.name for path in workplace.iterdir()} == {"artifacts", "taken"}


def test_replacing_files_must_be_asked_for() -> None:
    run = make_run("a", [0.5])
    main([run])
    main([run, "--overwrite"])
    assert {path.name for path in Path("comparison").iterdir()} == {"comparison.md", "comparison.pdf"}


def test_panels_on_paper() -> None:
    main([make_run("a", [0.5], lr=[1e-3]), "--style", "paper", "--panels"])
    assert {path.name for path in Path("comparison").rglob("*.*")} == {
        "comparison.md", "comparison.pdf",
        "comparison_1_1.pdf", "comparison_1_1.csv", "comparison_1_2.pdf", "comparison_1_2.csv",
    }  # fmt: skip
    assert Path("comparison/panels/comparison_1_2.csv").read_text().splitlines()[1].startswith("a,0")


def test_settings_of_which_one_run_knows_nothing() -> None:
    runs = [Run("a", {"seed": "1", "old": "x"}, {}), Run("b", {"seed": "1"}, {})]
    assert differing_settings(runs) == {"old": ["x", "–"]}


def test_runs_in_mlflow_by_name_and_id(caplog: pytest.LogCaptureFixture) -> None:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    store = f"sqlite:///{Path.cwd()}/tracking.db"
    client = MlflowClient(store)
    experiment = client.create_experiment("test")
    for start, name, loss in ((1, "a", 9.0), (2, "a", 0.5), (3, "b", 0.2)):
        run = client.create_run(experiment, run_name=name, start_time=start)
        points = [("epoch", 0, 4), ("epoch", 1, 9), ("val_loss", 1.0, 4), ("val_loss", loss, 9), ("train_loss", 2.0, 9)]
        points.append(("system/ram_used_gb", 8.0, 5))
        metrics = [Metric(metric, value, time, step) for time, (metric, value, step) in enumerate(points)]
        client.log_batch(run.info.run_id, metrics, [Param("training.lr", "0.001")])
    a, b = read_run("a", store), read_run(run.info.run_id, store)
    assert a == Run("a", {"training.lr": "0.001"}, {"val_loss": {0: 1.0, 1: 0.5}, "loss_mean": {1: 2.0}})
    assert (b.name, b.history["val_loss"][1], b.epochs) == ("b", 0.2, 2)
    assert "2 runs have that name" in caplog.text
    with pytest.raises(FileNotFoundError, match=r"no run of that name or id in .*; runs: a, b"):
        read_run("c", store)
    compare_runs([a, b, read_run(make_run("folder", [0.1]), store)], "out")
    assert [row[1] for row in results("out")["val_loss"]] == ["folder", "b", "a"]
