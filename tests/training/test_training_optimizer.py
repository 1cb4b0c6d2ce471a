"""Muon for matrices, AdamW for the rest, as one optimiser."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import AdamW

from xecgnn.training.config import TrainingConfig
from xecgnn.training.optimizer import MuonAdamW, build_optimizer


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(12, 8)
        self.short = nn.Linear(8, 3)
        self.conv = nn.Conv2d(1, 8, 3)
        self.embedding = nn.Parameter(torch.randn(16, 16))


def set_gradients(module: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def names(module: nn.Module, groups: list[dict[str, Any]]) -> set[str]:
    chosen = {id(parameter) for group in groups for parameter in group["params"]}
    return {name for name, parameter in module.named_parameters() if id(parameter) in chosen}


def test_only_matrices_are_for_muon() -> None:
    module = Small()
    optimizer = build_optimizer(module, TrainingConfig(optimizer="muon"))
    assert isinstance(optimizer, MuonAdamW)
    assert names(module, optimizer.muon.param_groups) == {"linear.weight"}
    assert names(module, optimizer.param_groups) == {name for name, _ in module.named_parameters()}
    assert isinstance(build_optimizer(module, TrainingConfig(optimizer="adamw")), AdamW)
    assert isinstance(build_optimizer(module.conv, TrainingConfig(optimizer="muon")), AdamW)


def test_a_step_of_a_matrix_is_orthogonal_and_as_large_as_one_of_adamw() -> None:
    module, lr = Small(), 1e-2
    before = copy.deepcopy(module)
    set_gradients(module, 1)
    module.linear.weight.grad = module.linear.weight.grad * torch.logspace(0, -2, 12)  # badly conditioned
    build_optimizer(module, TrainingConfig(optimizer="muon", lr=lr, weight_decay=0)).step()
    sizes = torch.linalg.svdvals(module.linear.weight - before.linear.weight) / (0.2 * lr * 12**0.5)
    assert 0.6 < sizes.min() <= sizes.max() < 1.3  # five Newton-Schulz steps come so close to 1
    step = module.short.weight - before.short.weight
    torch.testing.assert_close(step.abs(), torch.full_like(step, lr), rtol=1e-3, atol=0)  # AdamW's first


def test_slow_encoders_and_undecayed_vectors() -> None:
    module = nn.Module()
    module.model = nn.ModuleDict({"backbone": nn.Linear(8, 8), "heads": nn.Linear(8, 8)})
    config = TrainingConfig(optimizer="muon", lr=1.0, encoder_lr_factor=0.1, weight_decay=0.5)
    found = {}
    for group in build_optimizer(module, config).param_groups:
        (name,) = names(module, [group])
        found[name] = group["lr"], group["weight_decay"]
    assert found == {
        "model.backbone.weight": (0.1, 0.5),
        "model.backbone.bias": (0.1, 0.0),
        "model.heads.weight": (1.0, 0.5),
        "model.heads.bias": (1.0, 0.0),
    }


@pytest.mark.parametrize("name", ["muon", "adamw"])
def test_going_on_from_a_state_is_going_on(name: str) -> None:
    config = TrainingConfig(optimizer=name, lr=1e-2)
    module = Small()
    optimizer = build_optimizer(module, config)
    for seed in range(3):
        set_gradients(module, seed)
        optimizer.step()
    other = copy.deepcopy(module)
    state = copy.deepcopy(optimizer.state_dict())
    resumed = build_optimizer(other, config)
    resumed.load_state_dict(state)
    for group in (*optimizer.param_groups, *resumed.param_groups):
        group["lr"] = 3e-3  # what a schedule does
    for seed in range(3, 6):
        for net, steps in ((module, optimizer), (other, resumed)):
            set_gradients(net, seed)
            steps.step()
    for (key, expected), found in zip(module.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(expected, found), key
