"""The whole network: raw readings in, physical quantities out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from xecgnn.data.batch import Readings
from xecgnn.detector import Detector
from xecgnn.models.backbone import Backbone, Batch
from xecgnn.models.config import ModelConfig
from xecgnn.models.encoder_graph import EncoderGraph
from xecgnn.models.head import Head
from xecgnn.models.network import NETWORKS, Network
from xecgnn.models.spot import SpotEncoder
from xecgnn.nn.config import NormalizationConfig
from xecgnn.nn.face_encoder import Edges
from xecgnn.nn.normalizer import Normalizer

__all__ = ["XECModel"]


@NETWORKS.register("xecgnn")
class XECModel(Network):
    """Face encoders -> Transformer, and what the light says around its brightest place, -> one head per task.

    A head predicts what is missing from a simple guess: the normal, the place and the mean time of that spot (see
    `Task.from_spot`).

    Args:
        detector: the detector whose events it reads; kept as `detector`.
        model: sizes.
        normalization: constants of the readings; they become part of the model.
        tasks: the enabled tasks by name, as from `build_tasks`.
    """

    backbone: Backbone

    def __init__(
        self, detector: Detector, model: ModelConfig, normalization: NormalizationConfig, tasks: nn.ModuleDict
    ) -> None:
        super().__init__(detector, model, normalization, tasks)
        spec = EncoderGraph(detector, model)
        self.backbone = Backbone(spec, model, normalization)
        self.spot = self.framed = None
        width = len(spec.tokens) * model.encoder_dim
        if model.spot.window:
            self.spot = SpotEncoder(spec, model.spot)
            self.framed = model.spot.frame
            width += model.spot.dim
        self.heads = nn.ModuleDict(
            {name: Head(width, model.hidden_dim, self.task(name).num_outputs, model.head_dropout) for name in tasks}
        )

    @property
    def normalizer(self) -> Normalizer:  # type: ignore[override]
        return self.backbone.normalizer

    def raw_outputs(self, batch: Batch) -> dict[str, Tensor]:
        """Outputs of the heads, (B, num_outputs) per task, in the space where the losses act."""
        batch = self.backbone.opened(batch)
        features = self.backbone(batch).flatten(1)  # [B, T*D]
        if self.spot is None:
            return {name: head(features) for name, head in self.heads.items()}
        edges = None if isinstance(batch, Readings) else Edges.of(batch)
        near, spot = self.spot(self.backbone.readings(batch), self.normalizer, edges)
        features = torch.cat([features, near.to(features.dtype)], 1)
        raw = {name: head(features) for name, head in self.heads.items()}
        return {name: self.task(name).from_spot(values, spot) for name, values in raw.items()} if self.framed else raw

    def fit_readings(self, readings: Readings) -> None:
        super().fit_readings(readings)
        if self.spot is None:
            return
        spot = self.spot.fit(readings.x, self.normalizer)
        if self.framed:
            for name, target in readings.y.items():
                guess = self.task(name).guess(spot)
                if guess is not None:  # the spread around a good guess is a small part of that of all targets
                    self.task(name).fit_scaling(target, guess)

    def __repr__(self) -> str:
        millions = sum(p.numel() for p in self.parameters()) / 1e6
        tokens, dim = self.backbone.fusion.position.embedding.shape
        tasks = ", ".join(self.tasks)
        return f"XECModel({self.detector.name}, {tokens} tokens of {dim}, {tasks}, {millions:.1f} M parameters)"
