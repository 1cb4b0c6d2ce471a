"""Optimiser and learning-rate schedules with the keys of the seeds."""

from __future__ import annotations

import math
from typing import Any

from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR, ReduceLROnPlateau

from xecgnn.training.config import TrainingConfig

__all__ = ["build_optimizer", "build_schedule", "cosine_factor"]


def build_optimizer(module: nn.Module, config: TrainingConfig) -> AdamW:
    """AdamW; vectors (biases, norms, GRN) and embeddings are not decayed, as is usual for ConvNeXt and Transformers."""
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            (free if parameter.ndim <= 1 or "embedding" in name else decayed).append(parameter)
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": free, "weight_decay": 0.0}]
    return AdamW(groups, lr=config.lr)


def build_schedule(optimizer: Optimizer, config: TrainingConfig, steps_per_epoch: int) -> dict[str, Any] | None:
    """Lightning's description of the schedule, or None for a constant rate.

    Args:
        steps_per_epoch: optimiser steps in an epoch (after accumulation).
    """
    steps = max(1, steps_per_epoch * config.epochs)
    if config.scheduler == "none":
        return None
    if config.scheduler == "plateau":
        plateau = ReduceLROnPlateau(optimizer, "min", config.lr_factor, config.lr_patience, min_lr=config.lr_min)
        return {"scheduler": plateau, "interval": "epoch", "monitor": "val_loss"}
    if config.scheduler == "onecycle":
        peak = config.max_lr or config.lr
        onecycle = OneCycleLR(
            optimizer, peak, total_steps=steps, pct_start=config.pct_start, div_factor=max(peak / config.lr, 1.0)
        )
        return {"scheduler": onecycle, "interval": "step"}
    warmup = min(config.warmup_epochs * steps_per_epoch, steps - 1)
    floor = min(config.lr_min / config.lr, 1.0)
    cosine = LambdaLR(optimizer, lambda step: cosine_factor(step, steps, warmup, floor))
    return {"scheduler": cosine, "interval": "step"}


def cosine_factor(step: int, steps: int, warmup: int, floor: float) -> float:
    """Factor on the learning rate: linear rise over `warmup` steps, then floor + (1 - floor) (1 + cos(pi t)) / 2."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    progress = min((step - warmup) / max(1, steps - warmup), 1.0)
    return floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * progress))
