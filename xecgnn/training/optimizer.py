"""Optimisers: AdamW, and Muon for the matrices with AdamW for the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW, Muon, Optimizer

from xecgnn.training.config import TrainingConfig

__all__ = ["MuonAdamW", "build_optimizer"]

MIN_SIDE = 8  # shorter matrices have no directions to balance


class MuonAdamW(Optimizer):
    """Muon (Jordan et al. 2024) for some groups of parameters, AdamW (arXiv:1711.05101) for the others.

    Muon replaces the momentum of a matrix by the nearest orthogonal one: all directions in which a layer can change
    move alike, while AdamW follows the few with the largest gradient. Its steps are scaled to the size of those of
    AdamW (arXiv:2502.16982): both share learning rate and decay. Groups and state are one, as in any optimiser.

    Args:
        matrices: groups for Muon, tensors with two dimensions.
        others: groups for AdamW.
    """

    def __init__(self, matrices: list[dict[str, Any]], others: list[dict[str, Any]]) -> None:
        self.muon, self.adamw = Muon(matrices, adjust_lr_fn="match_rms_adamw"), AdamW(others)
        super().__init__([*self.muon.param_groups, *self.adamw.param_groups], {})
        self._share()

    def _share(self) -> None:
        """Let both parts work on the groups and the state of this optimiser."""
        matrices = len(self.muon.param_groups)
        self.muon.param_groups, self.adamw.param_groups = self.param_groups[:matrices], self.param_groups[matrices:]
        self.muon.state = self.adamw.state = self.state

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self.muon.step()
        self.adamw.step()
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._share()


def build_optimizer(module: nn.Module, config: TrainingConfig) -> Optimizer:
    """The optimiser that the settings name; it has parameters that are trained.

    Vectors (biases, norms, GRN) and embeddings are not decayed, as is usual for ConvNeXt and Transformers. Face
    encoders and Transformer have `encoder_lr_factor` times the learning rate. Convolutions go to AdamW.
    """
    groups: dict[tuple[bool, bool, bool], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            slow = config.encoder_lr_factor != 1 and name.startswith("model.backbone.")
            free = parameter.ndim <= 1 or "embedding" in name
            matrix = config.optimizer == "muon" and parameter.ndim == 2 and not free
            matrix = matrix and min(parameter.shape) >= MIN_SIDE
            groups.setdefault((not matrix, slow, free), []).append(parameter)
    matrices: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []
    for (other, slow, free), parameters in sorted(groups.items(), key=lambda group: group[0]):
        rate = config.lr * (config.encoder_lr_factor if slow else 1.0)
        decay = 0.0 if free else config.weight_decay
        (others if other else matrices).append({"params": parameters, "lr": rate, "weight_decay": decay})
    return MuonAdamW(matrices, others) if matrices else AdamW(others)
