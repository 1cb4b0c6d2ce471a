from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

from xecgnn.cli.check import main
from xecgnn.data import Events
from xecgnn.data import write as write_events
from xecgnn.data.check import CheckReport, check_files
from xecgnn.data.check_sensors import MIN_EVENTS, SensorTotals
from xecgnn.data.check_units import guess_units
from xecgnn.data.dead_channels import read_dead_channels
from xecgnn.detector import Detector
from xecgnn.names import INVALID_VALUE, SCHEMA
from xecgnn.schema import SENSOR, Schema
from xecgnn.simulation import simulate_events

DOCS = Path(__file__).parents[2] / "docs" / "data_format.md"
Columns = dict[str, np.ndarray]
Write = Callable[..., Path]


@pytest.fixture(scope="module")
def events(mini: Detector) -> Events:
    return simulate_events(mini, 300, seed=5)


@pytest.fixture
def write(tmp_path: Path, events: Events) -> Write:
    """Writes the events, changed by `change(columns)`; None removes a column."""

    def written(change: Callable[[Columns], None] = lambda columns: None, name: str = "a.root") -> Path:
        columns = {key: events[key].copy() for key in events.fields}
        change(columns)
        write_events(Events(columns, Schema()), tmp_path / name)
        return tmp_path / name

    return written


def texts(report: CheckReport, level: str) -> str:
    return "\n".join(problem.text for problem in report.problems if problem.level == level)


def test_a_simulated_file_has_no_problem(mini: Detector, write: Write) -> None:
    report = check_files(write(), mini)
    assert report.problems == []
    assert report.usable
    assert report.text.endswith("no problems\nusable\n")
    units = report.facts["files"][str(write())]["units"]
    for name in ("npho", "relative_time", "emiAng", "energyTruth", "timeTruth", "uvwTruth", "xyzTruth"):
        assert units[name] == SCHEMA[name].unit
    assert report.facts["sensors"]["events"] == 300
    json.dumps(report.as_dict(), allow_nan=False)


def test_dead_flaky_and_hot_sensors_are_found(mini: Detector, write: Write, tmp_path: Path) -> None:
    def change(columns: Columns) -> None:
        npho = columns["npho"]
        npho[:, [3, 205]] = INVALID_VALUE
        npho[:, 50] = np.nan
        npho[:, 7] = 0
        npho[::10, 20] = np.nan
        npho[:, [90, 170]] += 8 * npho.mean(where=npho < 9e9)
        npho[4] = INVALID_VALUE

    report = check_files(write(change), mini)
    sensors = report.facts["sensors"]
    assert sensors["dead"] == [3, 7, 50, 205]
    assert sensors["flaky"] == [20]
    assert set(sensors["hot"]) == {"90", "170"}
    assert sensors["npho_nan"][20] == pytest.approx(0.1)
    assert sensors["npho_invalid"][0] == pytest.approx(1 / 300)
    assert report.usable
    for text in ("4 of 212 are dead", "2 of 212 are hot", "1 of 300 events have no valid npho"):
        assert text in texts(report, "warning")


def test_sensors_are_judged_over_all_portions_and_files(mini: Detector, events: Events) -> None:
    npho, time = events.npho.copy(), events.relative_time
    npho[:150, 11] = INVALID_VALUE
    npho[150:, 12] = INVALID_VALUE
    whole, parts = SensorTotals(mini.num_sensors), SensorTotals(mini.num_sensors)
    whole.add(npho, time)
    for start in range(0, 300, 70):
        parts.add(npho[start : start + 70], time[start : start + 70])
    np.testing.assert_allclose(parts.mean, whole.mean, rtol=1e-6)
    np.testing.assert_array_equal(parts.time_invalid, whole.time_invalid)
    assert len(parts.dead) == len(whole.dead) == 0


def test_the_brightest_spot_is_not_hot(mini: Detector, events: Events) -> None:
    npho = events.npho.copy()
    npho[0] *= 1000.0  # one event outshines the rest
    totals = SensorTotals(mini.num_sensors)
    totals.add(npho, events.relative_time)
    assert totals.hot(mini) == {}


