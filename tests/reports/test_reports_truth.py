"""Truth and numbers that cannot be meant are named, and nothing is cast without a look at its range."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import uproot

from xecgnn.data import DataConfig, EventLoader, Events, write
from xecgnn.data.check import check_files
from xecgnn.data.check_truth import constants_outside
from xecgnn.data.match import match_pairs
from xecgnn.detector import Detector
from xecgnn.schema import Schema
from xecgnn.simulation import simulate_events

RNG = np.random.default_rng(0)
BULK = RNG.uniform(0.015, 0.06, 1000)  # GeV


@pytest.mark.parametrize("constant", [-999.0, -999, -1, 999, -9999, 1e6, -1e5, 123.456])
@pytest.mark.parametrize("number", [2, 5, 400])
def test_a_constant_outside_the_bulk_is_found(constant: float, number: int) -> None:
    values = BULK.copy()
    values[:number] = constant
    assert constants_outside(values) == {constant: number}
    vectors = np.stack([BULK, values, -BULK], 1).astype(np.float32)
    assert constants_outside(vectors) == {np.float32(constant): number}


@pytest.mark.parametrize(
    "values",
    [
        np.repeat([0.0176, 0.0528, 0.083], [600, 390, 10]),  # lines
        np.where(np.arange(1000) < 700, 0.0176, BULK),  # a line on a continuum
        np.concatenate([BULK, [-999.0]]),  # comes once
        np.round(RNG.normal(0, 1, 1000), 1),  # stored in steps
        RNG.integers(0, 5, 1000),  # numbers of photons
        np.full(100, np.nan),
        np.zeros(0),
        np.full(1000, 0.0528),
    ],
    ids=["lines", "line and continuum", "once", "steps", "classes", "unknown", "none", "one line"],
)
def test_other_values_are_not_suspicious(values: np.ndarray) -> None:
    assert constants_outside(values) == {}


def test_a_constant_among_lines_is_found() -> None:
    assert constants_outside(np.repeat([0.0176, 0.0528, -999], [600, 390, 10])) == {-999.0: 10}


@pytest.fixture(scope="module")
def with_constants(mini: Detector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 events, of which 3 have -999 wherever there is truth."""
    path = tmp_path_factory.mktemp("constants") / "a.root"
    columns = {name: np.array(values) for name, values in simulate_events(mini, 300, seed=5).columns.items()}
    for name in ("emiAng", "energyTruth", "uvwTruth", "timeTruth"):
        columns[name][:3] = -999
    write(Events(columns), path)
    return path


def test_check_names_the_constant_and_not_the_units(mini: Detector, with_constants: Path) -> None:
    report = check_files(with_constants, mini)
    texts = [problem.text for problem in report.problems]
    assert len(texts) == 4
    for name in ("emiAng", "energyTruth", "uvwTruth", "timeTruth"):
        assert any(text.startswith(f"{name} is -999 in 3 of 300 events") for text in texts)
    assert report.usable


