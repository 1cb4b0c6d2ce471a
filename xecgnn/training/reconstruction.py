"""The objective of pretraining and inpainting: hide sensors, predict them, compare at the hidden ones."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from xecgnn.data.batch import Readings
from xecgnn.models.masked import ReconstructionNetwork, predict_masked
from xecgnn.names import FEATURES, INVALID_LIMIT
from xecgnn.nn.masking import Masker
from xecgnn.tasks.losses import POINTWISE
from xecgnn.training.config import ReconstructionLossConfig
from xecgnn.training.objective import Objective
from xecgnn.training.reduction import mean_over_ranks

__all__ = ["ReconstructionObjective"]

CHANNELS = dict(zip(FEATURES, ("npho", "time"), strict=True))  # column of x -> its name in metrics
VALIDATION_SEED = 20_24  # of the masks of the first validation batch; the same ones in every epoch

Losses = dict[str, tuple[Tensor, Tensor]]  # channel -> loss and weight of each sensor, (B, S)


class WeightedMean(Metric):
    """Mean over all batches and ranks; NaN where nothing had a weight (torchmetrics' own gives 0)."""

    full_state_update = False
    total: Tensor
    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("total", "weight"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, value: Tensor, weight: Tensor) -> None:
        self.total += (value * weight).sum()
        self.weight += weight.sum()

    def compute(self) -> Tensor:
        return self.total / self.weight


class ReconstructionObjective(Objective):
    """Weighted mean loss of the masked sensors, in normalised units.

    A photon count weighs (npho + 1)^alpha; a time counts where it is valid and npho is above a threshold, and weighs
    sqrt(npho), as its precision does. A batch without any masked sensor has the loss 0.

    Args:
        model: predicts what it does not see.
        masker: chooses the sensors to hide.
        config: loss and weights.
        compiled: whether training runs the network through `torch.compile`.
    """

    def __init__(
        self,
        model: ReconstructionNetwork,
        masker: Masker,
        config: ReconstructionLossConfig,
        compiled: bool = False,
    ) -> None:
        super().__init__()
        self.model: ReconstructionNetwork = model
        self.masker = masker
        self.config = config
        self.run_network = torch.compile(model.__call__) if compiled else model
        self.weights = {"npho": config.npho_weight, "time": config.time_weight}
        self.metrics: dict[str, WeightedMean] = {}
        self._validation_batches = 0

    def forward(self, batch: Readings) -> tuple[Tensor, dict[str, Tensor]]:
        losses, ratio = self._losses(batch, None, self.run_network)
        total = ratio.new_zeros(())
        diagnostics = {"mask_ratio": ratio}
        for channel, (loss, weight) in losses.items():
            mean = (loss * weight).sum() / mean_over_ranks(weight.sum()).clamp(min=torch.finfo(weight.dtype).tiny)
            diagnostics[f"loss_{channel}"] = mean.detach()
            total = total + self.weights[channel] * mean
        return total, diagnostics

    def update_metrics(self, batch: Readings) -> None:
        generator = torch.Generator(batch.x.device).manual_seed(VALIDATION_SEED + self._validation_batches)
        self._validation_batches += 1
        losses, ratio = self._losses(batch, generator, self.model)
        self._update("mask_ratio", ratio, torch.ones_like(ratio))
        for channel, (loss, weight) in losses.items():
            self._update(f"loss_{channel}", loss, weight)
            for name, face in self.model.detector.faces.items():
                ids = torch.as_tensor(face.sensor_ids, device=loss.device)
                self._update(f"loss_{channel}_{name}", loss[:, ids], weight[:, ids])

    def metric_names(self) -> list[str]:
        channels = [CHANNELS[name] for name in self.model.channels]
        faces = [f"val_loss_{channel}_{face}" for channel in channels for face in self.model.detector.faces]
        return ["val_loss", *(f"val_loss_{channel}" for channel in channels), *faces]

    def compute_metrics(self) -> dict[str, Tensor]:
        self._validation_batches = 0
        values = {name: metric.compute() for name, metric in self.metrics.items()}
        for metric in self.metrics.values():
            metric.reset()
        known = [name for name in self.weights if torch.isfinite(values.get(f"loss_{name}", torch.tensor(torch.nan)))]
        if not known:
            raise ValueError("no validation event has a valid sensor")
        values["loss"] = torch.stack([self.weights[name] * values[f"loss_{name}"] for name in known]).sum()
        return {f"val_{name}": value for name, value in values.items() if torch.isfinite(value)}

    def _update(self, name: str, value: Tensor, weight: Tensor) -> None:
        metric = self.metrics.setdefault(name, WeightedMean())
        metric.to(value.device).update(value, weight)

    def _losses(self, batch: Readings, generator: torch.Generator | None, network: Any) -> tuple[Losses, Tensor]:
        """Losses and weights of all sensors, zero weight where nothing was masked; and the fraction that was."""
        validity, masked, predicted = predict_masked(self.model, self.masker, batch, generator, network)
        target = self.model.backbone.normalizer(batch.x, *validity)  # [B, S, 2]
        npho = torch.where(validity[0], batch.x[..., 0], 0).float()
        losses: Losses = {}
        for column, channel in zip(range(predicted.size(-1)), CHANNELS.values(), strict=False):
            residual = predicted[..., column].float() - target[..., column]
            loss = POINTWISE[self.config.loss_fn](residual, self.config.loss_beta)
            weight = self._weight(channel, npho, validity[column]) * masked
            losses[channel] = torch.where(weight > 0, loss, 0), weight
        return losses, masked.sum() / validity[0].sum().clamp(min=1)

    def _weight(self, channel: str, npho: Tensor, valid: Tensor) -> Tensor:
        """Weight (B, S) of each sensor with readings `npho` (0 where invalid)."""
        light = npho.clamp(0, INVALID_LIMIT)
        if channel == "npho":
            return valid * (light + 1) ** self.config.npho_alpha
        threshold = self.config.time_npho_threshold
        above = npho >= (self.model.backbone.normalizer.npho_threshold if threshold is None else threshold)
        return (valid & above) * light.sqrt()