def test_few_events_are_not_judged(mini: Detector, events: Events) -> None:
    totals = SensorTotals(mini.num_sensors)
    npho = np.zeros_like(events.npho[: MIN_EVENTS - 1])
    npho[:, 5] = 1e5
    totals.add(npho, npho)
    assert len(totals.dead) == len(totals.hot(mini)) == 0


@pytest.mark.parametrize(
    ("branch", "factor", "level", "text"),
    [
        ("relative_time", 1e9, "error", "relative_time looks like ns, expected s"),
        ("energyTruth", 1e3, "error", "energyTruth looks like MeV, expected GeV"),
        ("timeTruth", 1e12, "error", "timeTruth looks like ps, expected s"),
        ("uvwTruth", 10.0, "error", "uvwTruth looks like mm, expected cm"),
        ("xyzTruth", 0.01, "error", "xyzTruth looks like m, expected cm"),
        ("emiAng", np.degrees(1), "warning", "read it with data.angle_unit deg"),
        ("npho", 1e-6, "error", "looks like relative_npho"),
    ],
)
def test_other_units_are_noticed(
    mini: Detector, write: Write, branch: str, factor: float, level: str, text: str
) -> None:
    def change(columns: Columns) -> None:
        values = columns[branch]
        columns[branch] = np.where(np.abs(values) < 9e9, values * np.float32(factor), values)

    report = check_files(write(change), mini)
    assert text in texts(report, level)
    assert report.usable == (level == "warning")
    assert "emiAng and emiVec" not in texts(report, "error")  # degrees are converted before they are compared


def test_times_that_do_not_begin_at_zero_are_noticed(mini: Detector, write: Write) -> None:
    report = check_files(write(lambda columns: columns.update(relative_time=columns["relative_time"] - 6e-7)), mini)
    assert "not at 0: absolute times?" in texts(report, "warning")


def test_another_convention_for_phi_is_noticed(mini: Detector, write: Write) -> None:
    report = check_files(write(lambda columns: columns.update(emiAng=columns["emiAng"] + [0, np.pi])), mini)
    assert re.search(r"emiAng and emiVec differ by [\d.]+ deg", texts(report, "error"))


def test_units_of_unknown_values_are_not_guessed() -> None:
    assert not list(guess_units({"energyTruth": np.full(10, np.nan), "relative_time": np.full((10, 3), 1e10)}))


def test_branches_are_checked(mini: Detector, meg2: Detector, write: Write) -> None:
    other = check_files(write(), meg2)
    assert "'npho' has 212 values per event, expected 4760 for detector meg2" in texts(other, "error")

    def strip(columns: Columns) -> None:
        npho = columns.pop("npho")
        columns["relative_npho"] = npho / npho.max(axis=1, keepdims=True)
        for name in list(columns):
            if name not in ("relative_npho", "relative_time"):
                del columns[name]

    stripped = check_files(write(strip), mini)
    assert stripped.usable
    assert "train with data.npho_branch relative_npho" in texts(stripped, "warning")
    assert "no branch run and event" in texts(stripped, "warning")
    assert "no truth" in texts(stripped, "warning")
    no_time = check_files(write(lambda columns: columns.pop("relative_time")), mini)
    assert "no branch 'relative_time'; branches: npho, emiAng" in texts(no_time, "error")


def test_jagged_branches_and_broken_files_are_problems(mini: Detector, write: Write, tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "jagged.root") as file:
        file.mktree("tree", {"npho": "var * float32", "relative_time": ("f4", (212,))})
        file["tree"].extend({"npho": ak.Array([[1.0, 2.0], [3.0]]), "relative_time": np.zeros((2, 212), "f4")})
    (tmp_path / "broken.root").write_bytes(write(name="whole.root").read_bytes()[:20_000])
    (tmp_path / "text.root").write_text("no file of ROOT")
    report = check_files(tmp_path, mini)
    assert not report.usable
    assert "write 'npho[212]/F'" in texts(report, "error")
    broken = {Path(problem.where).name for problem in report.problems if problem.level == "error"}
    assert broken == {"jagged.root", "broken.root", "text.root"}
    assert report.totals.num_events == 300


