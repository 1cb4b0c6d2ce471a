from __future__ import annotations

import csv
import logging
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import uproot
import yaml
from matplotlib.figure import Figure
from torch import nn

from xecgnn.config import TrainConfig
from xecgnn.data import Events, Readings, write
from xecgnn.evaluation import EvaluationConfig, evaluate_run, fit_on_batches, summary_table
from xecgnn.evaluation.baselines.light import LightSummary
from xecgnn.evaluation.limits import limit_predictions
from xecgnn.evaluation.lookup import EventLookup
from xecgnn.evaluation.pages.saliency import saliency_pages
from xecgnn.evaluation.report import report
from xecgnn.evaluation.runs import EvaluatedRun
from xecgnn.inference.predictor import event_losses
from xecgnn.models import ModelConfig, XECModel
from xecgnn.nn.normalizer import NormalizationConfig
from xecgnn.simulation import simulate_events
from xecgnn.tasks import TASKS, TasksConfig, build_tasks

NUM_VALIDATION = 130
TASK_SETTINGS = {name: {"enabled": True} for name in TASKS} | {"energy": {"enabled": True, "loss_fn": "gaussian_nll"}}
PAGES = {"angle": 4, "angleVec": 4, "energy": 2, "timing": 2, "uvwFI": 4, "n_gamma": 1}
DATA = {"config.yaml", "predictions_run.csv", "saliency_run.npz"}
DATA |= {"validation_results_run.root", "worst_events_run.root"}
DRAWN = {f"resolution_profile_{name}.pdf" for name in TASKS} | {"worst_event_1.pdf", "worst_event_2.pdf"}
DRAWN |= {f"saliency_profile_{name}.pdf" for name in TASKS if name != "n_gamma"}


class Oracle(XECModel):
    """Answers events with their truth plus a per mille; as a function of readings it is a network like any other."""

    def __init__(self, detector):
        sizes = ModelConfig(encoder_dim=32, hex_dim=8, hex_depth=1, depths=(1, 1), num_heads=2, hidden_dim=16)
        super().__init__(detector, sizes, NormalizationConfig(), build_tasks(TasksConfig(**TASK_SETTINGS)))

    def raw_outputs(self, batch):
        if not batch.y:
            return super().raw_outputs(batch)
        assert not self.training
        raw = {name: batch.y[name] * 1.001 for name in self.tasks}
        raw["energy"] = torch.cat([raw["energy"], 2 * torch.log(0.2 * batch.y["energy"])], 1)
        return raw | {"n_gamma": nn.functional.one_hot(batch.y["n_gamma"], 5).float()}


