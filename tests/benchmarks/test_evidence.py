from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import evidence
from studies import STUDIES
from studies.results import make_result, read_results, result_path, why_wanted
from studies.samples import Sample
from studies.study import Folders, Job, Study, digest
from studies.tables import PAGES, cell, filled, markers
from studies.training import Training
from xecgnn.cli import train as command
from xecgnn.evaluation.runs import EvaluatedRun

SMALL = {"detector": "mini", "training.epochs": 2, "data.batch_size": 64}
SMALL |= {"evaluation.saliency_events": 0, "evaluation.worst_events": 0}
TRAIN, VAL = Sample("train", 128, 1, "mini"), Sample("val", 64, 2, "mini")
FILES = {"train": [TRAIN], "val": [VAL]}


def folders(path: Path) -> Folders:
    return Folders(path / "data", path / "runs", path / "results")


def study(settings: dict[str, Any], made: list[int]) -> Study:
    """Two seeds, whose result is the number of results that were made before."""

    def jobs(seed: int) -> list[Job]:
        return [Job("plain", seed, settings, lambda _: made.append(seed) or {"value": len(made) / 3})]

    return Study("tiny", (0, 1), jobs, {})


def wanted(study: Study, path: Path) -> list[tuple[int, str]]:
    return [(job.seed, why) for _, job, why in evidence.wanted([study], folders(path).results)]


def make(study: Study, path: Path) -> None:
    for name, job, _ in evidence.wanted([study], folders(path).results):
        make_result(folders(path), name, job)


def test_tables_in_the_pages_are_those_of_the_results() -> None:
    found = evidence.tables(evidence.EVIDENCE)
    for page in PAGES:
        text = page.read_text()
        assert filled(text, found) == text, f"{page}: python benchmarks/evidence.py --remake"


def test_every_table_stands_in_one_page() -> None:
    shown = [name for page in PAGES for name in markers(page.read_text())]
    assert sorted(shown) == sorted(marker for study in STUDIES.values() for marker in study.tables)


def test_only_missing_and_stale_results_are_made(tmp_path: Path) -> None:
    made: list[int] = []
    before, after = study({"lr": 1e-3}, made), study({"lr": 2e-3}, made)
    assert wanted(before, tmp_path) == [(0, "missing"), (1, "missing")]
    make(before, tmp_path)
    assert wanted(before, tmp_path) == []
    assert made == [0, 1]
    result_path(folders(tmp_path).results, "tiny", "plain", 0).unlink()  # as if interrupted before it
    make(before, tmp_path)
    assert made == [0, 1, 0]
    assert wanted(after, tmp_path) == [(0, "stale"), (1, "stale")]
    make(after, tmp_path)
    assert wanted(after, tmp_path) == []
    assert wanted(before, tmp_path) == [(0, "stale"), (1, "stale")]
    assert read_results(folders(tmp_path).results, "tiny") == {"plain": {0: {"value": 1.33333}, 1: {"value": 1.66667}}}


def test_an_unreadable_result_is_named(tmp_path: Path) -> None:
    path = result_path(tmp_path, "tiny", "plain", 0)
    path.parent.mkdir()
    path.write_text('{"settings": ')
    with pytest.raises(ValueError, match=r"plain_0\.json: not a result"):
        why_wanted(tmp_path, "tiny", Job("plain", 0, {}, lambda _: {}))


def test_what_decides_the_numbers_is_in_the_hash() -> None:
    def run(seed: int = 0, epochs: int = 2, train: Sample = TRAIN, start: Training | None = None) -> Training:
        settings = SMALL | {"training.epochs": epochs}
        return Training("a", seed, "angle", settings, {**FILES, "train": [train]}, start=start)

    others = [run(seed=1), run(epochs=3), run(train=Sample("train", 128, 7, "mini")), run(start=run())]
    assert len({digest(training.resolved()) for training in [run(), *others]}) == 5
    assert digest(run().resolved()) == digest(run().resolved())
    names = run().resolved()["config"].keys()
    assert {"training.lr", "model.encoder_dim", "seed"} < names
    assert not {"data.train_path", "checkpoint.artifacts_dir", "logging.mlflow"} & names


def test_only_the_files_of_a_study_are_read(tmp_path: Path) -> None:
    training = Training("a", 0, "demo", SMALL, FILES)
    data = training.config(training.paths(folders(tmp_path))).data
    assert (data.train_path, data.val_path) == ([str(tmp_path / "data/train.root")], [str(tmp_path / "data/val.root")])
    assert data.test_path is None  # the demo has one


def test_training_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training = Training("small", 1, "demo", SMALL, {**FILES, "test": FILES["val"]})
    with monkeypatch.context() as context:

        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        context.setattr("xecgnn.evaluation.run.evaluate_run", interrupt)
        with pytest.raises(KeyboardInterrupt):
            training.run(folders(tmp_path))
    assert not training.is_finished(folders(tmp_path))
    make_result(folders(tmp_path), "tiny", training.job())
    assert training.is_finished(folders(tmp_path))

    found = json.loads(result_path(folders(tmp_path).results, "tiny", "small", 1).read_text())
    run = EvaluatedRun(training.folder(folders(tmp_path)))
    assert run.history["val_loss"].keys() == {0, 1}
    assert (found["seed"], found["settings"]) == (1, digest(training.resolved()))
    metrics = found["metrics"]
    assert metrics["validation"]["val_loss"] == pytest.approx(min(run.history["val_loss"].values()), rel=1e-5)
    # The test events are those of the validation here.
    network = metrics["test"]["angle"]["network"]
    assert network["resolution_deg"] == pytest.approx(metrics["validation"]["val_resolution_deg"], rel=1e-4)
    assert {"mean direction", "surface normal"} < metrics["test"]["angle"].keys()

    monkeypatch.setattr(command, "train", None)  # nothing is trained again
    assert training.run(folders(tmp_path)) == run.path


def test_a_file_of_other_events_is_refused(tmp_path: Path) -> None:
    Sample("a", 16, 1, "mini").file(tmp_path)
    with pytest.raises(ValueError, match=r"found 16 events of seed \[1\], expected 16 of seed 2"):
        Sample("a", 16, 2, "mini").file(tmp_path)


def test_tables_are_filled_between_their_markers() -> None:
    page = "a\n<!-- evidence: x -->\nold\n<!-- end -->\nb\n<!-- evidence: y -->\n<!-- end -->\n"
    text = filled(page, {"x": "| 1 |", "y": "| 2 |\n"})
    assert text == filled(text, {"x": "| 1 |", "y": "| 2 |"})
    assert "old" not in text
    assert text.index("| 1 |") < text.index("b") < text.index("| 2 |")
    with pytest.raises(ValueError, match="no study has a table 'y'; known tables: x"):
        filled(page, {"x": ""})


def test_a_cell_is_median_and_range() -> None:
    assert cell([3.0, 1.0, 2.5]) == "2.500 (1.000 to 3.000)"
    assert cell([2.0, 2.0]) == "2.000"
    assert cell([]) == "–"
