"""What a network that reconstructs hidden sensors may see: one rule for training, validation, tables and pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from xecgnn.models.backbone import Backbone, Batch
from xecgnn.models.config import ModelConfig
from xecgnn.models.encoder import Inputs
from xecgnn.models.encoder_graph import EncoderGraph
from xecgnn.nn.config import NormalizationConfig
from xecgnn.nn.masking import Masker, Validity

__all__ = ["Prediction", "ReconstructionNetwork", "predict_masked"]


class ReconstructionNetwork(nn.Module):
    """Predicts the normalised readings of sensors that it does not see: (batch, visible (B, S) bool) -> (B, S, C).

    Attributes:
        channels: names of the C readings that are predicted, in order: npho, or npho and relative_time.
        hides_invalid: whether it sees nothing of an invalid sensor; else it sees the sentinel.
    """

    hides_invalid: ClassVar[bool]
    channels: Sequence[str]

    def __init__(self, spec: EncoderGraph, model: ModelConfig, normalization: NormalizationConfig) -> None:
        super().__init__()
        if others := spec.layouts.keys() - {"lattice", "hex"}:
            raise ValueError(f"sensors of the layout {', '.join(sorted(others))} cannot be reconstructed")
        self.detector = spec.detector
        self.backbone = Backbone(spec, model, normalization)

    def tokens(self, inputs: Inputs) -> dict[str, Tensor]:
        """Fused tokens (B, D) by node type of the first level."""
        return dict(zip(self.backbone.spec.inputs, self.backbone.fused(inputs).unbind(1), strict=True))


class Prediction(NamedTuple):
    """What `predict_masked` hid and what came out, by sensor id."""

    validity: Validity
    masked: Tensor  # (B, S) bool, True = hidden from the network
    predicted: Tensor  # (B, S, C) normalised


def predict_masked(
    model: ReconstructionNetwork,
    masker: Masker,
    batch: Batch,
    generator: torch.Generator | None = None,
    network: Callable[[Batch, Tensor], Tensor] | None = None,
) -> Prediction:
    """Hide sensors and predict them.

    Args:
        model: the network.
        masker: chooses the sensors among the valid ones.
        batch: raw readings, or a graph.
        generator: of the masker.
        network: what predicts in place of the model, for example its compiled form.
    """
    x = model.backbone.readings(batch)
    validity = model.backbone.normalizer.validity(x)
    masked = masker(x, validity, generator)
    visible = ~masked & validity[0] if model.hides_invalid else ~masked
    return Prediction(validity, masked, (network or model)(batch, visible))