def test_training_names_it_before_the_first_epoch(
    mini: Detector, with_constants: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from xecgnn.training.data import EventDataModule

    config = DataConfig(train_path=[str(with_constants)])
    EventDataModule(mini, config, 0, ["energy"]).training_targets()
    assert "energyTruth is -999 in 3 of 300 events" in caplog.text


LARGE = [5_000_000_000, (400_123 << 32) + 7, 2**53 + 1, 2**63 - 1]


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_event_numbers_of_any_size_stay(mini: Detector, tmp_path: Path, dtype: type) -> None:
    numbers = np.array(LARGE, dtype)
    readings = {name: np.ones((4, mini.num_sensors), np.float32) for name in ("npho", "relative_time")}
    write(Events({**readings, "run": numbers, "event": numbers}, Schema()), tmp_path / "a.root")
    (batch,) = EventLoader(tmp_path / "a.root", mini, DataConfig(batch_size=4, num_workers=0), shuffle=False)
    for found in (Events.read(tmp_path / "a.root").event, batch.event.numpy(), batch.run.numpy()):
        assert found.tolist() == LARGE
    write(Events.read(tmp_path / "a.root"), tmp_path / "b.root")
    assert Events.read(tmp_path / "b.root").run.tolist() == LARGE


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.array([1, 2**63], np.uint64), r"column 'event' holds 9223372036854775808, expected whole numbers"),
        (np.array([1, 1.5]), r"column 'event' holds 1\.5, expected whole numbers"),
        (np.array([1, 1e19]), r"column 'event' holds 1e\+19"),
        (np.array([1, np.nan]), "column 'event' holds nan"),
        (np.array([1, 2.0**63]), "column 'event' holds 9"),
    ],
)
def test_numbers_that_do_not_fit_are_refused_wherever_they_enter(
    mini: Detector, tmp_path: Path, values: np.ndarray, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        Events({"event": values})
    with pytest.raises(ValueError, match=words):
        Events({"run": np.ones(2), "event": values}, Schema()).match(Events({"run": [1], "event": [1]}))
    readings = {name: np.ones((2, mini.num_sensors), np.float32) for name in ("npho", "relative_time")}
    write(Events({**readings, "event": values}, Schema()), tmp_path / "a.root")
    for read in (
        lambda: Events.read(tmp_path / "a.root"),
        lambda: list(EventLoader(tmp_path / "a.root", mini, DataConfig(batch_size=2, num_workers=0), shuffle=False)),
    ):
        with pytest.raises(ValueError, match=rf"a\.root: {words}"):
            read()
    report = check_files(tmp_path / "a.root", mini)
    assert not report.usable


def test_whole_floats_are_numbers_of_events() -> None:
    assert Events({"event": np.array([1.0, 3e9])}).event.tolist() == [1, 3_000_000_000]
    assert len(match_pairs(np.array([[1, 2]]), np.array([[1, 2]]))[0]) == 1


@pytest.mark.parametrize(("first", "second"), [("i4", "i8"), ("f4", "f8"), ("u4", "i4"), ("i4", "f8"), ("u8", "i8")])
def test_a_file_does_not_hold_what_comes_later_in_a_larger_type(tmp_path: Path, first: str, second: str) -> None:
    parts = [Events({"x": np.zeros(3, dtype)}) for dtype in (first, second)]
    with pytest.raises(ValueError, match=r"branch 'x' got \w+, which \w+ does not hold"):
        write(parts, tmp_path / "a.root")
    assert write(reversed(parts), tmp_path / "b.root") == 6 if np.can_cast(first, second) else True


def test_event_numbers_of_floats_are_named(mini: Detector, tmp_path: Path) -> None:
    layout = {"npho": ("f4", (212,)), "relative_time": ("f4", (212,)), "run": "f4", "event": "f4"}
    with uproot.recreate(tmp_path / "a.root") as file:
        file.mktree("tree", {name: np.dtype(kind) for name, kind in layout.items()})
        file["tree"].extend({name: np.ones((3, *np.dtype(kind).shape), "f4") for name, kind in layout.items()})
    assert "run, event of floating-point numbers" in check_files(tmp_path / "a.root", mini).text


def test_unknown_targets_are_counted(mini: Detector, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from xecgnn.training.data import EventDataModule

    events = simulate_events(mini, 60, seed=1)
    energy = np.array(events.energyTruth)
    energy[:7] = [np.nan, np.inf, -np.inf, 1e10, -1e10, 9e9, np.nan]
    write(events.with_columns({"energyTruth": energy}), tmp_path / "a.root")
    with caplog.at_level(logging.WARNING):
        EventDataModule(mini, DataConfig(train_path=[str(tmp_path / "a.root")]), 0, ["energy"]).training_targets()
    assert "energyTruth is unknown in 7 of 60 training events" in caplog.text
