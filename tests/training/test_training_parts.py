"""Schedules, EMA, checkpoints and configs, each against its definition."""

from __future__ import annotations

import logging
import math
from itertools import pairwise
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from torch import nn

import xecgnn
from xecgnn.config import InpaintConfig, PretrainConfig, TrainConfig, load_config
from xecgnn.data import Events, Readings
from xecgnn.detector import Detector
from xecgnn.names import INVALID_LIMIT
from xecgnn.nn import Masker
from xecgnn.tasks import SampleReweighter
from xecgnn.training.augment import drop_channels
from xecgnn.training.config import TrainingConfig
from xecgnn.training.ema import WarmEMA
from xecgnn.training.objective import Objective, RegressionObjective
from xecgnn.training.optimizer import build_optimizer
from xecgnn.training.reconstruction import ReconstructionObjective
from xecgnn.training.resume import load_weights
from xecgnn.training.schedule import build_schedule

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
SMALL = {"detector": "mini", "model.encoder_dim": 32, "model.hex_dim": 8, "model.num_heads": 2}


def rates(steps: int, **settings: object) -> list[float]:
    """Learning rate of each of `steps` steps in epochs of 10."""
    config = TrainingConfig(epochs=steps // 10, **settings)
    optimizer = build_optimizer(nn.Linear(8, 8), config)
    schedule = build_schedule(optimizer, config, steps_per_epoch=10)
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if schedule:
            schedule["scheduler"].step()
    return seen


def test_cosine_is_the_formula_of_the_seeds() -> None:
    lr, floor, warmup, total = 1e-3, 1e-5, 20, 100
    seen = rates(total, scheduler="cosine", lr=lr, lr_min=floor, warmup_epochs=2)
    for step in range(warmup, total):
        expected = floor + 0.5 * (lr - floor) * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))
        assert seen[step] == pytest.approx(expected)
    assert all(a < b for a, b in pairwise(seen[: warmup + 1]))


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_onecycle_rises_to_its_peak_and_falls(optimizer: str) -> None:
    seen = rates(100, scheduler="onecycle", lr=1e-4, max_lr=1e-3, pct_start=0.3, optimizer=optimizer)
    assert seen[0] == pytest.approx(1e-4)
    assert max(seen) == pytest.approx(1e-3)
    assert seen.index(max(seen)) in (29, 30)
    assert seen[-1] < 1e-6


def test_none_is_constant() -> None:
    assert set(rates(30, scheduler="none", lr=2e-4)) == {2e-4}


def test_plateau_waits_and_halves() -> None:
    config = TrainingConfig(scheduler="plateau", lr=1e-3, lr_patience=2, lr_factor=0.5, lr_min=4e-4)
    optimizer = build_optimizer(nn.Linear(2, 2), config)
    schedule = build_schedule(optimizer, config, 10)
    assert schedule is not None
    assert schedule["monitor"] == "val_loss"
    seen = []
    for _ in range(8):
        schedule["scheduler"].step(1.0)
        seen.append(optimizer.param_groups[0]["lr"])
    assert seen == [1e-3, 1e-3, 1e-3, 5e-4, 5e-4, 5e-4, 4e-4, 4e-4]


def test_vectors_are_not_decayed() -> None:
    optimizer = build_optimizer(nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2)), TrainingConfig(weight_decay=0.1))
    assert [(group["weight_decay"], len(group["params"])) for group in optimizer.param_groups] == [(0.1, 1), (0.0, 3)]


