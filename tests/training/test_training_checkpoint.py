"""A checkpoint is what was written, or is refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import xecgnn
from xecgnn.config import load_config
from xecgnn.provenance import content_hash
from xecgnn.training.checkpoint import HASH, KEY, PREFIX, describe_run, read_checkpoint, sealed
from xecgnn.training.kinds import build_model
from xecgnn.training.resume import find_start, load_weights

SMALL = {"detector": "mini", "model.encoder_dim": 32, "model.hex_dim": 8, "model.num_heads": 4, "model.hidden_dim": 8}


@pytest.fixture(scope="module")
def content() -> dict[str, Any]:
    config = load_config("angle", SMALL)
    model = build_model(config)
    weights = {PREFIX + name: values for name, values in model.state_dict().items()}
    run = describe_run("regression", config.model_dump(mode="json"), model.detector)
    return sealed({"state_dict": weights, "epoch": 3, "optimizer_states": [{"lr": 1e-3}], KEY: run})


Change = Callable[[dict[str, Any]], None]


def nan_weight(checkpoint: dict[str, Any]) -> None:
    checkpoint["state_dict"] = {**checkpoint["state_dict"], PREFIX + "normalizer.npho_scale": torch.tensor(torch.nan)}


CHANGES: dict[str, Change] = {
    "a weight": nan_weight,
    "the epoch": lambda checkpoint: checkpoint.update(epoch=4),
    "the optimiser": lambda checkpoint: checkpoint.update(optimizer_states=[{"lr": 1e-2}]),
    "a setting": lambda checkpoint: checkpoint[KEY]["config"]["model"].update(token_pooling="average"),
    "the kind": lambda checkpoint: checkpoint[KEY].update(kind="a kind"),
    "a position": lambda checkpoint: checkpoint[KEY].update(position=checkpoint[KEY]["position"] + 1e-3),
    "no weights": lambda checkpoint: checkpoint.pop("state_dict"),
    "the hash": lambda checkpoint: checkpoint[KEY].update({HASH: 0}),
    "no settings": lambda checkpoint: checkpoint[KEY].pop("config"),
    "no run": lambda checkpoint: checkpoint.update({KEY: 5}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_changed_is_refused_everywhere(content: dict[str, Any], change: str, tmp_path: Path) -> None:
    path = tmp_path / "changed.pth"
    torch.save(content, path)
    checkpoint = torch.load(path)
    CHANGES[change](checkpoint)
    torch.save(checkpoint, path)
    for use in (xecgnn.load_model, xecgnn.load_predictor, lambda path: find_start(start(path), "regression")):
        with pytest.raises(ValueError, match=r"changed\.pth: damaged") as found:
            use(path)
        assert "\n" not in str(found.value)


def start(path: Path) -> Any:
    return load_config("angle", {"checkpoint.resume_from": str(path)})


@pytest.mark.parametrize("weights", [{"state_dict": 5}, {1: torch.zeros(2)}, {"state_dict": {"a": 1}}, {}])
def test_bare_weights_that_are_none_are_one_line(weights: dict[Any, Any], tmp_path: Path) -> None:
    torch.save(weights, tmp_path / "bare.pth")
    config = load_config("angle", SMALL | {"checkpoint.init_from": str(tmp_path / "bare.pth")})
    _, found = find_start(config, "regression")
    with pytest.raises(ValueError, match=r"^(expected weights by name, found int|no weight of the checkpoint fits.*)$"):
        load_weights(build_model(config), found.checkpoint)


def test_no_byte_changes_a_number_without_a_word(content: dict[str, Any], tmp_path: Path) -> None:
    path, rng = tmp_path / "changed.pth", np.random.default_rng(0)
    torch.save(content, path)
    intact, expected = path.read_bytes(), content_hash(read_checkpoint(path))
    clean = 0
    for _ in range(60):
        changed = bytearray(intact)
        changed[rng.integers(len(intact))] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        try:
            assert content_hash(read_checkpoint(path)) == expected
        except ValueError:
            clean += 1
    assert clean > 30


def test_a_checkpoint_of_before_is_taken_with_a_warning(
    content: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = content | {KEY: {name: value for name, value in content[KEY].items() if name != HASH}}
    torch.save(before, tmp_path / "before.pth")
    xecgnn.load_model(tmp_path / "before.pth")
    assert "has no hash of its content" in caplog.text
    assert sealed(before)[KEY][HASH] == content[KEY][HASH]
