"""Exponential moving average of the weights, warmed up, used for validation and in `state_dict` of checkpoints."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import nn

__all__ = ["WarmEMA"]


class WarmEMA(WeightAveraging):
    """W_ema = d W_ema + (1 - d) W with d = min(decay, (1 + n) / (10 + n)) after n optimiser steps.

    Without the warm-up, 1 500 steps at 0.999 would still hold 21 % of the random start. Buffers are copied, not
    averaged: integer tables must stay integers.

    Args:
        decay: limit of d.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(use_buffers=False, multi_avg_fn=self._update)
        self.decay = decay
        self._step = 0
        self._swapped = False

    @property
    def average(self) -> nn.Module | None:
        """The module with averaged weights, once fitting has begun."""
        return self._average_model

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        if step_idx is None:
            return False
        self._step = step_idx + 1
        return True

    @torch.no_grad()
    def _update(self, averaged: Any, current: Any, _: Any) -> None:
        decay = min(self.decay, (1 + self._step) / (10 + self._step))
        torch._foreach_lerp_(list(averaged), list(current), 1.0 - decay)

    def _swap_models(self, pl_module: Any) -> None:
        super()._swap_models(pl_module)
        self._swapped = not self._swapped

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """An interrupted validation must not leave the averaged weights in the place of the trained ones."""
        if self._swapped:
            self._swap_models(pl_module)
