"""An objective turns (network, batch) into (loss, diagnostics). The trainer has no physics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from xecgnn.models import XECModel
from xecgnn.tasks import SampleReweighter

__all__ = ["Objective", "RegressionObjective"]

MOMENTS = ("_bias", "_rms", "_skew")


class Objective(nn.Module):
    """What is trained: owns the network, makes a loss of a batch, and measures it on validation data."""

    model: nn.Module

    def forward(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean loss of the batch, and named scalars worth logging."""
        raise NotImplementedError

    def update_metrics(self, batch: Any) -> Tensor:
        """Add a validation batch to the metrics; returns its mean loss."""
        raise NotImplementedError

    def compute_metrics(self) -> dict[str, Tensor]:
        """Metrics over everything since the last call, which are then reset, under the names they are logged by."""
        raise NotImplementedError


class RegressionObjective(Objective):
    """Sum over tasks of weight x mean loss, optionally reweighted by histogram; metrics are the tasks' own.

    Args:
        model: network with its tasks.
        reweighter: weights per event from the targets, fitted on training data.
        compiled: whether training runs the network through `torch.compile`; the weights keep their names.
    """

    def __init__(self, model: XECModel, reweighter: SampleReweighter, compiled: bool = False) -> None:
        super().__init__()
        self.model: XECModel = model
        self.reweighter = reweighter
        self.metrics = {name: model.task(name).build_metrics() for name in model.tasks}
        self.run_network = torch.compile(model.raw_outputs) if compiled else model.raw_outputs

    def forward(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        return self._loss(self.run_network(batch.x_dict), batch.y, self.reweighter(batch.y))

    def update_metrics(self, batch: Any) -> Tensor:
        raw = self.model.raw_outputs(batch)
        for name, metric in self.metrics.items():
            metric.to(batch.y[name].device)
            metric.update(self.model.task(name).decode(raw[name])[name], batch.y[name])
        return self._loss(raw, batch.y, None)[0]

    def compute_metrics(self) -> dict[str, Tensor]:
        values: dict[str, Tensor] = {}
        for metric in self.metrics.values():
            values.update(metric.compute())
            metric.reset()
        # The names of seed 000: `theta_bias`, but `val_resolution_deg`.
        return {name if name.endswith(MOMENTS) else f"val_{name}": value for name, value in values.items()}

    def _loss(
        self, raw: Mapping[str, Tensor], targets: Mapping[str, Tensor], weight: Tensor | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        losses = {name: self.model.task(name).mean_loss(raw[name], targets[name], weight) for name in self.model.tasks}
        total = torch.stack([self.model.task(name).weight * loss for name, loss in losses.items()]).sum()
        return total, {f"loss_{name}": loss.detach() for name, loss in losses.items()}
