"""What a network that reconstructs hidden sensors may see: one rule for training, validation, tables and pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from xecgnn.data.batch import Readings
from xecgnn.detector import Detector
from xecgnn.models.config import ModelConfig
from xecgnn.models.encoder import Encoder
from xecgnn.models.fusion import FusionTransformer
from xecgnn.nn.masking import Masker, Validity
from xecgnn.nn.normalizer import NormalizationConfig

__all__ = ["Prediction", "ReconstructionNetwork", "predict_masked"]


class ReconstructionNetwork(nn.Module):
    """Predicts the normalised readings of sensors that it does not see: (batch, visible (B, S) bool) -> (B, S, C).

    Attributes:
        channels: names of the C readings that are predicted, in order: npho, or npho and relative_time.
        hides_invalid: whether it sees nothing of an invalid sensor; else it sees the sentinel.
    """

    hides_invalid: ClassVar[bool]
    channels: Sequence[str]

    def __init__(self, detector: Detector, model: ModelConfig, normalization: NormalizationConfig) -> None:
        super().__init__()
        self.detector = detector
        self.encoder = Encoder(detector, model, normalization)
        self.fusion = FusionTransformer(model, self.encoder.token_centers)


class Prediction(NamedTuple):
    """What `predict_masked` hid and what came out, by sensor id."""

    validity: Validity
    masked: Tensor  # (B, S) bool, True = hidden from the network
    predicted: Tensor  # (B, S, C) normalised


def predict_masked(
    model: ReconstructionNetwork,
    masker: Masker,
    batch: Readings,
    generator: torch.Generator | None = None,
    network: Callable[[Readings, Tensor], Tensor] | None = None,
) -> Prediction:
    """Hide sensors and predict them.

    Args:
        model: the network.
        masker: chooses the sensors among the valid ones.
        batch: raw readings.
        generator: of the masker.
        network: what predicts in place of the model, for example its compiled form.
    """
    validity = model.encoder.normalizer.validity(batch.x)
    masked = masker(batch.x, validity, generator)
    visible = ~masked & validity[0] if model.hides_invalid else ~masked
    return Prediction(validity, masked, (network or model)(batch, visible))
