from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from xecgnn.data import Events
from xecgnn.data import write as write_events
from xecgnn.detector import angles_to_direction
from xecgnn.estimate import Estimate
from xecgnn.evaluation.measures import GAUSSIAN_TAIL, measure, measure_pull, pull_axes, pulls
from xecgnn.evaluation.pages.page import LETTERS
from xecgnn.evaluation.pages.validation import validation_pages
from xecgnn.evaluation.sample import load_sample
from xecgnn.evaluation.validation import measure_sample, validate
from xecgnn.schema import Schema
from xecgnn.tasks import TasksConfig, build_tasks

Columns = dict[str, np.ndarray]
EVENTS = 400


def columns_of(tasks: str = "emiAng energyTruth", seed: int = 1, sigma: float = 1.0) -> Columns:
    """Truth of 400 events, predictions that spread around it, and sigmas that are right where `sigma` is 1."""
    rng, noise = np.random.default_rng(0), np.random.default_rng(seed)
    theta, phi = rng.uniform(1.2, 1.9, EVENTS), rng.uniform(-0.9, 0.9, EVENTS)
    truth = {
        "emiAng": np.stack([theta, phi], 1),
        "energyTruth": rng.uniform(0.015, 0.06, EVENTS),
        "timeTruth": rng.normal(1e-9, 1e-10, EVENTS),
        "uvwTruth": rng.normal(size=(EVENTS, 3)) * 10,
        "emiVec": angles_to_direction(theta, phi),
        "n_gamma": rng.integers(0, 5, EVENTS),
    }
    spread = {"emiAng": 0.087, "energyTruth": 0.001, "timeTruth": 6e-11, "uvwTruth": 0.3, "emiVec": 0.05}
    columns: Columns = {"run": np.full(EVENTS, 3), "event": np.arange(EVENTS)} | truth
    for branch in tasks.split():
        if branch in spread:
            columns[f"pred_{branch}"] = truth[branch] + spread[branch] * noise.normal(size=truth[branch].shape)
            columns[f"sigma_{branch}"] = np.full(truth[branch].shape, sigma * spread[branch])
        else:
            columns[f"pred_{branch}"] = truth[branch]
    return {k: v.astype("int32" if k in ("run", "event") or "n_gamma" in k else "float32") for k, v in columns.items()}


def write(path: Path, columns: Columns) -> Path:
    write_events(Events(columns, Schema()), path)
    return path


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """One empty page: what the numbers are does not depend on the drawing."""
    monkeypatch.setattr("xecgnn.evaluation.validation.validation_pages", lambda sample: iter([Figure()]))


def text_of(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text))


def residual_measures(residuals: np.ndarray) -> dict:
    task = build_tasks(TasksConfig(angle={"enabled": False}, timing={"enabled": True}))["timing"]
    target = np.zeros((len(residuals), 1))
    return measure(task, {"a": residuals[:, None] * 1e-12}, target)["a"]


def test_errors_of_all_numbers_cover_the_spread_over_samples() -> None:
    """The quoted error of each number, and of each paired difference, is its standard deviation over samples."""
    rng = np.random.default_rng(2)
    values, errors = [], []
    for _ in range(300):
        shared = rng.normal(size=500)
        first = residual_measures(shared + 0.5 * rng.normal(size=500))
        second = residual_measures(shared + 0.5 * rng.normal(size=500))
        differences = [second[key].minus(first[key]) for key in first]
        values.append([found.value for found in [*first.values(), *differences]])
        errors.append([found.error for found in [*first.values(), *differences]])
        keys = list(first)
    names = keys + [f"difference of {key}" for key in keys]
    ratio = np.mean(errors, 0) / np.std(values, 0)
    for name, found in zip(names, ratio, strict=True):
        assert found == pytest.approx(1, abs=0.25 if "tail" in name else 0.15), name
    paired, alone = np.mean(errors, 0)[keys.index("time_bias") + len(keys)], np.mean(errors, 0)[keys.index("time_bias")]
    assert paired < 0.8 * alone  # what both share cancels


def test_a_gaussian_has_the_expected_tail_and_pulls() -> None:
    sample = np.random.default_rng(3).normal(size=200_000)
    measures = residual_measures(60 * sample)
    assert abs(measures["time_tail"].value - GAUSSIAN_TAIL) < 4 * measures["time_tail"].error
    assert measures["time_rms"].value == pytest.approx(60, rel=0.01)
    expected = {"mean": 0, "width": 1, "coverage_1sigma": 68.27, "coverage_2sigma": 95.45}
    for key, found in measure_pull(sample).items():
        assert abs(found.value - expected[key]) < 4 * found.error


