"""From the fused tokens to the numbers of one task."""

from __future__ import annotations

from torch import nn

__all__ = ["Head"]


class Head(nn.Sequential):
    """Linear -> LayerNorm -> GELU -> dropout -> Linear: (B, in_features) -> (B, num_outputs) in network space."""

    def __init__(self, in_features: int, hidden: int, num_outputs: int, dropout: float) -> None:
        super().__init__(
            nn.Linear(in_features, hidden),
            nn.LayerNorm(hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, num_outputs),
        )
