"""From the nodes of a face to one token."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["GridPool", "MeanPool", "Pooling"]

Pooling = Literal["average", "bilinear"]


class GridPool(nn.Module):
    """Lattice (B * H * W, C) -> grid (B, G, G, C) by two constant matrices, one per direction.

    `average` equals `F.adaptive_avg_pool2d`, `bilinear` equals `F.interpolate(mode="bilinear")`, which reads four nodes
    for each grid cell. With `visible`, an average over the visible nodes; a grid cell without any is zero.

    Args:
        shape: rows H and columns W of the lattice.
        pooling: average or bilinear.
        grid: cells G in each direction.
    """

    rows: Tensor  # (G, H)
    cols: Tensor  # (G, W)

    def __init__(self, shape: tuple[int, int], pooling: Pooling = "average", grid: int = 4) -> None:
        super().__init__()
        self.shape, self.pooling, self.grid = shape, pooling, grid
        for name, size in zip(("rows", "cols"), shape, strict=True):
            unit = torch.eye(size).unsqueeze(0)  # the response to each node, one row at a time
            if pooling == "average":
                matrix = F.adaptive_avg_pool1d(unit, grid)
            else:
                matrix = F.interpolate(unit, grid, mode="linear")
            self.register_buffer(name, matrix[0].t().contiguous(), persistent=False)

    def forward(self, x: Tensor, visible: Tensor | None = None) -> Tensor:
        if visible is None:
            return self._pool(x)
        share = self._pool(visible)
        return self._pool(x * visible) / torch.where(share > 0, share, 1)

    def _pool(self, x: Tensor) -> Tensor:
        (height, width), channels = self.shape, x.size(-1)
        x = self.rows @ x.reshape(-1, height, width * channels)  # [B, G, W*C]
        x = self.cols @ x.view(-1, width, channels)  # [B*G, G, C]
        return x.view(-1, self.grid, self.grid, channels)

    def extra_repr(self) -> str:
        return f"{self.shape} -> {self.grid} x {self.grid}, {self.pooling}"


class MeanPool(nn.Module):
    """Mean over the (visible) nodes of an event: (B * N, C) -> (B, C); zero if none is visible."""

    def __init__(self, num_nodes: int) -> None:
        super().__init__()
        self.num_nodes = num_nodes

    def forward(self, x: Tensor, visible: Tensor | None = None) -> Tensor:
        nodes = x.view(-1, self.num_nodes, x.size(-1))
        if visible is None:
            return nodes.mean(1)
        visible = visible.view(-1, self.num_nodes, 1)
        return (nodes * visible).sum(1) / visible.sum(1).clamp(min=1)

    def extra_repr(self) -> str:
        return f"{self.num_nodes} nodes"
