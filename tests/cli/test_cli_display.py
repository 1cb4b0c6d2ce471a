from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from xecgnn.cli.display import main
from xecgnn.data import Events, write

Run = Callable[..., str]


@pytest.fixture
def run(mini_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Calls `xecgnn-display` for a small file in an empty folder; returns what it says when it gives up."""
    monkeypatch.chdir(tmp_path)

    def call(*argv: str) -> str:
        code = 0
        try:
            main([str(mini_files / "data/val/a.root"), "--detector", "mini", *argv])
        except SystemExit as stop:
            code = stop.code
        err = capsys.readouterr().err
        assert code == (2 if err.startswith("error: ") else 0)
        return err

    return call


@pytest.fixture
def predictions(mini_files: Path, tmp_path: Path) -> Path:
    events = Events.read(mini_files / "data/val/a.root")
    energy = events.energyTruth * np.linspace(1, 1.5, len(events), dtype=np.float32)
    columns = {name: events[name] for name in ("run", "event", "energyTruth")}
    write(Events(columns | {"pred_energyTruth": energy}), tmp_path / "predictions.root")
    return tmp_path / "predictions.root"


def pages(path: Path) -> int:
    return len(re.findall(rb"/Type /Page\b", path.read_bytes()))


def test_one_event_in_each_format(run: Run, tmp_path: Path) -> None:
    assert run("--event", "3", "--output", "a/event.pdf") == ""
    assert pages(tmp_path / "a/event.pdf") == 1
    assert run("--run", "3", "--event", "5", "--output", "event.png", "--scale", "log") == ""
    assert np.ptp(imread(tmp_path / "event.png")) > 0.5
    assert run("--event", "3", "--output", "event.html") == ""
    assert "run 3, event 3" in (tmp_path / "event.html").read_text(encoding="utf-8")
    assert not list(tmp_path.rglob("*.part"))


def test_the_worst_are_pages_or_files(run: Run, predictions: Path, tmp_path: Path) -> None:
    assert run("--worst", "3", "--predictions", str(predictions), "--output", "worst.pdf", "--scale", "linear") == ""
    assert pages(tmp_path / "worst.pdf") == 3
    assert run("--worst", "2", "--predictions", str(predictions), "--output", "worst.html") == ""
    titles = [re.search(r"run 3, event \d+", (tmp_path / f"worst_{i}.html").read_text()).group() for i in (1, 2)]
    assert titles == ["run 3, event 63", "run 3, event 62"]
    assert not (tmp_path / "worst.html").exists()


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["--event", "64"], r"error: no event 64: .+a.root has 64 events, 0 to 63"),
        (["--run", "4", "--event", "1"], r"error: no run 4, event 1 in .+a.root; runs: 3"),
        (
            ["--event", "1", "--output", "event.svg"],
            r"error: --output event.* ends in '.svg'; allowed: .pdf, .png, .html",
        ),
        (["--event", "1", "--output", "event"], r"error: --output event.* ends in ''; allowed: .pdf, .png, .html"),
        ([], r"error: choose the events with either --event or --worst"),
        (["--worst", "2", "--event", "1"], r"error: choose the events with either --event or --worst"),
        (["--worst", "2"], r"error: the worst events are found in predictions, and none are given"),
        (["--worst", "2", "--run", "3"], r"error: --run 3 needs --event"),
        (["--event", "1", "--predictions", "no.root"], r"error: no such file: no.root"),
        (["--event", "1", "--detector", "meg2"], r"error: .+: branch 'npho' has 212 sensors, the detector has 4760"),
        (["--event", "1", "--scale", "cubic"], r"error: scale: should be 'log', 'linear' or 'both', found 'cubic'"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(run: Run, argv: list[str], line: str, tmp_path: Path) -> None:
    err = run(*argv)
    assert re.fullmatch(line + "\n", err)
    assert not list(tmp_path.iterdir())


def test_no_file_is_replaced_unless_told(run: Run, tmp_path: Path) -> None:
    (tmp_path / "event_2.png").write_text("mine")
    argv = ["--event", "1", "2", "--output", "event.png", "--scale", "log"]
    assert run(*argv) == "error: event_2.png exists; choose another --output, or --overwrite to replace it\n"
    assert [path.name for path in tmp_path.iterdir()] == ["event_2.png"]
    assert run(*argv, "--overwrite") == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["event_1.png", "event_2.png"]
