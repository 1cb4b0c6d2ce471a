"""Where a token comes from."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from xecgnn.nn.config import PositionKind

__all__ = ["PositionEmbedding", "sinusoid"]


def sinusoid(position: Tensor, dim: int) -> Tensor:
    """Sines and cosines of positions (T,) at dim / 2 frequencies from 1 to 1/10000 (arXiv:1706.03762): (T, dim)."""
    frequency = 10000.0 ** (-torch.arange(0, dim, 2) / dim)
    phase = position.to(torch.float32).unsqueeze(1) * frequency
    return torch.stack([phase.sin(), phase.cos()], -1).flatten(1)


class PositionEmbedding(nn.Module):
    """Adds a vector to each token: learnable, or fixed from its number (sinusoidal) or its place (geometric).

    Args:
        kind: learnable, sinusoidal or geometric.
        centers: (T, 3) centre of the sensors behind each token, cm.
        dim: token dimension D.
    """

    embedding: Tensor  # (T, D)

    def __init__(self, kind: PositionKind, centers: Tensor, dim: int) -> None:
        super().__init__()
        self.kind = kind
        tokens = centers.size(0)
        if kind == "learnable":
            self.embedding = nn.Parameter(nn.init.trunc_normal_(torch.empty(tokens, dim), std=0.02))
        elif kind == "sinusoidal":
            self.register_buffer("embedding", sinusoid(torch.arange(tokens), dim))
        else:  # a third of the channels for each coordinate
            third = dim // 6 * 2
            parts = [sinusoid(coordinate, third) for coordinate in centers.unbind(-1)]
            self.register_buffer("embedding", nn.functional.pad(torch.cat(parts, -1), (0, dim - 3 * third)))

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        return tokens + self.embedding

    def extra_repr(self) -> str:
        return f"{self.kind}, {tuple(self.embedding.shape)}"
