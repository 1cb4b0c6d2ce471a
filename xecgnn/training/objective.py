"""An objective turns (network, batch) into (loss, diagnostics). The trainer has no physics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from xecgnn.data.batch import Readings
from xecgnn.models.xec import XECModel
from xecgnn.tasks.ranking import SIGNED
from xecgnn.tasks.reweighting import SampleReweighter
from xecgnn.training.reduction import mean_over_ranks

__all__ = ["Objective", "RegressionObjective"]

MOMENTS = ("_bias", "_rms", "_skew")


def logged(name: str) -> str:
    """The names of seed 000: `theta_bias`, but `val_resolution_deg`."""
    return name if name.endswith(MOMENTS) else f"val_{name}"


class Objective(nn.Module):
    """What is trained: owns the network, makes a loss of a batch, and measures it on validation data."""

    model: nn.Module

    @property
    def backbone(self) -> nn.Module:
        """What fine-tuning starts from, and may freeze: face encoders and Transformer.

        Raises:
            ValueError: the network has none.
        """
        if self.model.backbone is None:
            raise ValueError(f"{type(self.model).__name__} has no backbone to freeze")
        return cast(nn.Module, self.model.backbone)

    def forward(self, batch: Readings) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of the batch, and named scalars worth logging. Their means over the processes of a training are those
        of all their events together (see `mean_over_ranks`).
        """
        raise NotImplementedError

    def update_metrics(self, batch: Readings) -> None:
        """Add a validation batch to the metrics."""
        raise NotImplementedError

    def metric_names(self) -> list[str]:
        """Those names of `compute_metrics` that can choose the best epoch: no signed ones."""
        raise NotImplementedError

    def compute_metrics(self) -> dict[str, Tensor]:
        """Metrics over everything since the last call, which are then reset, by the names they are logged under.

        `val_loss` is among them; NaN if no event had a target.
        """
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
        self.losses = {name: MeanMetric(nan_strategy="disable") for name in model.tasks}
        self.run_network = torch.compile(model.raw_outputs) if compiled else model.raw_outputs

    def forward(self, batch: Readings) -> tuple[Tensor, dict[str, Tensor]]:
        return self._loss(self.run_network(batch), batch.y, self.reweighter(batch.y))

    def update_metrics(self, batch: Readings) -> None:
        for name, raw in self.model.raw_outputs(batch).items():
            task, target = self.model.task(name), batch.y[name]
            self.metrics[name].to(target.device).update(task.decode(raw)[name], target)
            loss, valid = task.loss(raw, target, judged=True)
            self.losses[name].to(target.device).update(loss[valid])

    def metric_names(self) -> list[str]:
        tasks = [self.model.task(name) for name in self.model.tasks]
        names = ["loss", *(f"loss_{task.name}" for task in tasks)]
        names += [key for task in tasks for key in task.metric_units()]
        return [logged(name) for name in names if not name.endswith(SIGNED)]

    def compute_metrics(self) -> dict[str, Tensor]:
        values: dict[str, Tensor] = {}
        for metric in self.metrics.values():
            values.update(metric.compute())
            metric.reset()
        total = torch.zeros(())
        for name, mean in self.losses.items():
            values[f"loss_{name}"] = mean.compute()
            total = total.to(mean.device) + self.model.task(name).weight * values[f"loss_{name}"]
            mean.reset()
        values["loss"] = total
        return {logged(name): value for name, value in values.items()}

    def _loss(
        self, raw: Mapping[str, Tensor], targets: Mapping[str, Tensor], weight: Tensor | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        losses = {
            name: self.model.task(name).mean_loss(raw[name], targets[name], weight, mean_over_ranks)
            for name in self.model.tasks
        }
        total = torch.stack([self.model.task(name).weight * loss for name, loss in losses.items()]).sum()
        return total, {f"loss_{name}": loss.detach() for name, loss in losses.items()}
