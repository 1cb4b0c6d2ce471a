"""Two processes are one process with twice the batch: each has its own events, and sums and counts are reduced."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from xecgnn.config import load_config
from xecgnn.data import Events, Readings
from xecgnn.data import write as write_events
from xecgnn.tasks import SampleReweighter
from xecgnn.training.kinds import build_model
from xecgnn.training.objective import RegressionObjective

pytestmark = pytest.mark.slow

BATCH = 16
OPTIONS = [
    "--detector", "mini", "--batch", str(BATCH), "--tasks", "angle", "energy", "--epochs", "2",
    "--reweighting.energy.enabled", "true", "--model.encoder_dim", "32", "--model.hex_dim", "8",
    "--model.hex_depth", "1", "--model.depths", "1", "1", "--model.num_heads", "2", "--model.hidden_dim", "16",
    "--model.fusion_dropout", "0", "--model.head_dropout", "0", "--training.device", "cpu",
    "--logging.progress_bar", "false", "--logging.mlflow", "false", "--logging.tensorboard", "false",
    "--evaluation.worst_events", "0", "--evaluation.saliency_events", "0",
]  # fmt: skip


def write(path: Path, events: Events) -> None:
    """A file in which a good part of the truth is missing, at random."""
    rng = np.random.default_rng(len(events))
    columns = {**events.columns, "event": np.arange(len(events), dtype=np.int32)}
    for name in ("emiAng", "energyTruth"):
        columns[name] = columns[name].copy()
        columns[name][rng.random(len(events)) < 0.6] = np.nan
    write_events(Events(columns), path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, mini_files: Path) -> Path:
    """A training by two processes: rank0.pt and rank1.pt, the run `artifacts/both`, train.root and val.root."""
    folder = tmp_path_factory.mktemp("ranks")
    for name in ("train", "val"):
        write(folder / f"{name}.root", Events.read(mini_files / "data" / name))
    files = ["--train_path", "train.root", "--val_path", "val.root", "--run_name", "both"]
    script = [sys.executable, str(Path(__file__).with_name("two_ranks.py")), str(folder), "angle.yaml"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [*script, *OPTIONS, *files, "--training.num_devices", "2"]
    out = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stderr
    return folder


@pytest.fixture(scope="module")
def ranks(folder: Path) -> list[list[dict[str, Any]]]:
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.fixture(scope="module")
def objective(folder: Path) -> RegressionObjective:
    config = load_config(folder / "artifacts/both/config.yaml")
    objective = RegressionObjective(build_model(config), SampleReweighter(config.reweighting)).double()
    objective.model.backbone.normalizer.register_forward_hook(lambda *call: call[-1].double())  # as in two_ranks.py
    return objective


def test_two_ranks_have_no_event_in_common_and_together_all(folder: Path, ranks: list[list[dict[str, Any]]]) -> None:
    num_events = len(Events.read(folder / "train.root"))
    seen = [[[(step["epoch"], e) for e in step["event"].tolist()] for step in steps] for steps in ranks]
    assert len(seen[0]) == len(seen[1]) == 2 * (num_events // (2 * BATCH))
    for epoch in (0, 1):
        first, second = ([e for batch in batches for e in batch if e[0] == epoch] for batches in seen)
        assert not set(first) & set(second)
        assert len({*first, *second}) == len(first) + len(second) == num_events // (2 * BATCH) * (2 * BATCH)


def test_gradients_of_two_ranks_are_those_of_the_whole_batch(
    folder: Path, ranks: list[list[dict[str, Any]]], objective: RegressionObjective
) -> None:
    events, unequal = Events.read(folder / "train.root"), 0
    for one, other in zip(*ranks, strict=True):
        objective.load_state_dict(one["state"])
        objective.train().zero_grad()
        both = events[torch.cat([one["event"], other["event"]]).numpy()]
        known = np.isfinite(both.energyTruth).reshape(2, -1).sum(1)
        unequal += int(known[0] != known[1])
        objective(Readings.of(both))[0].backward()
        size = torch.cat([parameter.grad.flatten() for parameter in objective.parameters()]).norm()
        for name, parameter in objective.named_parameters():
            assert torch.equal(one["gradient"][name], other["gradient"][name])
            assert ((one["gradient"][name] - parameter.grad).norm() / size).item() < 1e-6, name
    assert unequal > len(ranks[0]) / 2  # or means of means would do as well


def test_validation_counts_the_events_of_both(folder: Path, objective: RegressionObjective) -> None:
    run = folder / "artifacts/both"
    state = torch.load(run / "checkpoint_last.pth", weights_only=True)["state_dict"]
    objective.load_state_dict({k.removeprefix("objective."): v for k, v in state.items()})
    objective.eval()
    events = Events.read(folder / "val.root")
    with torch.no_grad():
        objective.update_metrics(Readings.of(events))
    with (run / "metrics/training_metrics.csv").open() as file:
        logged = list(csv.DictReader(file))[-1]
    for name, value in objective.compute_metrics().items():
        assert float(logged[name]) == pytest.approx(value.item(), rel=1e-4, abs=1e-5), name
