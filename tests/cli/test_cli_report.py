from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from xecgnn.cli.report import ReportConfig, main
from xecgnn.config import TrainConfig

Report = Callable[..., tuple[int, str]]


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Report:
    """Calls `xecgnn-report` in an empty folder; its exit code, and what it says on stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*argv: str) -> tuple[int, str]:
        code = 0
        try:
            main(argv)
        except SystemExit as stop:
            code = stop.code
        return code, "".join(capsys.readouterr())

    return call


def unfinished(name: str, **changes: object) -> Path:
    """The folder of a run with one finished epoch."""
    (Path(name) / "metrics").mkdir(parents=True)
    settings = TrainConfig(run_name=name, detector="mini").model_dump(mode="json") | changes
    (Path(name) / "config.yaml").write_text(yaml.safe_dump(settings))
    (Path(name) / "metrics/training_metrics.csv").write_text("epoch,loss_mean,lr\n0,0.5,0.001\n")
    return Path(name)


def test_a_run_that_has_not_ended_has_its_training_drawn(
    report: Report, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    unfinished("first")
    (unfinished("second") / "validation_results_second.root").write_text("no file of ROOT")
    Path("second/metrics/training_metrics.csv").unlink()
    with caplog.at_level("INFO", "xecgnn"):
        assert report("first", "second")[0] == 0
    lines = "\n".join(caplog.messages).splitlines()
    assert re.match(r"not drawn: .*\(no first/validation_results_first.root: the training has not come to", lines[0])
    assert "  first/metrics/training_report.md" in lines
    assert re.search(r"second/validation_results_second.root: .*not a ROOT file", "\n".join(lines))
    assert "not drawn: training report (second/metrics/training_metrics.csv: no finished epoch)" in lines
    assert len(list((tmp_path / "first/metrics").glob("*.png"))) == 12
    assert not list(tmp_path.rglob("*.pdf"))


@pytest.mark.parametrize("settings", [None, "detector: mini", "- a list", "{"])
def test_a_folder_that_is_no_run_is_one_line_and_nothing_is_drawn(
    report: Report, settings: str | None, tmp_path: Path
) -> None:
    unfinished("good")
    (tmp_path / "other").mkdir()
    if settings:
        (tmp_path / "other/config.yaml").write_text(settings)
    code, error = report("good", "other")
    assert code == 2
    assert re.fullmatch(r"error: other.+\n", error)
    if settings in (None, "detector: mini"):
        line = "other is not the folder of a run: no settings of a training in other/config.yaml"
        assert error == f"error: {line}\n"
    assert not list(tmp_path.rglob("*.png"))


def test_settings_that_cannot_be_used_are_one_line(report: Report, caplog: pytest.LogCaptureFixture) -> None:
    unfinished("run", tasks={"angel": {"enabled": True}})
    assert report("run")[0] == 0
    assert "angel: unknown key; did you mean 'angle'?" in caplog.text


def test_help_says_what_it_does(report: Report) -> None:
    code, text = report("--help")
    text = " ".join(text.split())
    assert code == 0
    assert text.startswith("usage: xecgnn-report RUN [RUN ...]")
    assert str(ReportConfig.model_fields["runs"].description) in text