def test_small_baskets_are_noticed(mini: Detector, events: Events, tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "small.root", compression=uproot.ZLIB(1)) as file:
        file.mktree("tree", {name: np.dtype((events[name].dtype, events[name].shape[1:])) for name in events.fields})
        for start in range(60):
            file["tree"].extend(dict(events[start : start + 1].columns))
    report = check_files(tmp_path / "small.root", mini)
    assert "branch 'npho': 1 events per basket" in texts(report, "warning")
    assert "ZLIB(1)" in report.text


def test_duplicates_and_overlap_are_found(mini: Detector, write: Write) -> None:
    def twice(columns: Columns) -> None:
        columns["event"][10:20] = columns["event"][:10]

    first, second = write(twice, "first.root"), write(lambda columns: columns["run"].fill(9), "second.root")
    report = check_files([first, second], mini)
    assert report.facts["duplicates"] == {"within": {str(first): 10, str(second): 0}, "across": 0}
    assert "10 events are there again (run, event): (5, 0), (5, 1), (5, 2), ..." in texts(report, "warning")
    third = write(name="third.root")
    assert check_files([first, third], mini).facts["duplicates"]["across"] == 290
    report = check_files([first, second], mini, against=third)
    assert report.facts["overlap"] == {str(third): {str(first): 290, str(second): 0}}
    assert f"290 events are also in {third}" in texts(report, "error")


def test_memory_does_not_grow_with_the_file(mini: Detector, tmp_path: Path) -> None:
    """Blocks of 1000 events are looked at one after the other: never the whole file at once."""
    import tracemalloc

    peaks = []
    rng = np.random.default_rng(0)
    for count in (2_000, 16_000):
        path = tmp_path / f"{count}.root"
        portions = (rng.random((1000, 212), np.float32) * 100 for _ in range(0, count, 1000))
        events = (Events({"npho": npho, "relative_time": npho * np.float32(1e-9)}) for npho in portions)
        write_events(events, path, compression="none")
        tracemalloc.start()
        check_files(path, mini)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


def run(*argv: str | Path) -> int:
    with pytest.raises(SystemExit) as stop:
        main(list(map(str, argv)))
    return int(stop.value.code or 0)


def test_the_command(mini: Detector, write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(lambda columns: columns["npho"].__setitem__((slice(None), [3, 50]), 1e10))
    dead, facts = tmp_path / "dead.txt", tmp_path / "facts.json"
    options = ("--detector", "mini", "--dead-channels", dead, "--json-file", facts)
    assert run(path, *options) == 0
    assert "2 of 212 are dead" in capsys.readouterr().out
    assert read_dead_channels(dead, mini.num_sensors).tolist() == [3, 50]
    assert json.loads(facts.read_text())["sensors"]["dead"] == [3, 50]
    assert run(path, *options) == 2
    assert "facts.json exists" in capsys.readouterr().err
    assert run(path, *options, "--overwrite") == 0
    assert run(path) == 1  # of another detector
    assert run(tmp_path / "none.root") == 2
    assert "no such file" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.part"))


def test_the_tables_of_the_documentation_are_those_of_the_package(meg2: Detector) -> None:
    text = DOCS.read_text()
    rows = []
    for name in SCHEMA.names("reading", "truth", "identifier"):
        column = SCHEMA[name]
        width = "one per sensor" if column.width == SENSOR else column.width
        rows.append(f"| `{name}` | {width} | {column.dtype} | {column.unit} | {column.meaning} |")
    assert "\n".join(rows) in text
    assert meg2.summary() in text


def test_the_code_of_the_documentation_runs(meg2: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for block in re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL):
        exec(compile(block, DOCS.name, "exec"), {})
    assert sorted(os.listdir()) == ["from_python.root", "rewritten.root"]
    assert Events.read("rewritten.root", columns=["npho", "emiAng", "event"]) == Events.read(
        "from_python.root", columns=["npho", "emiAng", "event"]
    )
    report = check_files("from_python.root", meg2)
    assert report.usable
    assert report.totals.dead.tolist() == [17, 4321]
