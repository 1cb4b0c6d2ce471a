from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from xecgnn.cli.check import CheckConfig
from xecgnn.cli.command import ALIASES, parse_command
from xecgnn.cli.train import main
from xecgnn.config import InpaintConfig, PretrainConfig, RunConfig, TrainConfig, load_config
from xecgnn.settings import ConfigError

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


CLASSES: dict[str, type[RunConfig]] = {"pretrain": PretrainConfig, "inpaint": InpaintConfig}  # all others: TrainConfig


def parse(*argv: str, cls: type[RunConfig] = TrainConfig) -> Any:
    return parse_command(cls, argv, prog="xecgnn-train", description="", config=True)[0]


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text("training: {lr: 1e-3, epochs: 7}\ndata: {train_path: a.root}\n")
    return str(path)


def test_options_win_over_the_file_and_the_file_over_defaults(file: str) -> None:
    before = Path(file).read_bytes()
    config = parse(file, "--training.epochs", "3", "--data.batch_size", "8")
    assert (config.training.epochs, config.training.lr, config.data.batch_size) == (3, 1e-3, 8)
    assert config.training.weight_decay == TrainConfig().training.weight_decay
    assert Path(file).read_bytes() == before


@pytest.mark.parametrize(("path", "flag"), ALIASES.items())
def test_short_flags_are_the_long_ones(file: str, path: str, flag: str) -> None:
    group, name = path.split(".")
    cls = TrainConfig if group in TrainConfig.model_fields else PretrainConfig
    default = getattr(getattr(cls(), group), name)
    value = (
        "split"
        if flag == "outer_mode"
        else "0.25"
        if isinstance(default, float)
        else "3"
        if isinstance(default, int)
        else "b.root"
    )
    assert parse(file, f"--{flag}", value, cls=cls) == parse(file, f"--{path}", value, cls=cls)
    assert parse(file, f"--{flag}", value, cls=cls) != parse(file, cls=cls)


def test_lists_take_several_values(file: str) -> None:
    assert parse(file, "--train_path", "a.root", "b.root", "c.root", "--lr", "1e-4").data.train_path == [
        "a.root",
        "b.root",
        "c.root",
    ]


def test_null_and_false(file: str) -> None:
    config = parse(file, "--training.max_lr", "null", "--logging.mlflow", "false")
    assert config.training.max_lr is None
    assert config.logging.mlflow is False


def test_underscores_are_as_good_as_dashes() -> None:
    argv = ["a.root", "b.root", "--dead_channels", "ids.txt", "--no_overwrite", "--against", "c.root", "d.root"]
    settings = parse_command(CheckConfig, argv, prog="xecgnn-check", description="")[0]
    assert (settings.files, settings.dead_channels) == (["a.root", "b.root"], Path("ids.txt"))
    assert (settings.overwrite, settings.against) == (False, ["c.root", "d.root"])


def test_normalisation_follows_the_branch(file: str) -> None:
    constants = parse(file, "--data.npho_branch", "relative_npho", "--time_shift", "0.7").normalization
    assert (constants.npho_scale, constants.time_scale, constants.sentinel_value) == (0.58, 6.5e-8, -5.0)
    assert constants.time_shift == 0.7


def test_tasks_enables_exactly_those_named(file: str) -> None:
    tasks = parse(file, "--tasks", "energy", "uvwFI", "--lr", "1e-4").tasks
    assert [name for name in type(tasks).model_fields if getattr(tasks, name).enabled] == ["energy", "uvwFI"]


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"training": {"epoch": 3}}, "training.epoch: unknown key; did you mean 'epochs'?"),
        ({"format": 1}, "format: should be 4, found 1"),
        ({"trainig": {}}, "trainig: unknown key; did you mean 'training'?"),
        (
            {"training": {"lr": "fast"}},
            "training.lr: should be a valid number, unable to parse string as a number, found 'fast'",
        ),
        ({"training": {"epochs": 0}}, "training.epochs: should be greater than or equal to 1, found 0"),
        (
            {"training": {"scheduler": "cos"}},
            "training.scheduler: should be 'cosine', 'onecycle', 'plateau' or 'none', found 'cos'",
        ),
    ],
)
def test_mistakes_in_the_file_are_one_line(tmp_path: Path, values: dict, line: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(ConfigError) as error:
        load_config(path)
    assert str(error.value) == line


def test_an_option_of_no_section_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text("training: 3")
    with pytest.raises(ConfigError, match="training: expected a section, found 3"):
        parse(str(path), "--lr", "1e-4")
    path.write_text("training:")
    assert parse(str(path), "--lr", "1e-4").training.lr == 1e-4


class Outcome(NamedTuple):
    code: int
    stdout: str
    stderr: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Calls `xecgnn-train` in this process: a new one would import torch again."""

    def call(*argv: str) -> Outcome:
        with pytest.raises(SystemExit) as stop:
            main(argv)
        return Outcome(stop.value.code, *capsys.readouterr())

    return call


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["--lr", "1", "angle.yaml"], "xecgnn-train: the config file comes first: xecgnn-train CONFIG [options]"),
        (["elsewhere/angle.yaml"], "error: config 'elsewhere/angle.yaml' not found"),
        (["nosuch.yaml"], "error: config 'nosuch.yaml' not found; shipped configs: "),
        (["angle.yaml", "--traning.lr", "1"], "xecgnn-train: unknown option --traning.lr; did you mean --training.lr?"),
        (["angle.yaml", "--lr", "-1"], "error: training.lr: should be greater than 0, found '-1'"),
        (["angle.yaml", "--tasks", "angel"], "xecgnn-train: --tasks: unknown task 'angel'; known tasks: angle"),
    ],
)
def test_mistakes_on_the_command_line_are_one_line(argv: list[str], line: str, run: Callable[..., Outcome]) -> None:
    out = run(*argv)
    assert out.code == 2
    assert out.stderr.startswith(line)
    assert out.stderr.count("\n") == 1


def test_help_explains_every_option(run: Callable[..., Outcome]) -> None:
    text = " ".join(run("--help").stdout.split())
    for group, field in TrainConfig.model_fields.items():
        nested = getattr(field.annotation, "model_fields", {})
        for name, option in nested.items():
            if not hasattr(option.annotation, "model_fields"):
                assert f"--{group}.{name}" in text
                assert option.description
                assert " ".join(option.description.split()) in text


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_print_config_can_be_read_back(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cls = CLASSES.get(path.stem, TrainConfig)
    with pytest.raises(SystemExit) as stop:
        parse(str(path), "--print-config", cls=cls)
    assert stop.value.code == 0
    printed = tmp_path / "printed.yaml"
    printed.write_text(capsys.readouterr().out)
    assert load_config(printed, cls=cls) == load_config(path, cls=cls)