@pytest.fixture(scope="module")
def run(mini, tmp_path_factory):
    """Table, files, folder, training batches and validation events; the plots can be made again byte by byte."""
    folder = tmp_path_factory.mktemp("artifacts")
    config = TrainConfig(detector="mini", run_name="run", tasks=TASK_SETTINGS)
    (folder / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    events = simulate_events(mini, 200 + NUM_VALIDATION, seed=4)
    columns = dict(events.columns) | {"energyTruth": events.energyTruth.copy()}
    columns["energyTruth"][205] = np.nan
    events = Events(columns)
    batches = [Readings.of(events[i : i + 50]) for i in range(0, len(events), 50)]

    def energy_alone(saliency, detector, task, head):
        return saliency_pages(saliency, detector, task, head) if task.name == "energy" else iter([Figure()])

    (folder / "worst_event_9.pdf").touch()  # of an evaluation that the new one replaces
    model = Oracle(mini)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", "0")
        patch.setattr("xecgnn.evaluation.report.saliency_pages", energy_alone)
        options = EvaluationConfig(worst_events=2, saliency_events=5)
        files = evaluate_run(model, batches[:4], batches[4:], EvaluatedRun(folder), options)
        assert model.training
        drawn = report(EvaluatedRun(folder))
        files += drawn.files
        yield SimpleNamespace(table=drawn.table, files=files, folder=folder, training=batches[:4], events=events[200:])


def saved(run):
    with uproot.open(run.folder / "validation_results_run.root") as file:
        return file["tree"].arrays(library="np")


def test_all_files_are_there_and_complete(run):
    names = {path.name for path in run.folder.iterdir()}
    assert names == DATA | DRAWN == {path.name for path in run.files} | {"config.yaml"}


def test_table_has_every_metric_of_network_and_baselines(run):
    table = run.table
    assert max(map(len, table.splitlines())) <= 100
    for task in build_tasks(TasksConfig(**{name: {"enabled": True} for name in TASKS})).values():
        for key, unit in task.metric_units().items():
            assert f"\n{key} [{unit}]" in table if unit else f"\n{key} " in table
        for title in ("network", *task.baselines):
            assert title in table
    assert re.search(r"resolution_deg \[deg\] +0\.0\d\d( +\d\d\.\d+){3}\n", table)
    assert re.findall("the network .*", table) == [
        "the network does not beat the most frequent: 1.000 against 1.000 (accuracy)"
    ]
    assert re.search(r"n_gamma_accuracy +1\.000 +1\.000", table)


def test_csv_and_root_hold_truth_predictions_and_sigmas_of_every_event(run):
    arrays, events = saved(run), run.events
    for branch in ("run", "event", "emiAng", "energyTruth", "timeTruth", "uvwTruth", "emiVec", "n_gamma"):
        np.testing.assert_array_equal(arrays[branch], events[branch])
        assert arrays[branch].dtype == events[branch].dtype
    np.testing.assert_allclose(arrays["pred_uvwTruth"], 1.001 * events["uvwTruth"], rtol=1e-6)
    np.testing.assert_allclose(arrays["sigma_energyTruth"], 0.2 * events["energyTruth"], rtol=1e-5)
    np.testing.assert_array_equal(arrays["pred_n_gamma"], events["n_gamma"])

    with (run.folder / "predictions_run.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == NUM_VALIDATION
    for name, values in arrays.items():
        columns = [name] if values.ndim == 1 else [f"{name}_{i}" for i in range(values.shape[1])]
        read = np.array([[row[column] for column in columns] for row in rows], dtype=np.float64)
        np.testing.assert_array_equal(read.astype(values.dtype).reshape(values.shape), values)
    assert rows[0]["event"].isdigit()


def test_baselines_are_saved_and_the_table_is_that_of_all_predictions(run, mini):
    """The files lose nothing that the table shows."""
    tasks, summarize = build_tasks(TasksConfig(**TASK_SETTINGS)), LightSummary(mini)
    fitted = fit_on_batches(tasks, summarize, run.training)
    batch = Readings.of(run.events)
    light = summarize(batch)
    arrays, truth = saved(run), run.events.columns
    raw = Oracle(mini).eval().raw_outputs(batch)
    predictions = {name: {"network": task.decode(raw[name])[name].numpy()} for name, task in tasks.items()}
    for name, baselines in fitted.items():
        predictions[name] |= {title: baseline.predict(light) for title, baseline in baselines.items()}
        predictions[name] |= dict(limit_predictions(tasks[name], run.events))
    np.testing.assert_allclose(arrays["surface_normal_emiAng"], predictions["angle"]["surface normal"], rtol=1e-6)
    linear = predictions["energy"]["face sums"][:, 0]
    np.testing.assert_allclose(arrays["face_sums_energyTruth"], linear, rtol=1e-6)
    np.testing.assert_array_equal(arrays["most_frequent_n_gamma"], predictions["n_gamma"]["most frequent"].argmax(1))
    head = "validation events, also used to choose the epoch"
    assert f"{head}\n\n{summary_table(tasks, predictions, truth)}" == run.table


def test_the_loss_of_an_event_is_the_weighted_sum_over_its_targets():
    settings = {"angle": {"enabled": False}, "energy": {"enabled": True, "weight": 3.0}}
    tasks = build_tasks(TasksConfig(**settings, timing={"enabled": True}))
    raw = {name: torch.tensor([[1.0], [2.0], [3.0], [4.0]]) for name in tasks}
    nan = float("nan")
    targets = {"energy": [[0.0], [nan], [1.0], [nan]], "timing": [[0.0], [1.0], [nan], [nan]]}
    losses = event_losses(tasks, raw, {name: torch.tensor(values) for name, values in targets.items()})
    np.testing.assert_array_equal(losses, [3 * 1 + 1, 1, 3 * 2, nan])


def test_worst_events_are_a_data_file_with_predictions(run, mini):
    arrays, events = saved(run), run.events
    order = np.argsort(-arrays["loss"], kind="stable")
    lookup = EventLookup(run.folder / "worst_events_run.root", mini.num_sensors)
    for entry, row in enumerate(order[:2]):
        found = lookup.by_entry(entry)
        for name in ("run", "event", "emiAng", "uvwTruth"):
            np.testing.assert_array_equal(found[name][0], events[name][row])
        for name in ("npho", "relative_time"):
            np.testing.assert_array_equal(found[name][0], np.nan_to_num(events[name][row], nan=1e10))
        for name in ("loss", "pred_emiAng", "pred_energyTruth"):
            np.testing.assert_array_equal(found[name][0], arrays[name][row])
        shares = found["saliency_npho"], found["saliency_relative_time"]
        assert sum(map(np.sum, shares)) == pytest.approx(1, abs=1e-4)
    with pytest.raises(ValueError, match="2 events"):
        lookup.by_entry(2)


def test_pdfs_have_the_expected_pages_with_embedded_text(run):
    for name, count in PAGES.items():
        content = (run.folder / f"resolution_profile_{name}.pdf").read_bytes()
        assert len(re.findall(rb"/Type /Page\b", content)) == count, name
        assert b"/Type3" not in content


@pytest.fixture
def quick(monkeypatch):
    """Draws nothing: which pages there are has been tested."""
    touch = lambda path, *_: [path.touch() or path]  # noqa: E731
    monkeypatch.setattr("xecgnn.evaluation.artifacts.save", touch)


def test_a_report_from_the_files_has_the_same_table_and_plots(run, tmp_path, quick):
    for name in DATA:
        shutil.copy(run.folder / name, tmp_path)
    table, files, _ = report(EvaluatedRun(tmp_path))
    assert table == run.table
    assert {path.name for path in files} == DRAWN


def test_plots_drawn_again_are_the_same_byte_by_byte(run, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    for name in DATA:
        shutil.copy(run.folder / name, tmp_path)
    config = yaml.safe_load((tmp_path / "config.yaml").read_text())
    for name in TASKS:  # few: drawing takes its time
        config["tasks"][name]["enabled"] = name in ("energy", "n_gamma")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    files = report(EvaluatedRun(tmp_path)).files
    chosen = {"resolution_profile_energy.pdf", "resolution_profile_n_gamma.pdf", "saliency_profile_energy.pdf"}
    assert {path.name for path in files} == chosen | {"worst_event_1.pdf", "worst_event_2.pdf"}
    for path in files:
        assert path.read_bytes() == (run.folder / path.name).read_bytes(), path.name


def test_what_can_be_drawn_is_drawn(run, tmp_path, quick, caplog):
    for name in DATA - {"worst_events_run.root"}:
        shutil.copy(run.folder / name, tmp_path)
    (tmp_path / "saliency_run.npz").write_text("no saliency")
    columns = saved(run)
    del columns["timeTruth"], columns["pred_uvwTruth"], columns["surface_normal_emiAng"]
    for name in ("pred_energyTruth", "emiVec", "mean_direction_emiAng"):
        columns[name] = np.full_like(columns[name], np.nan)
    columns["pred_emiAng"][:30] = np.nan
    write(Events(columns), tmp_path / "validation_results_run.root")
    table, files, _ = report(EvaluatedRun(tmp_path))
    drawn = ("angle", "angleVec", "edep", "centroid", "n_gamma")
    assert [path.stem for path in files] == [f"resolution_profile_{name}" for name in drawn]
    assert re.findall(r"^(\w+) \((\d+) events\) +(.*)", table, re.MULTILINE) == [
        ("angle", "130", "network  vertex line"),
        ("angleVec", "0", "network  mean direction  surface normal  vertex line"),
        ("edep", "130", "network  training mean  face sums"),
        ("centroid", "130", "network  training mean  light spot"),
        ("n_gamma", "130", "network  most frequent"),
    ]
    root = str(tmp_path / "validation_results_run.root")
    lines = [record.getMessage() for record in caplog.records if "training report" not in record.getMessage()]
    assert lines[-7:-2] == [
        "mean direction: no valid prediction of emiAng in 130 of 130 events: left out",
        "network: no valid prediction of energyTruth in 130 of 130 events: left out",
        f"{root} has no timeTruth: timing is not drawn",
        f"{root} has no pred_uvwTruth: uvwFI is not drawn",
        f"{root} has no event with emiVec and all predictions of it",
    ]
    assert re.fullmatch(r"not drawn: saliency \(.*saliency_run.npz: not a file of saliencies.*\)", lines[-2])
    assert re.fullmatch(r"not drawn: worst events \(no such file: .*worst_events_run.root\)", lines[-1])


def test_a_detector_that_is_gone_costs_its_pictures_alone(run, tmp_path, quick, caplog):
    for name in DATA:
        shutil.copy(run.folder / name, tmp_path)
    settings = (tmp_path / "config.yaml").read_text().replace("detector: mini", "detector: gone.yaml")
    (tmp_path / "config.yaml").write_text(settings)
    with caplog.at_level(logging.WARNING):
        assert len(report(EvaluatedRun(tmp_path)).files) == len(TASKS)
    assert caplog.messages[-2].startswith("not drawn: saliency and worst events (no detector 'gone.yaml'")
    (tmp_path / "validation_results_run.root").unlink()
    assert report(EvaluatedRun(tmp_path)) == ("", [], {})
    assert re.search(r"profiles \(no .*validation_results_run.root: the training has not come to its end", caplog.text)


def test_a_network_that_a_baseline_beats_is_said_to_be_no_better():
    tasks = build_tasks(TasksConfig(angle={"enabled": False}, energy={"enabled": True}, uvwFI={"enabled": True}))
    truth = {"energyTruth": np.full(50, 0.05), "uvwTruth": np.ones((50, 3))}
    off = {"network": 1.10, "training mean": 1.30, "face sums": 1.05}
    energy = {title: np.full((50, 1), 0.05 * factor) for title, factor in off.items()}
    off = {"network": (1.1, 1.3, np.nan), "training mean": (1.2, 1.2, 2.0), "light spot": (1.3, np.nan, 3.0)}
    position = {title: np.tile(values, (50, 1)) for title, values in off.items()}
    table = summary_table(tasks, {"energy": energy, "uvwFI": position}, truth)
    assert re.findall("the network .*", table) == [
        "the network does not beat the face sums: 10.00 against 5.000 % (68 %)",
        "the network does not beat the training mean: 3.000 against 2.000 mm (v, 68 %)",
        "the network does not beat the training mean: nan against 10.00 mm (w, 68 %)",
    ]
    alone = summary_table(tasks, {"energy": {"network": energy["network"]}, "uvwFI": position}, truth)
    assert "beat the face sums" not in alone


def test_table_shows_a_broken_prediction(mini):
    tasks = build_tasks(TasksConfig(angle={"enabled": False}, energy={"enabled": True}))
    table = summary_table(tasks, {"energy": {"network": np.full((3, 1), np.nan)}}, {"energyTruth": np.ones(3)})
    assert "nan" in table
