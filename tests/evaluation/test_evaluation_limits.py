from __future__ import annotations

import numpy as np
import pytest
import yaml

from xecgnn.config import TrainConfig
from xecgnn.data import DataConfig, Events, Readings, write
from xecgnn.directions import angles_to_direction
from xecgnn.evaluation import EvaluationConfig, evaluate_run, summary_table
from xecgnn.evaluation.limits import limit_predictions, uses_truth, with_references
from xecgnn.evaluation.pages.page import looks
from xecgnn.evaluation.pages.resolution import resolution_pages
from xecgnn.evaluation.runs import EvaluatedRun
from xecgnn.models import ModelConfig, XECModel
from xecgnn.nn.normalizer import NormalizationConfig
from xecgnn.simulation import simulate_events
from xecgnn.tasks import TasksConfig, build_tasks
from xecgnn.training.data import EventDataModule

ENABLED = {name: {"enabled": True} for name in ("angle", "angleVec", "energy", "timing", "uvwFI", "n_gamma")}
TASKS = build_tasks(TasksConfig(**ENABLED))


@pytest.fixture(scope="module")
def events(mini) -> Events:
    return simulate_events(mini, 120, seed=2, limits=True)


def test_limits_of_each_task(events) -> None:
    found = {name: dict(limit_predictions(task, events)) for name, task in TASKS.items()}
    titles = {name: [title.removesuffix(" (uses truth)") for title in limits] for name, limits in found.items()}
    energy = ["light", "leakage", "light + leakage"]
    others = {"timing": ["light"], "uvwFI": [], "n_gamma": []}
    assert titles == {"angle": ["deposits"], "angleVec": ["deposits"], "energy": energy} | others
    assert all(uses_truth(title) for limits in found.values() for title in limits)
    assert not uses_truth("network")
    angles = found["angle"]["deposits (uses truth)"]
    np.testing.assert_allclose(angles_to_direction(*angles.T), events.deposits_emiVec, atol=1e-6)
    np.testing.assert_array_equal(found["energy"]["leakage (uses truth)"], events.edepTruth)


def test_errors_are_normal_with_the_width_of_the_bound(events) -> None:
    """The same ones around the truth and around the deposited energy, and again the next time."""
    columns = {name: np.repeat(events[name], 100) for name in ("energyTruth", "edepTruth", "limit_edepTruth")}
    many = Events(columns)
    light, leakage, both = dict(limit_predictions(TASKS["energy"], many)).values()
    pull = (light - many.energyTruth) / many.limit_edepTruth
    assert pull.mean() == pytest.approx(0, abs=0.03)
    assert pull.std() == pytest.approx(1, rel=0.03)
    assert np.mean(np.abs(pull) < 1) == pytest.approx(0.683, abs=0.02)
    np.testing.assert_allclose(both - leakage, light - many.energyTruth, atol=1e-9)
    np.testing.assert_array_equal(next(limit_predictions(TASKS["energy"], many))[1], light)


def test_no_light_and_no_deposit(events) -> None:
    columns = dict(events.select("edepTruth", "energyTruth", "limit_edepTruth", "deposits_emiVec").columns)
    columns = {name: values.copy() for name, values in columns.items()}
    columns["edepTruth"][3], columns["limit_edepTruth"][3], columns["deposits_emiVec"][3] = 0, np.nan, np.nan
    dark = Events(columns)
    *_, (_, energy) = limit_predictions(TASKS["energy"], dark)
    assert energy[3] == 0
    ((_, vector),) = limit_predictions(TASKS["angleVec"], dark)
    np.testing.assert_allclose(vector[3], np.delete(events.deposits_emiVec, 3, 0).mean(0), rtol=1e-5)


def test_columns_of_other_events_do_not_slip_in(events, caplog) -> None:
    """They are matched by run and event, not by place."""
    predicted = events.select("run", "event", "energyTruth")
    shuffled = events[np.random.default_rng(0).permutation(100)].select("reference", "truth", "identifier")
    joined = with_references(predicted, shuffled)
    there = np.isin(np.arange(120), shuffled.event)
    for name in ("limit_edepTruth", "deposits_emiVec", "edepTruth"):
        np.testing.assert_array_equal(joined[name][there], events[name][there])
        assert np.isnan(joined[name][~there]).all()
    twice = Events.concatenate([shuffled, shuffled[:1]])
    assert with_references(predicted, twice) is predicted
    assert "no limits beside the predictions: 1 events are there again" in caplog.text


def test_from_the_test_files_to_table_and_pages(mini, events, tmp_path) -> None:
    """A training's end keeps the columns with the predictions; table and pages are made of these alone."""
    plain = events.select(*(name for name in events.fields if events.schema[name].kind != "reference"))
    for name, some in (("with", events), ("without", plain)):
        write([some], tmp_path / f"{name}.root")
    config = DataConfig(val_path=[str(tmp_path / "without.root")], test_path=[str(tmp_path / "with.root")])
    data = EventDataModule(mini, config, 0, tasks=list(ENABLED))
    config = config.model_copy(update={"test_path": None})
    assert EventDataModule(mini, config, 0, tasks=list(ENABLED)).references() is None

    settings = TrainConfig(detector="mini", run_name="run", tasks=ENABLED)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings.model_dump(mode="json")))
    sizes = ModelConfig(encoder_dim=32, hex_dim=8, hex_depth=1, depths=(1, 1), num_heads=2, hidden_dim=16)
    model = XECModel(mini, sizes, NormalizationConfig(), build_tasks(TasksConfig(**ENABLED)))
    batches = [Readings.of(plain[start : start + 60]) for start in (0, 60)]
    options = EvaluationConfig(worst_events=0, saliency_events=0)
    evaluate_run(model, batches, batches, EvaluatedRun(tmp_path), options, data.references())

    sample = EvaluatedRun(tmp_path).predictions
    table = summary_table(TASKS, sample.predictions, sample.truth)
    assert "light*  leakage*  light + leakage*" in table
    assert table.count("* uses truth: what could be reached at all, no strict bound") == 4
    assert "does not beat the l" not in table.replace("light spot", "")  # nobody does
    assert "the network does not beat the face sums" in table
    titles = list(sample.predictions["energy"])
    assert [look for look in looks(titles).values() if look[0] == "0.2"] == [("0.2", "-"), ("0.2", "--"), ("0.2", ":")]
    page = next(resolution_pages(TASKS["energy"], sample.predictions["energy"], sample.truth, "run"))
    assert page.get_supxlabel().startswith("what uses the truth is no strict bound   |   run")
    labels = [text.get_text() for text in page.axes[0].get_legend().get_texts()]
    assert sum("(uses truth)" in label for label in labels) == 3
