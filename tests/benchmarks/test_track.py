from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import track
from record import Recorder


def line(value: float, name: str = "stack", unit: str = "ratio", better: str = "lower", **other: Any) -> dict[str, Any]:
    facts = {"benchmark": "model", "processor": "p", "threads": 1, "commit": "c"}
    return facts | {"name": name, "value": value, "unit": unit, "better": better} | other


def found(*lines: dict[str, Any]) -> list[tuple[float, float, float]]:
    return [(now["value"], best["value"], pytest.approx(change)) for now, best, change in track.worse(lines)]


def test_the_newest_is_compared_with_the_best_before() -> None:
    assert found(line(1.2), line(1.0), line(1.3)) == [(1.3, 1.0, 0.3)]
    assert found(line(1.0), line(1.3), line(1.05)) == []  # it was worse, and is no more


def test_more_is_better_for_rates() -> None:
    rate = {"unit": "events/s", "better": "higher"}
    assert found(line(100, **rate), line(80, **rate)) == [(80, 100, 0.25)]
    assert found(line(80, **rate), line(100, **rate)) == []
    assert found(line(100, **rate), line(92, **rate)) == []


def test_other_machines_and_figures_are_not_compared() -> None:
    assert found(line(1.0), line(2.0, processor="q"), line(2.0, threads=2), line(2.0, name="step")) == []
    assert found(line(1.0)) == []


def test_rates_do_not_count_beside_ratios() -> None:
    slow = [line(value, name="inference", unit="events/s", better="higher") for value in (100, 50)]
    assert found(*slow) == [(50, 100, 1.0)]
    assert found(*slow, line(1.0), line(1.0)) == []
    assert found(*slow, line(1.0, benchmark="loader"), line(1.0, benchmark="loader")) == [(50, 100, 1.0)]


def test_recorded_lines_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    Recorder("model", enabled=False, folder=tmp_path)("stack", 1.0, "ratio", "lower")
    assert not list(tmp_path.iterdir())
    for value in (1.0, 1.23456):
        Recorder("model", enabled=True, folder=tmp_path)("stack", value, "ratio", "lower")
    file = tmp_path / "model.jsonl"
    last = json.loads(file.read_text().splitlines()[-1])
    assert last["value"] == 1.235
    assert {"benchmark", "name", "unit", "better", "commit", "processor", "threads", "torch", "date"} < last.keys()
    monkeypatch.setattr(sys, "argv", ["track.py", str(file)])
    with pytest.raises(SystemExit, match="1"):
        track.main()
    assert "24%" in capsys.readouterr().out


def test_a_line_that_was_cut_off_is_named(tmp_path: Path) -> None:
    file = tmp_path / "model.jsonl"
    file.write_text(json.dumps(line(1.0)) + "\n" + '{"benchm')
    with pytest.raises(ValueError, match=r"model\.jsonl, line 2"):
        list(track.read([file]))
