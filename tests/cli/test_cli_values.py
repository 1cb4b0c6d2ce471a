"""Values on a command line mean what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from xecgnn.cli.command import parse_command
from xecgnn.config import TrainConfig
from xecgnn.inference.config import InferConfig


def train(*argv: str) -> TrainConfig:
    return parse_command(TrainConfig, ["angle", *argv], prog="xecgnn-train", description="", config=True)[0]


@pytest.mark.parametrize("text", ["-1e-1", "-.5", "-5", "-1.5E+3", "-1e-9"])
def test_negative_numbers(text: str) -> None:
    assert train("--time_shift", text).normalization.time_shift == float(text)
    assert train(f"--normalization.time_shift={text}").normalization.time_shift == float(text)


@pytest.mark.parametrize("name", ["a*b", "a[1]", "[1]", "{a,b}", "a,b", "a b", "a:b", " a", "{}", "[]", "ä,"])
def test_names_of_files(name: str) -> None:
    argv = ["--onnx", name, "--input", name, "other.root", "--output", name]
    config, _ = parse_command(InferConfig, argv, prog="xecgnn-infer", description="")
    assert config.input == [name, "other.root"]
    assert config.output == config.onnx == Path(name)
    run = train("--train_path", name, "b.root", "--val_path", name, "--run_name", name)
    assert run.data.train_path == [name, "b.root"]
    assert run.data.val_path == [name]
    assert run.run_name == name


def test_other_lists_are_as_they_were() -> None:
    assert train("--test_path", "null").data.test_path is None
    assert train("--test_path", "a.root").data.test_path == ["a.root"]
    assert train("--model.depths", "1", "2").model.depths == train("--model.depths", "[1, 2]").model.depths
