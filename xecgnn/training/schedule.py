"""Learning-rate schedules with the keys of the seeds."""

from __future__ import annotations

import math
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR, ReduceLROnPlateau

from xecgnn.tasks.ranking import direction
from xecgnn.training.config import TrainingConfig

__all__ = ["build_schedule", "cosine_factor"]


def build_schedule(
    optimizer: Optimizer, config: TrainingConfig, steps_per_epoch: int, monitor: str = "val_loss"
) -> dict[str, Any] | None:
    """Lightning's description of the schedule, or None for a constant rate.

    Args:
        steps_per_epoch: optimiser steps in an epoch (after accumulation).
        monitor: metric that the plateau schedule follows.
    """
    steps = max(1, steps_per_epoch * config.epochs)
    if config.scheduler == "none":
        return None
    if config.scheduler == "plateau":
        plateau = ReduceLROnPlateau(
            optimizer, direction(monitor), config.lr_factor, config.lr_patience, min_lr=config.lr_min,
            threshold=0.0,  # a relative one turns round where a loss is negative
        )  # fmt: skip
        return {"scheduler": plateau, "interval": "epoch", "monitor": monitor}
    if config.scheduler == "onecycle":
        peak = config.max_lr or config.lr
        peaks = [peak * group["lr"] / config.lr for group in optimizer.param_groups]
        onecycle = OneCycleLR(
            optimizer, peaks, total_steps=steps, pct_start=config.pct_start, div_factor=max(peak / config.lr, 1.0),
            cycle_momentum=config.optimizer == "adamw",
        )  # fmt: skip
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
