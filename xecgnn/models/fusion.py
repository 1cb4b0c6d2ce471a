"""Attention between the faces."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from xecgnn.models.config import ModelConfig
from xecgnn.nn.position import PositionEmbedding

__all__ = ["FusionTransformer"]


class FusionTransformer(nn.Module):
    """Face tokens + position embedding -> Transformer encoder (arXiv:1706.03762): (B, T, D) -> (B, T, D).

    Normalisation comes before attention and feed-forward, and once at the end: unlike the original order it needs no
    warm-up to train (arXiv:2002.04745).

    Args:
        config: sizes.
        centers: (T, 3) place of each token, cm.
    """

    def __init__(self, config: ModelConfig, centers: np.ndarray) -> None:
        super().__init__()
        dim = config.encoder_dim
        self.position = PositionEmbedding(config.position_embedding, torch.as_tensor(centers, dtype=torch.float32), dim)
        layer = nn.TransformerEncoderLayer(
            dim,
            config.num_heads,
            config.dim_feedforward or 4 * dim,
            config.fusion_dropout,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.layers = nn.TransformerEncoder(
            layer, config.num_fusion_layers, norm=nn.LayerNorm(dim), enable_nested_tensor=False
        )

    def forward(self, tokens: Tensor) -> Tensor:
        return self.layers(self.position(tokens))
