"""What README and docs say can be done is done: every fenced block says in a comment above it what becomes of it here.

run: executed word for word, in a folder with small files of the documented names (slow tests). long, cluster: too long,
or for another machine; every option of every line has to exist (of `run` as well). root: lines of a macro, run where
there is ROOT (slow). shown: a picture or what is printed.
"""

from __future__ import annotations

import ast
import logging
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from xecgnn.cli import command as commands
from xecgnn.config import load_config
from xecgnn.data import write
from xecgnn.data.config import ReaderConfig
from xecgnn.data.reader import TreeReader
from xecgnn.detector import Detector
from xecgnn.names import FEATURES
from xecgnn.settings import parse_yaml
from xecgnn.simulation import simulate_events
from xecgnn.training.checkpoint import KEY, PREFIX, describe_run, sealed
from xecgnn.training.kinds import build_model

ROOT = Path(__file__).parents[1]
PLACES = ("*.md", "docs/*.md", "examples/**/*.md", "benchmarks/*.md")
DOCUMENTS = sorted(path for place in PLACES for path in ROOT.glob(place))
TAGS = ("run", "long", "cluster", "root", "shown")
ENTRY = re.compile(r"^\s*(xecgnn-\w+) = (\S+):(\w+)$", re.M)
ENTRIES = {name: (module, function) for name, module, function in ENTRY.findall((ROOT / "setup.cfg").read_text())}


class Block(NamedTuple):
    """A fenced block: where it is, the word in the comment above it, its language and its text."""

    where: str
    tag: str
    language: str
    text: str

    @property
    def lines(self) -> Iterator[tuple[str, str]]:
        """Command lines, each with what is shown below it as printed."""
        text = self.text if self.language == "console" else re.sub("^", "$ ", self.text, flags=re.M)
        for part in re.split(r"^\$ ", text, flags=re.M)[1:]:
            line, _, printed = part.partition("\n")
            if line.strip():
                yield line, printed.strip()


def blocks(path: Path) -> list[Block]:
    found, lines = [], path.read_text().splitlines()
    fences = [number for number, line in enumerate(lines) if line.startswith("```")]
    for start, end in zip(fences[::2], fences[1::2], strict=True):
        above = re.fullmatch(r"<!-- (\w+) -->", lines[start - 1])
        where = f"{path.relative_to(ROOT)}:{start + 1}"
        found.append(Block(where, above[1] if above else "", lines[start][3:], "\n".join(lines[start + 1 : end])))
    return found


BLOCKS = [block for path in DOCUMENTS for block in blocks(path)]
NAMES = [block.where for block in BLOCKS]


@pytest.fixture
def dry(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[list[str]], str]:
    """Parses a command line of ours and stops; what it had to say of it."""
    parse = commands.parse_command

    def parsed(*arguments: object, **options: object) -> object:
        parse(*arguments, **options)  # type: ignore[arg-type]
        raise SystemExit(0)

    def call(words: list[str]) -> str:
        module, function = ENTRIES[words[0]]
        with pytest.raises(SystemExit) as stop:
            getattr(import_module(module), function)(words[1:])
        said = capsys.readouterr().err
        assert bool(stop.value.code) == bool(said), said
        return said.strip()

    monkeypatch.setattr(commands, "parse_command", parsed)
    return call


def check_line(line: str, printed: str, dry: Callable[[list[str]], str]) -> None:
    words = shlex.split(line, comments=True)
    if not words:
        return
    if words[0] in ENTRIES:
        assert dry(words) == printed
    elif words[0] == "python":
        script = (ROOT / words[1]).read_text()
        ast.parse(script)
        for option in (word for word in words[2:] if word.startswith("--")):
            assert f'"{option}"' in script, option
    elif words[0].startswith("bin/"):
        subprocess.run(["bash", "-n", ROOT / words[0]], check=True)
    else:
        assert shutil.which(words[0], path=f"{Path(sys.executable).parent}:{os.environ['PATH']}"), words[0]