def test_pulls_wrap_phi_and_leave_out_what_has_no_sigma() -> None:
    tasks = build_tasks(TasksConfig(angleVec={"enabled": True}))
    true, predicted = np.array([[1.5, np.pi - 0.01]] * 3), np.array([[1.5, -np.pi + 0.01]] * 3)
    pull, residual, size = pulls(tasks["angle"], predicted, np.array([[0.1, 0.02], [0.1, 0.0], [np.nan, 0.1]]), true)
    np.testing.assert_allclose(pull, [[0, 1]], atol=1e-9)
    np.testing.assert_allclose(np.degrees(0.02), size[0, 1])
    np.testing.assert_allclose(residual[0], [0, np.degrees(0.02)], atol=1e-9)
    vector = np.array([[-1.0, 0.0, 0.0]])
    pull, _, _ = pulls(tasks["angleVec"], vector + 0.1, np.full((1, 3), 0.1), vector)
    np.testing.assert_allclose(pull, [[1, 1, 1]])
    assert [axis.name for axis in pull_axes(tasks["angleVec"])] == ["emiVec_0", "emiVec_1", "emiVec_2"]


def test_files_hold_what_was_put_in(tmp_path: Path, pages: None) -> None:
    columns = columns_of("emiAng energyTruth timeTruth uvwTruth emiVec n_gamma", sigma=2.0)
    columns["pred_energyTruth"] += np.float32(0.0005)
    text, files = validate(write(tmp_path / "out.root", columns), tmp_path / "folder")
    assert [path.name for path in files] == ["validation.pdf", "validation.json", "validation.md"]
    assert not list(tmp_path.rglob("*.part"))
    assert files[2].read_text() == text
    tasks = json.loads(files[1].read_text())["tasks"]
    assert list(tasks) == ["angle", "energy", "timing", "uvwFI", "angleVec", "n_gamma"]
    energy = tasks["energy"]["residuals"]["network"]
    residual = 1e3 * (columns["pred_energyTruth"].astype(float) - columns["energyTruth"])
    assert energy["energy_bias"]["value"] == pytest.approx(residual.mean())
    assert energy["energy_width_68"]["value"] == pytest.approx(np.quantile(np.abs(residual), 0.68))
    assert energy["energy_bias"]["low"] < energy["energy_bias"]["value"] < energy["energy_bias"]["high"]
    pull = tasks["uvwFI"]["pulls"]["network"]["w"]
    assert pull["width"]["value"] == pytest.approx(0.5, abs=0.05)
    assert pull["coverage_1sigma"]["value"] == pytest.approx(95.4, abs=3)
    assert tasks["n_gamma"]["residuals"]["network"]["accuracy"]["value"] == 100
    for name, quantity in {"angle": "resolution_deg", "timing": "time_resolution_68"}.items():
        entry = tasks[name]["residuals"]["network"][quantity]
        row = rf"\| {quantity} \[{entry['unit']}\] +\| ([\d.]+) ± [\d.]+ +\|"
        assert float(re.findall(row, text)[0]) == pytest.approx(entry["value"], rel=0.01)
    with pytest.raises(FileExistsError, match=r"validation.pdf exists; .* --overwrite"):
        validate(tmp_path / "out.root", tmp_path / "folder")


def estimates_in(facts: object) -> Iterator[dict]:
    """All estimates of a validation.json."""
    if isinstance(facts, dict) and {"value", "low", "high"} <= set(facts):
        yield facts
    elif isinstance(facts, dict):
        for part in facts.values():
            yield from estimates_in(part)


def test_the_first_pages_have_every_number_of_the_json(
    tmp_path: Path, pages: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *args, **kw: (drawn.append(self), save(self, *args, **kw))[1])
    columns = columns_of("emiAng energyTruth timeTruth uvwTruth emiVec n_gamma")
    columns["energyTruth"][:200] = 0.05283
    columns["pred_energyTruth"][:200] = np.random.default_rng(7).normal(0.05283, 0.001, 200)
    columns["reco_uvwTruth"] = columns["uvwTruth"] * np.float32(1.01)
    for number in range(8):  # a table too wide for a page
        columns[f"a_long_prefix_of_number_{number}_energyTruth"] = columns["energyTruth"] * np.float32(1 + number / 10)
    entries = ["reco_", *(f"energyTruth=a_long_prefix_of_number_{number}_energyTruth" for number in range(8))]
    path = write(tmp_path / "out.root", columns)
    facts = json.loads(validate(path, tmp_path / "folder", reference=entries)[1][1].read_text())
    text = "\n".join(map(text_of, drawn))
    found = list(estimates_in(facts["tasks"]))
    assert len(found) > 100
    for entry in found:
        assert str(Estimate(entry["value"], entry["low"], entry["high"], entry["n"])) in text
    assert max(len(line) for line in text.splitlines()) <= LETTERS
    assert all(text.get_fontsize() >= 8 for page in drawn for text in page.findobj(Text))


