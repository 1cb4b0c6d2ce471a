"""Damaged checkpoints: what becomes of a network, a prediction, and runs that go on or begin with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import xecgnn
from fault_injection.mutations import mutated_bytes
from fault_injection.outcome import Outcome, classify
from xecgnn.cli.train import main as train
from xecgnn.config import TrainConfig, load_config
from xecgnn.data import Events, write
from xecgnn.detector import load_detector
from xecgnn.names import FEATURES
from xecgnn.provenance import content_hash
from xecgnn.simulation import simulate_events
from xecgnn.training.kinds import build_model
from xecgnn.training.resume import find_start, load_weights

EVENTS = 16
ENDS = 50_000  # bytes
SMALL = {
    "detector": "mini", "model.encoder_dim": 32, "model.hex_dim": 8, "model.num_heads": 4, "model.depths": [1, 1],
    "model.hex_depth": 1, "model.num_fusion_layers": 1, "model.hidden_dim": 16, "data.num_workers": 0,
    "data.batch_size": EVENTS, "training.epochs": 1, "training.device": "cpu", "logging.mlflow": False,
    "logging.tensorboard": False, "logging.progress_bar": False, "evaluation.worst_events": 0,
    "evaluation.saliency_events": 0,
}  # fmt: skip


def outcomes(folder: Path, number: int, seed: int) -> Iterator[Outcome]:
    """Each damage is met by every reader."""
    content, events = trained(folder).read_bytes(), simulate_events(load_detector("mini"), EVENTS, seed=2)
    path = folder / "damaged.pth"
    path.write_bytes(content)
    readers = _readers(path, events)
    expected = {name: run() for name, run in readers.items()}
    for case in range(number):
        changed, how = damaged(content, case, seed)
        path.write_bytes(changed)
        for name, run in readers.items():
            kind, text = classify(run, expected[name])
            yield Outcome(f"checkpoint: {name}", kind, f"number {case}, {how}", text)


def damaged(content: bytes, case: int, seed: int) -> tuple[bytes, str]:
    """Damage anywhere, near the beginning and near the end, where the structure of the file is, in turn."""
    size = len(content)
    start, stop = ((0, size), (0, ENDS), (size - ENDS, size))[case % 3]
    changed, how = mutated_bytes(content[start:stop], np.random.default_rng([seed, case]))
    return content[:start] + changed + content[stop:], f"{how} from {start}"


def trained(folder: Path) -> Path:
    """A checkpoint as a training of one epoch leaves it."""
    data = folder / "data.root"
    write(simulate_events(load_detector("mini"), 2 * EVENTS, seed=1), data)
    paths = {"data.train_path": [str(data)], "data.val_path": [str(data)], "checkpoint.artifacts_dir": str(folder)}
    options = [text for name, value in (SMALL | paths).items() for text in (f"--{name}", *_texts(value))]
    train(["angle.yaml", "--run_name", "run", *options])
    return folder / "run/checkpoint_last.pth"


def _texts(value: Any) -> list[str]:
    return [*map(str, value)] if isinstance(value, list) else [str(value)]


def _readers(path: Path, events: Events) -> dict[str, Callable[[], object]]:
    readings = xecgnn.Readings.of(events)
    runs = {"load_model": partial(_load, path, readings), "load_predictor": partial(_predict, path, events)}
    return runs | {"resume": partial(_resume, path), "init": partial(_init, path)}


def _load(path: Path, readings: xecgnn.Readings) -> bytes:
    with torch.inference_mode():
        return xecgnn.load_model(path)(readings)["angle"].numpy().tobytes()


def _predict(path: Path, events: Events) -> bytes:
    return xecgnn.load_predictor(path).predict(*(events[name] for name in FEATURES))["angle"].tobytes()


def _resume(path: Path) -> str:
    """What a run would go on with."""
    _, start = find_start(load_config("angle", {"checkpoint.resume_from": str(path)}), "regression")
    return f"{start.continues} {content_hash(start.checkpoint)}"


def _init(path: Path) -> str:
    """The weights that a run would begin with."""
    config: TrainConfig = load_config("angle", {**SMALL, "checkpoint.init_from": str(path)})
    config, start = find_start(config, "regression")
    torch.manual_seed(0)
    model = build_model(config)
    load_weights(model, start.checkpoint, config.model_dump(mode="json"))
    return content_hash(model.state_dict())
