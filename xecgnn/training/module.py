"""The Lightning module: one objective, one optimiser, one generator per batch."""

from __future__ import annotations

import logging
from typing import Any, cast

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from xecgnn.data.batch import Readings
from xecgnn.detector import Detector
from xecgnn.training.augment import build_augmentations
from xecgnn.training.checkpoint import KEY, sealed
from xecgnn.training.config import TrainingConfig
from xecgnn.training.metrics.tracker import compute_grad_norm
from xecgnn.training.objective import Objective
from xecgnn.training.optimizer import build_optimizer
from xecgnn.training.schedule import build_schedule

__all__ = ["TrainingModule"]

log = logging.getLogger(__name__)


class TrainingModule(pl.LightningModule):
    """Trains any `Objective`.

    Args:
        objective: loss and metrics around a network.
        config: optimisation settings.
        seed: with rank, epoch and batch it fixes every random number of a step, so that a resumed run equals an
            uninterrupted one.
        info: what else a checkpoint says of the run (see `describe_run`).
        monitor: metric that the plateau schedule follows.
    """

    def __init__(
        self,
        objective: Objective,
        config: TrainingConfig,
        seed: int,
        info: dict[str, Any],
        monitor: str = "val_loss",
    ) -> None:
        super().__init__()
        self.objective = objective
        self.config = config
        self.seed = seed
        self.info = info
        self.monitor = monitor
        tasks = getattr(objective.model, "tasks", nn.ModuleDict())
        self.augmentations = build_augmentations(config, cast(Detector, objective.model.detector), tasks)
        if config.freeze_encoder:
            objective.backbone.requires_grad_(False)

    def train(self, mode: bool = True) -> TrainingModule:
        """A frozen backbone has no dropout either."""
        super().train(mode)
        if self.config.freeze_encoder:
            self.objective.backbone.eval()
        return self

    def on_train_batch_start(self, batch: Readings, batch_idx: int) -> None:
        # A mixed radix: consecutive batches, epochs and ranks must not share streams.
        key = ((self.seed * 1_000_003 + self.global_rank) * 1_000_003 + self.current_epoch) * 1_000_003 + batch_idx
        torch.manual_seed(key % 2**63)

    def training_step(self, batch: Readings, batch_idx: int) -> Tensor:
        generator = torch.Generator().manual_seed(torch.initial_seed())
        for augment in self.augmentations:
            batch = augment(batch, generator)
        loss, diagnostics = self.objective(batch)
        # On a GPU the check waits for the step: once in a while is enough, since NaN weights stay NaN.
        if (batch_idx % 100 == 0 or self.device.type == "cpu") and not torch.isfinite(loss.detach()):
            raise ValueError(
                f"training loss is {loss.item()} at epoch {self.current_epoch}, batch {batch_idx}; lower training.lr"
            )
        size = len(batch)
        self.log(
            "train_loss", loss.detach(), on_step=False, on_epoch=True, prog_bar=True, batch_size=size, sync_dist=True
        )
        self.log_dict(
            {f"train_{name}": value for name, value in diagnostics.items()},
            on_step=False, on_epoch=True, batch_size=size, sync_dist=True,
        )  # fmt: skip
        return loss

    def configure_gradient_clipping(
        self, optimizer: Optimizer, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clips as Lightning does, and keeps the norm from before as `grad_norm`: it is needed in any case."""
        self.grad_norm = compute_grad_norm(self)
        if gradient_clip_val:
            nn.utils.clip_grads_with_norm_(self.parameters(), gradient_clip_val, self.grad_norm)

    def validation_step(self, batch: Readings, batch_idx: int) -> None:
        self.objective.update_metrics(batch)

    def on_validation_epoch_end(self) -> None:
        # Metrics reduce sums over ranks themselves: every rank holds the same number, and its mean is that number.
        metrics = {name: value.float() for name, value in self.objective.compute_metrics().items()}
        loss = metrics.pop("val_loss")
        if not torch.isfinite(loss):
            raise ValueError(f"validation loss is {loss.item()}; no validation event has a target, or NaN weights")
        self.log("val_loss", loss, prog_bar=True, sync_dist=True)
        self.log_dict(metrics, sync_dist=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[KEY] = self.info
        checkpoint |= sealed(checkpoint)  # Lightning asks the module last

    def configure_optimizers(self) -> Any:
        optimizer = build_optimizer(self.objective, self.config)
        steps = self.trainer.estimated_stepping_batches
        schedule = build_schedule(optimizer, self.config, max(1, int(steps) // self.config.epochs), self.monitor)
        return {"optimizer": optimizer, **({"lr_scheduler": schedule} if schedule else {})}