def test_shallow_and_deep_events_are_all_events(tmp_path: Path, pages: None) -> None:
    columns = columns_of("energyTruth uvwTruth")
    columns["uvwTruth"][:, 2] = np.linspace(0, 10, EVENTS)
    columns["pred_uvwTruth"] = columns["uvwTruth"] + np.float32(0.1)
    columns["pred_uvwTruth"][columns["uvwTruth"][:, 2] >= 2] += np.float32(0.1)
    columns["energyTruth"][:] = 0.05283
    sample = load_sample(write(tmp_path / "out.root", columns))
    shallow = int((columns["uvwTruth"][:, 2] < 2).sum())
    for name in ("energy", "uvwFI"):
        found = measure_sample(sample, sample.tasks[name])
        assert list(found.depths) == ["w < 20 mm", "w >= 20 mm"]
        counts = [next(iter(part["network"].values())).n for part in found.depths.values()]
        assert counts == [shallow, EVENTS - shallow]
        assert sum(counts) == found.events
    widths = [part["network"]["w_resolution_68"].value for part in found.depths.values()]
    np.testing.assert_allclose(widths, [1, 2], rtol=1e-4)
    lines = measure_sample(sample, sample.tasks["energy"]).lines
    assert list(lines) == ["all", "w < 20 mm", "w >= 20 mm"]
    assert lines["w < 20 mm"]["network"] == {"failed": f"{shallow} events, at least 100 are needed"}
    assert "network" not in measure_sample(sample, sample.tasks["uvwFI"]).lines


def test_limits_in_the_file_are_shown_and_useless_predictions_told_once(
    tmp_path: Path, pages: None, caplog: pytest.LogCaptureFixture
) -> None:
    columns = columns_of("energyTruth")
    columns["edepTruth"] = columns["energyTruth"] * np.float32(0.9)
    path = write(tmp_path / "out.root", columns)
    assert list(load_sample(path).predictions["energy"]) == ["network", "leakage (uses truth)"]
    columns["edepTruth"][:5] = np.nan
    columns["pred_energyTruth"][:] = np.nan
    columns["training_mean_energyTruth"] = np.full(EVENTS, 0.03)
    text, _ = validate(write(tmp_path / "bad.root", columns), tmp_path / "bad")
    assert caplog.messages == ["network: no valid prediction of energyTruth in 400 of 400 events: left out"]
    assert "training mean" not in text


def test_two_runs_are_matched_event_by_event(tmp_path: Path, pages: None) -> None:
    first, second = columns_of("energyTruth"), columns_of("energyTruth", seed=2)
    order = np.random.default_rng(0).permutation(EVENTS)[:300]
    a = write(tmp_path / "a.root", first)
    b = write(tmp_path / "b.root", {name: values[np.append(order, order[0])] for name, values in second.items()})
    text, files = validate(a, tmp_path / "ab", compare=b)
    facts = json.loads(files[1].read_text())
    assert (facts["events"], facts["events_in_input"]) == (300, EVENTS)
    assert facts["duplicates"] == {str(a): 0, str(b): 1}
    assert "1 events (run, event) are in" in text
    chosen = np.sort(order)
    for title, columns in {"a": first, "b": second}.items():
        residual = 1e3 * (columns["pred_energyTruth"].astype(float) - columns["energyTruth"])[chosen]
        assert facts["tasks"]["energy"]["residuals"][title]["energy_bias"]["value"] == pytest.approx(residual.mean())
    difference = 1e3 * (second["pred_energyTruth"].astype(float) - first["pred_energyTruth"])[chosen]
    found = facts["tasks"]["energy"]["differences"]["b"]
    assert found["energy_bias"]["value"] == pytest.approx(difference.mean())
    assert "| b - a" in text
    copy = write(tmp_path / "copy.root", first)
    assert re.search(r"energy_bias \[MeV\] .* \| 0 +\|", validate(a, tmp_path / "aa", compare=copy)[0])
    with pytest.raises(ValueError, match=r"a.root: compared with itself"):
        load_sample(a, a)
    elsewhere = write(tmp_path / "c.root", second | {"run": second["run"] + 1})
    with pytest.raises(ValueError, match=r"a.root and .*c.root have no event \(run, event\) in common"):
        load_sample(a, elsewhere)


