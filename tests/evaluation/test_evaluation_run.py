from __future__ import annotations

import csv
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from xecgnn.data import build_batch
from xecgnn.evaluation import evaluate_run, summary_table, write_csv
from xecgnn.evaluation.summary import number
from xecgnn.simulation import simulate_events
from xecgnn.tasks import TASKS, TasksConfig, build_tasks

NUM_VALIDATION = 130


class Oracle(nn.Module):
    """Stands for the network: answers with the truth plus a constant, in physical units."""

    def __init__(self, detector):
        super().__init__()
        settings = {name: {"enabled": True} for name in TASKS}
        settings["energy"] |= {"loss_fn": "gaussian_nll"}
        self.tasks = build_tasks(TasksConfig(**settings))
        self.detector = detector
        self.encoder = SimpleNamespace(normalizer=SimpleNamespace(npho_threshold=torch.tensor(100.0)))
        self.anchor = nn.Parameter(torch.zeros(()))

    def task(self, name):
        return self.tasks[name]

    def forward(self, batch):
        assert not self.training
        outputs = {name: batch.y[name] * 1.001 for name in self.tasks}
        outputs["n_gamma"] = nn.functional.one_hot(batch.y["n_gamma"], 5).float()
        return outputs | {"energy_sigma": 0.02 * batch.y["energy"]}


@pytest.fixture(scope="module")
def run(mini, tmp_path_factory):
    folder = tmp_path_factory.mktemp("artifacts")
    events = simulate_events(mini, 200 + NUM_VALIDATION, seed=4)
    batches = [build_batch(mini, events[i : i + 50], edges=False) for i in range(0, len(events), 50)]
    model = Oracle(mini)
    evaluation = evaluate_run(model, batches[:4], batches[4:], folder, "test_run")
    assert model.training
    return evaluation, folder, events[200:]


def test_all_files_are_there_and_complete(run):
    evaluation, folder, _ = run
    names = {"predictions_test_run.csv", "validation_results_test_run.root"}
    names |= {f"resolution_profile_{name}.pdf" for name in TASKS}
    assert {path.name for path in folder.iterdir()} == names == {path.name for path in evaluation.files}


def test_table_has_every_metric_of_network_and_baselines(run):
    table = run[0].table
    assert max(map(len, table.splitlines())) <= 100
    for task in build_tasks(TasksConfig(**{name: {"enabled": True} for name in TASKS})).values():
        for key, unit in task.metric_units().items():
            assert f"\n{key} [{unit}]" in table if unit else f"\n{key} " in table
        for title in ("network", *task.baselines):
            assert title in table
    assert re.search(r"resolution_deg \[deg\] +0\.0\d\d +\d\d\.\d+ +\d\d\.\d+\n", table)
    assert re.search(r"n_gamma_accuracy +1\.000 +1\.000", table)


def test_csv_and_root_hold_truth_predictions_and_sigmas_of_every_event(run):
    import uproot

    _, folder, events = run
    with uproot.open(folder / "validation_results_test_run.root") as file:
        arrays = file["tree"].arrays(library="np")
    for branch in ("run", "event", "emiAng", "energyTruth", "timeTruth", "uvwTruth", "emiVec", "n_gamma"):
        np.testing.assert_array_equal(arrays[branch], events[branch])
        assert arrays[branch].dtype == events[branch].dtype
    np.testing.assert_allclose(arrays["pred_uvwTruth"], 1.001 * events["uvwTruth"], rtol=1e-6)
    np.testing.assert_allclose(arrays["sigma_energyTruth"], 0.02 * events["energyTruth"], rtol=1e-6)
    np.testing.assert_array_equal(arrays["pred_n_gamma"], events["n_gamma"])

    with (folder / "predictions_test_run.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == NUM_VALIDATION
    for name, values in arrays.items():
        columns = [name] if values.ndim == 1 else [f"{name}_{i}" for i in range(values.shape[1])]
        read = np.array([[row[column] for column in columns] for row in rows], dtype=np.float64)
        np.testing.assert_array_equal(read.astype(values.dtype).reshape(values.shape), values)
    assert rows[0]["event"].isdigit()


def test_pdfs_have_the_expected_pages_with_embedded_text(run):
    pages = {"angle": 4, "angleVec": 4, "energy": 2, "timing": 2, "uvwFI": 4, "n_gamma": 1}
    for name, count in pages.items():
        content = (run[1] / f"resolution_profile_{name}.pdf").read_bytes()
        assert len(re.findall(rb"/Type /Page\b", content)) == count, name
        assert b"/Type3" not in content


def test_an_interrupted_writer_leaves_no_file(tmp_path):
    columns = {"run": np.arange(3), "broken": np.array(["a", "b", "c"])}
    with pytest.raises(ValueError, match="could not convert"):
        write_csv(tmp_path / "table.csv", columns)
    assert not (tmp_path / "table.csv").exists()


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.000"), (-1e-5, "0.000"), (3.14159, "3.142"), (-49.754, "-49.75"), (466.62, "466.6"), (1e6, "1000000")],
)
def test_numbers_have_four_digits(value, text):
    assert number(value) == text


def test_table_shows_a_broken_prediction(mini):
    tasks = build_tasks(TasksConfig(angle={"enabled": False}, energy={"enabled": True}))
    table = summary_table(tasks, {"energy": {"network": np.full((3, 1), np.nan)}}, {"energyTruth": np.ones(3)})
    assert "nan" in table
