"""Sums and counts over the processes of a training."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributed import ReduceOp

__all__ = ["mean_over_ranks"]


def mean_over_ranks(weight: Tensor) -> Tensor:
    """The mean over all processes of a sum of weights (no gradient); the sum itself where there is one process.

    DDP takes the mean of the gradients of W processes. Where each has a loss s_r / mean(c) with the sum s_r of its own
    events, that mean is the gradient of sum(s) / sum(c): one process with all events has the same. With s_r / c_r the
    events of a process that has few with a truth would count more.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return weight
    total = weight.detach().clone()
    torch.distributed.all_reduce(total, ReduceOp.SUM)
    return total / torch.distributed.get_world_size()