def test_another_reconstruction_in_the_same_file(tmp_path: Path, pages: None) -> None:
    columns = columns_of()
    columns["EGamma"] = columns["energyTruth"] * np.float32(1.1)
    columns["EGamma"][:7] = 1e10
    columns["reco_emiAng"] = columns["emiAng"]
    path = write(tmp_path / "out.root", columns)
    facts = json.loads(validate(path, tmp_path, reference=["energyTruth=EGamma", "reco_"])[1][1].read_text())
    energy = facts["tasks"]["energy"]
    assert energy["events"] == EVENTS - 7
    assert facts["invalid"]["energy"] == {"network": 0, "EGamma": 7}
    assert energy["residuals"]["EGamma"]["energy_resolution_68"]["value"] == pytest.approx(10, rel=1e-3)
    assert facts["tasks"]["angle"]["residuals"]["reco_emiAng"]["resolution_deg"]["value"] == pytest.approx(0, abs=1e-4)
    for entry, words in {
        "energyTruth=E": "no branch 'E' in",
        "uvwTruth=EGamma": "'uvwTruth' is not predicted; predicted: emiAng, energyTruth",
        "rec_": "has none of rec_emiAng, rec_energyTruth",
        "emiAng=EGamma": "1 values predicted for emiAng, expected 2",
    }.items():
        with pytest.raises(ValueError, match=words):
            load_sample(path, reference=[entry])


def broken(columns: Columns) -> Columns:
    """Every way in which a column can be useless."""
    columns["pred_energyTruth"][:] = 0.05  # constant
    columns["energyTruth"][:] = 0.05283  # monochromatic
    columns["sigma_energyTruth"][:] = 0
    columns["pred_emiAng"][:] = np.nan
    columns["timeTruth"][:] = np.nan
    columns["sigma_uvwTruth"][:] = np.nan
    columns["pred_n_gamma"][:] = -1
    return columns


def no_truth(columns: Columns) -> Columns:
    return {name: values for name, values in columns.items() if name.startswith(("pred_", "sigma_"))}


@pytest.mark.parametrize("change", [broken, no_truth, lambda columns: {k: v[:1] for k, v in columns.items()}])
def test_useless_columns_are_drawn_as_far_as_they_go(tmp_path: Path, change: Callable[[Columns], Columns]) -> None:
    tasks = "emiAng energyTruth timeTruth uvwTruth n_gamma"
    path = write(tmp_path / "out.root", change(columns_of(tasks)))
    sample = load_sample(path)
    texts = []
    for figure in validation_pages(sample):
        if "quantile" not in figure.get_suptitle():  # profiles have their own tests, and take long to draw
            figure.canvas.draw()
        texts.append(figure.get_suptitle())
    assert len(texts) >= len(sample.tasks)
    numbers = {name: measure_sample(sample, task) for name, task in sample.tasks.items()}
    if change is broken:
        assert sum("no valid prediction" in text for text in texts) == 2
        assert numbers["energy"].residuals["network"]["energy_width_68"].value == pytest.approx(2.83, rel=1e-3)
        assert numbers["energy"].pulls["network"] == {}
        assert numbers["timing"].events == 0
    if change is no_truth:
        assert all(not entry.residuals for entry in numbers.values())
        assert numbers["energy"].values["network"]["energy_mean"].unit == "MeV"


def test_files_without_predictions_are_refused(tmp_path: Path) -> None:
    columns = columns_of()
    path = write(tmp_path / "truth.root", {name: columns[name] for name in ("run", "event", "emiAng")})
    with pytest.raises(ValueError, match=r"no predictions \(pred_emiAng, .*\); branches: run, event, emiAng"):
        load_sample(path)
    predictions = write(tmp_path / "pred.root", {"pred_emiAng": columns["pred_emiAng"]})
    with pytest.raises(ValueError, match=r"pred.root: no run and event, by which events are matched"):
        load_sample(write(tmp_path / "all.root", columns), predictions)
    with pytest.raises(FileNotFoundError, match=r"none.root"):
        load_sample(tmp_path / "none.root")
    wide = write(tmp_path / "wide.root", {"pred_emiAng": np.zeros((5, 3), "float32")})
    with pytest.raises(ValueError, match=r"wide.root: branch 'pred_emiAng' has width 3, expected 2"):
        load_sample(wide)


def test_baselines_of_a_training_are_beside_its_network(tmp_path):
    rng = np.random.default_rng(0)
    true = rng.uniform(0.015, 0.06, 200).astype("float32")
    columns = {"energyTruth": true, "pred_energyTruth": true * 1.01}
    columns["training_mean_energyTruth"] = np.full_like(true, 0.03)
    sample = load_sample(write(tmp_path / "run.root", columns))
    assert list(sample.predictions["energy"]) == ["network", "training mean"]
    assert list(measure_sample(sample, sample.tasks["energy"]).residuals) == ["network", "training mean"]