class Counter(pl.LightningModule):
    """A weight that grows by one with each step, and an integer buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.register_buffer("table", torch.tensor([1354]))


def test_ema_is_warmed_up_and_leaves_integers_alone() -> None:
    module, ema = Counter(), WarmEMA(decay=0.9)
    ema.setup(None, module, "fit")
    average = 0.0
    for step in range(200):
        with torch.no_grad():
            module.weight += 1
        assert ema.should_update(step_idx=step)
        ema._average_model.update_parameters(module)
        decay = min(0.9, (2 + step) / (11 + step))
        average = module.weight.item() if step == 0 else decay * average + (1 - decay) * module.weight.item()
        assert ema._average_model.module.weight.item() == pytest.approx(average, rel=1e-5)
    assert ema._average_model.module.table.item() == 1354


def test_interrupted_validation_gives_the_trained_weights_back() -> None:
    module, ema = Counter(), WarmEMA(decay=0.9)
    ema.setup(None, module, "fit")
    module.weight.data += 5
    ema.on_validation_epoch_start(None, module)
    assert module.weight.item() == 0
    ema.on_exception(None, module, KeyboardInterrupt())
    assert module.weight.item() == 5


def test_channel_dropout_makes_a_copy_with_invalid_sensors(mini: Detector, mini_events: Events) -> None:
    batch = Readings.of(mini_events)
    before = batch.x.clone()
    dropped = drop_channels(batch, 0.25).x
    assert torch.equal(batch.x, before)
    gone = (dropped > INVALID_LIMIT).all(-1)
    assert gone.float().mean().item() == pytest.approx(0.25, abs=0.03)
    assert torch.equal(dropped[~gone], before[~gone])


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_every_shipped_config_builds_and_steps(path: Path, mini: Detector, mini_events: Events) -> None:
    cls = {"pretrain": PretrainConfig, "inpaint": InpaintConfig}.get(path.stem, TrainConfig)
    config = load_config(path, SMALL, cls)
    model = xecgnn.build_model(config)
    objective: Objective
    if isinstance(config, TrainConfig):
        objective = RegressionObjective(model, SampleReweighter(config.reweighting))
        parts = set(model.tasks)
    else:
        objective = ReconstructionObjective(model, Masker(mini, config.masking), config.loss)
        parts = {"npho", "time"}
    batch = Readings.of(mini_events)
    optimizer = build_optimizer(objective, config.training)
    loss, diagnostics = objective(batch)
    loss.backward()
    optimizer.step()
    assert torch.isfinite(loss)
    assert {f"loss_{name}" for name in parts} == set(diagnostics) - {"mask_ratio"}
    objective.update_metrics(batch)
    metrics = objective.compute_metrics()
    assert "val_loss" in metrics
    assert all(torch.isfinite(value) for value in metrics.values())


def test_compiled_training_gives_the_same_loss(mini: Detector, mini_events: Events) -> None:
    config = load_config("angle", {**SMALL, "model.head_dropout": 0.0, "model.fusion_dropout": 0.0})
    torch.manual_seed(0)
    model = xecgnn.build_model(config)
    batch = Readings.of(mini_events)
    eager, compiled = (RegressionObjective(model, SampleReweighter(config.reweighting), flag) for flag in (False, True))
    compiled.run_network = torch.compile(model.raw_outputs, backend="eager")  # the graph, without a C++ compiler
    assert compiled(batch)[0].item() == pytest.approx(eager(batch)[0].item(), rel=1e-5)
    assert eager.state_dict().keys() == compiled.state_dict().keys()


def test_bare_weights_are_loaded_and_misfits_named(caplog: pytest.LogCaptureFixture) -> None:
    source, target = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)), nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 5))
    with caplog.at_level(logging.INFO, "xecgnn"):
        load_weights(target, source.state_dict())
    assert torch.equal(target[0].weight, source[0].weight)
    assert "From bare weights: loaded 0 (2); fresh: 1 (2); not used: 1 (2)." in caplog.text
    with pytest.raises(ValueError, match="no weight of the checkpoint fits"):
        load_weights(target, {"other": torch.zeros(3)})


def test_broken_checkpoints_are_one_line(tmp_path: Path) -> None:
    broken = tmp_path / "broken.pth"
    broken.write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match="not a readable checkpoint"):
        xecgnn.load_model(broken)
    torch.save({"weight": torch.zeros(2)}, broken)
    with pytest.raises(ValueError, match="expected a checkpoint of xecgnn-train, found bare weights"):
        xecgnn.load_model(broken)
    for config in ({}, {"format": 2}):
        torch.save({"state_dict": {}, "xecgnn": {"kind": "regression", "config": config}}, broken)
        with pytest.raises(ValueError, match=f"written in format {config.get('format', 1)}, allowed: 4"):
            xecgnn.load_model(broken)
    with pytest.raises(FileNotFoundError, match="not found"):
        xecgnn.load_model(tmp_path / "none.pth")
