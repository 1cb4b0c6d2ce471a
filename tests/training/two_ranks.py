"""`xecgnn-train`, keeping what each step of this process saw and how its gradient came out: a script for the tests.

Usage: python two_ranks.py FOLDER [options of xecgnn-train ...]; leaves FOLDER/rank<n>.pt, a list of dictionaries.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import torch

from xecgnn.cli.train import main
from xecgnn.nn import Normalizer
from xecgnn.training.module import TrainingModule


def double_precision() -> None:
    """Networks made from here on compute with 53 bits: rounding does not hide what is looked for."""
    torch.set_default_dtype(torch.float64)
    forward = Normalizer.forward
    Normalizer.forward = lambda self, *arguments: forward(self, *arguments).double()  # type: ignore[method-assign]


steps: list[dict[str, Any]] = []
training_step, clip = TrainingModule.training_step, TrainingModule.configure_gradient_clipping


def recorded_step(self: TrainingModule, batch: Any, batch_idx: int) -> torch.Tensor:
    state = {name: values.clone() for name, values in self.objective.state_dict().items()}
    steps.append({"epoch": self.current_epoch, "event": batch.event, "run": batch.run, "state": state})
    return training_step(self, batch, batch_idx)


def recorded_gradient(self: TrainingModule, *arguments: Any, **options: Any) -> None:
    """Called when the gradients of all processes are reduced, before they are clipped."""
    steps[-1]["gradient"] = {name: p.grad.clone() for name, p in self.objective.named_parameters()}
    clip(self, *arguments, **options)


if __name__ == "__main__":
    double_precision()
    TrainingModule.training_step = recorded_step  # type: ignore[method-assign]
    TrainingModule.configure_gradient_clipping = recorded_gradient  # type: ignore[method-assign]
    main(sys.argv[2:])
    torch.save(steps, f"{sys.argv[1]}/rank{os.environ.get('LOCAL_RANK', '0')}.pt")
