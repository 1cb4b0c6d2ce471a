"""A question about the options is answered at once: settings need none of the libraries that do the work."""

from __future__ import annotations

import configparser
import subprocess
import sys
from pathlib import Path

import pytest

import xecgnn

SETUP = configparser.ConfigParser()
SETUP.read(Path(__file__).parents[2] / "setup.cfg")
COMMANDS = dict(line.split(" = ") for line in SETUP["options.entry_points"]["console_scripts"].strip().splitlines())
LIGHT = {"annotated_types", "dotenv", "pydantic", "pydantic_core", "pydantic_settings", "typing_extensions"}
LIGHT |= {"typing_inspection", "yaml"}

CODE = """
import contextlib, importlib, sys
before = set(sys.modules)  # a virtual environment may import some by itself
module, function = sys.argv[1].split(":")
main = getattr(importlib.import_module(module), function)
config = ["angle.yaml"] if "CONFIG" in sys.argv[2:] else []
wrong = [["--nosuch", "1"], *(["--training.lr", "fast"] for _ in config)]
for argv in (["--help"], ["--version"], *([*config, *options] for options in wrong)):
    with contextlib.suppress(SystemExit):
        main(argv)
found = {name.partition(".")[0] for name in set(sys.modules) - before}
third = {name for name in found if "site-packages" in (getattr(sys.modules.get(name), "__file__", None) or "")}
print(*sorted(third), file=sys.stderr)
"""


DRAWN = """
import sys
from xecgnn.cli.display import main
main([sys.argv[1], "--detector", "mini", "--event", "0", "--output", sys.argv[2]])
print("torch" in sys.modules)
"""


def test_an_event_without_predictions_is_drawn_without_torch(mini_files: Path, tmp_path: Path) -> None:
    call = [sys.executable, "-c", DRAWN, mini_files / "data/val/a.root", tmp_path / "event.html"]
    assert subprocess.run(call, capture_output=True, text=True, check=True).stdout == "False\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_and_wrong_options_import_only_settings(command: str) -> None:
    config = ["CONFIG"] if command in ("xecgnn-train", "xecgnn-pretrain", "xecgnn-inpaint") else []
    call = [sys.executable, "-c", CODE, COMMANDS[command], *config]
    out = subprocess.run(call, capture_output=True, text=True, check=True)
    assert "usage: " + command in out.stdout
    assert f"{command}: xecgnn {xecgnn.__version__}" in out.stdout
    assert out.stderr.count("unknown option --nosuch") == 1
    assert set(out.stderr.splitlines()[-1].split()) <= LIGHT