@pytest.mark.parametrize("block", BLOCKS, ids=NAMES)
def test_every_block_says_what_it_is_and_every_line_exists(
    block: Block, dry: Callable[[list[str]], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert block.tag in TAGS, f"{block.where}: <!-- {' | '.join(TAGS)} --> is missing above the block"
    monkeypatch.chdir(ROOT)
    if block.tag in ("root", "shown"):
        return
    if block.language == "python":
        ast.parse(block.text)
    elif block.language == "yaml":
        load_config("angle", parse_yaml(block.text, block.where))
    else:
        assert block.language in ("bash", "console")
        for line, printed in block.lines:
            check_line(line, printed, dry)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_option_in_a_sentence_exists(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known = set()
    for name, (module, function) in ENTRIES.items():
        for argv in (["--help"], *([["--verify", "--help"]] if name == "xecgnn-export" else [])):
            with pytest.raises(SystemExit):
                getattr(import_module(module), function)(argv)
            known |= set(re.findall(r"--[\w.-]+", capsys.readouterr().out))
    scripts = [*ROOT.glob("bin/*"), *ROOT.glob("benchmarks/*.py")]
    known |= {option for script in scripts for option in re.findall(r"--[a-z][\w-]+", script.read_text())}
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.M | re.S)
    if path.name == "CHANGELOG.md":
        text = text.split("### Changed")[0]  # what is gone is named there
    for span in re.findall(r"`([^`\n]+)`", text):
        for option in re.findall(r"(?<!\S)--[a-z][\w.-]*", span):
            assert {option, option.replace("_", "-")} & known, f"{path.name}: `{span}`"


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder on a cluster whose sbatch prints what it is asked to run."""
    sbatch = tmp_path / "bin/sbatch"
    sbatch.parent.mkdir()
    sbatch.write_text('#!/bin/sh\nfor word; do case "$word" in --wrap=*) echo "${word#--wrap=}";; esac; done\n')
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", f"{sbatch.parent}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.tag == "cluster"], ids=lambda block: block.where)
def test_what_a_cluster_would_run_exists(block: Block, cluster: Path, dry: Callable[[list[str]], str]) -> None:
    for line, _ in block.lines:
        call = ["bash", "-c", line.replace("bin/", f"{ROOT}/bin/", 1)]
        words = shlex.split(subprocess.run(call, capture_output=True, text=True, check=True).stdout)
        names = [Path(word).name for word in words]
        start = next(number for number, name in enumerate(names) if name in ENTRIES)
        assert dry([names[start], *words[start + 1 :]]) == ""


@pytest.fixture(scope="module")
def workplace(meg2: Detector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small files under the names that the documents use."""
    folder = tmp_path_factory.mktemp("documents")
    events = simulate_events(meg2, 64, seed=1)
    files = ["data/train/a.root", "data/val/a.root", "rec/a.root", "artifacts/run1/worst_events_run1.root"]
    for name in [*files, "DataGammaAngle_400000-401999.root"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    write(events[:40], folder / files[0])
    for name in [*files[1:], "DataGammaAngle_400000-401999.root"]:
        write(events[40:], folder / name)
    small = {"encoder_dim": 32, "hex_dim": 8, "num_heads": 4, "depths": [1, 1], "hex_depth": 1, "num_fusion_layers": 1}
    config = load_config("angle", {"model": small | {"hidden_dim": 16}})
    model = build_model(config)
    weights = {PREFIX + name: values for name, values in model.state_dict().items()}
    run = describe_run("regression", config.model_dump(mode="json"), meg2)
    for name in ("demo", "run1"):
        (folder / "artifacts" / name).mkdir(exist_ok=True)
        torch.save(sealed({"state_dict": weights, KEY: run}), folder / f"artifacts/{name}/checkpoint_best.pth")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_can_run_runs_word_for_word(path: Path, workplace: Path) -> None:
    env = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    env["PYTHONPATH"] = str(ROOT)
    for block in blocks(path):
        if block.tag != "run" or block.language == "yaml":
            continue
        calls = [(["bash", "-euc", line], printed) for line, printed in block.lines if line]
        for call, printed in [([sys.executable, "-c", block.text], "")] if block.language == "python" else calls:
            logging.info("%s: %s", block.where, call[-1])
            found = subprocess.run(call, cwd=workplace, env=env, capture_output=True, text=True, timeout=1800)
            assert found.returncode == 0 or printed, f"{block.where}: {call[-1]}\n{found.stderr[-2000:]}"
            assert printed in found.stdout + found.stderr


MACRO = """
import ROOT
ROOT.gInterpreter.Declare(R'''
void write_tree() {
  TFile file("macro.root", "RECREATE");
  TTree* tree = new TTree("tree", "");
  static float npho[4760], relative_time[4760], emiAng[2], energyTruth;
  int run = 1, event = 0;
  LINES
  for (; event < 1600; event++) tree->Fill();
  file.Write();
}''')
ROOT.write_tree()
"""


@pytest.mark.slow
@pytest.mark.parametrize("block", [block for block in BLOCKS if block.tag == "root"], ids=lambda block: block.where)
def test_a_macro_makes_baskets_of_500_events(block: Block, tmp_path: Path) -> None:
    if not find_spec("ROOT"):
        pytest.skip("needs ROOT")
    code = MACRO.replace("LINES", block.text.replace("\n", "\n  "))
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True)
    with TreeReader(tmp_path / "macro.root", ReaderConfig()) as reader:
        assert reader.scan(FEATURES).baskets.tolist() == [0, 500, 1000, 1500, 1600]
