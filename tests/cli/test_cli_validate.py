from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import xecgnn
from xecgnn.cli.check import CheckConfig
from xecgnn.cli.check import main as check
from xecgnn.cli.validate import ValidateConfig
from xecgnn.cli.validate import main as validate
from xecgnn.data import Events, write
from xecgnn.provenance import file_hash


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    true = rng.uniform(0.015, 0.06, 200).astype("float32")
    columns = {"run": np.full(200, 1), "event": np.arange(200), "energyTruth": true, "EGamma": true * 1.05}
    columns["pred_energyTruth"] = true * rng.normal(1, 0.02, 200)
    path = tmp_path / "out.root"
    write(Events(columns), path, notes={"model_hash": "abc"})
    return path


@pytest.fixture
def failure(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """The line on stderr of a call that ends with exit code 2."""

    def call(command: Callable[[list[str]], None], *argv: object) -> str:
        with pytest.raises(SystemExit) as stop:
            command([str(argument) for argument in argv])
        assert stop.value.code == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        return error

    return call


def test_validate_writes_beside_the_input(predictions: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "xecgnn"):
        validate(["--input", str(predictions), "--reference", "energyTruth=EGamma"])
    folder = predictions.parent / "validation_out"
    assert {path.name for path in folder.iterdir()} == {f"validation.{ending}" for ending in ("pdf", "json", "md")}
    assert (folder / "validation.md").read_text() in caplog.text
    content = (folder / "validation.pdf").read_bytes()
    assert len(re.findall(rb"/Type /Page\b", content)) == 5  # numbers, predictions, residuals, profiles, EGamma
    assert b"/Type3" not in content
    facts = json.loads((folder / "validation.json").read_text())
    assert (facts["model_hash"], facts["input_sha256"]) == ("abc", file_hash(predictions))
    assert facts["made_by"]["versions"].startswith(f"xecgnn {xecgnn.__version__}")
    assert facts["input_sha256"] in (folder / "validation.md").read_text()
    numbers = facts["tasks"]["energy"]["residuals"]
    assert numbers["EGamma"]["energy_resolution_68"]["value"] == pytest.approx(5, rel=1e-3)


def test_mistakes_are_one_line(predictions: Path, tmp_path: Path, failure: Callable[..., str]) -> None:
    assert "no such file" in failure(validate, "--input", tmp_path / "none.root")
    assert "no branch 'E'" in failure(validate, "--input", predictions, "--reference", "energyTruth=E")
    (tmp_path / "text.root").write_text("no file of ROOT")
    assert "not a ROOT file" in failure(validate, "--input", predictions, "--compare", tmp_path / "text.root")
    assert "input" in failure(validate, "--output-dir", tmp_path)
    assert "FILES" in failure(check, "--detector", "mini")
    assert "no detector 'mega'" in failure(check, predictions, "--detector", "mega")
    assert not (tmp_path / "validation_out").exists()


@pytest.mark.parametrize(("command", "settings"), [(validate, ValidateConfig), (check, CheckConfig)])
def test_help_explains_every_option(
    command: Callable[[list[str]], None], settings: type, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        command(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    for name, option in settings.model_fields.items():
        assert " ".join(option.description.split()) in text, name
