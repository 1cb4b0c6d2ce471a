"""From the nodes of a face to one token."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xecgnn.nn.config import Pooling

__all__ = ["GridPool", "LightWeights", "MeanPool"]


class GridPool(nn.Module):
    """Lattice (B * H * W, C) -> grid (B, G, G', C) by two constant matrices, one per direction.

    `average` equals `F.adaptive_avg_pool2d`, `bilinear` equals `F.interpolate(mode="bilinear")`, which reads four nodes
    for each grid cell. With `visible`, an average over the visible nodes; a grid cell without any is zero.

    Args:
        shape: rows H and columns W of the lattice.
        pooling: average (also for `light`, whose weights come with `forward`) or bilinear.
        grid: cells G, G' in each direction.
    """

    rows: Tensor  # (G, H)
    cols: Tensor  # (G', W)

    def __init__(self, shape: tuple[int, int], pooling: Pooling = "average", grid: tuple[int, int] = (4, 4)) -> None:
        super().__init__()
        self.shape, self.pooling, self.grid = shape, pooling, grid
        self.num_nodes = shape[0] * shape[1]
        for name, size, cells in zip(("rows", "cols"), shape, grid, strict=True):
            unit = torch.eye(size).unsqueeze(0)  # the response to each node, one row at a time
            if pooling == "bilinear":
                matrix = F.interpolate(unit, cells, mode="linear")
            else:
                matrix = F.adaptive_avg_pool1d(unit, cells)
            self.register_buffer(name, matrix[0].t().contiguous(), persistent=False)

    def forward(self, x: Tensor, visible: Tensor | None = None, weights: Tensor | None = None) -> Tensor:
        """Pool x (B * H * W, C); `weights` (B * H * W, heads), from `LightWeights`, know the hidden nodes already.

        With weights, each cell holds its share of the face and the mean over the face: what lies around the brightest
        spot is then read in one place, not in any of 16.
        """
        if weights is not None:
            pooled = self.num_nodes * self._pool(by_head(x, weights))  # in this order, to stay in the range of fp16
            return pooled + pooled.mean((1, 2), keepdim=True)
        if visible is None:
            return self._pool(x)
        share = self._pool(visible)
        return self._pool(x * visible) / torch.where(share > 0, share, 1)

    def _pool(self, x: Tensor) -> Tensor:
        (height, width), channels = self.shape, x.size(-1)
        x = self.rows @ x.reshape(-1, height, width * channels)  # [B, G, W*C]
        x = self.cols @ x.view(-1, width, channels)  # [B*G, G', C]
        return x.view(-1, *self.grid, channels)

    def extra_repr(self) -> str:
        return f"{self.shape} -> {self.grid}, {self.pooling}"


class MeanPool(nn.Module):
    """Mean over the (visible) nodes of an event: (B * N, C) -> (B, C); zero if none is visible."""

    def __init__(self, num_nodes: int) -> None:
        super().__init__()
        self.num_nodes = num_nodes

    def forward(self, x: Tensor, visible: Tensor | None = None, weights: Tensor | None = None) -> Tensor:
        """Pool x (B * N, C); arguments as of `GridPool`."""
        if weights is not None:
            return by_head(x, weights).view(-1, self.num_nodes, x.size(-1)).sum(1)
        nodes = x.view(-1, self.num_nodes, x.size(-1))
        if visible is None:
            return nodes.mean(1)
        visible = visible.view(-1, self.num_nodes, 1)
        return (nodes * visible).sum(1) / visible.sum(1).clamp(min=1)

    def extra_repr(self) -> str:
        return f"{self.num_nodes} nodes"


class LightWeights(nn.Module):
    r"""Weights that let a token look where the light is:

    .. math:: w_{ih} = \mathrm{softmax}_i(\beta_h \, l_i)

    over the N nodes of a face in one event, with the normalised npho :math:`l_i`. Each quarter of the channels has its
    own :math:`\beta_h`, learned from 0 (the average), 1, 2 and 4. The sum runs over the whole face: what surrounds the
    brightest spot, and tells the direction of the shower, reaches the token undiluted.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sharpness = nn.Parameter(torch.tensor([0.0, 1.0, 2.0, 4.0]))

    def forward(self, light: Tensor, num_nodes: int, visible: Tensor | None = None) -> Tensor:
        """Weights (B * N, 4) of normalised npho `light` (B * N, 1); hidden nodes weigh nothing."""
        score = light.view(-1, num_nodes, 1) * self.sharpness  # [B, N, 4]
        if visible is None:
            return score.softmax(1).flatten(0, 1)
        shown = visible.view(-1, num_nodes, 1)
        score = score.masked_fill(shown == 0, torch.finfo(score.dtype).min)
        return (score.softmax(1) * shown).flatten(0, 1)


def by_head(x: Tensor, weights: Tensor) -> Tensor:
    """(B * N, C) times weights (B * N, heads); each head has its share of the channels, one after the other."""
    heads, channels = weights.size(-1), x.size(-1)
    owner = torch.arange(channels, device=x.device) * heads // channels
    share = (torch.arange(heads, device=x.device).unsqueeze(1) == owner).to(weights.dtype)  # [heads, C] of 0 and 1
    return x * (weights @ share)  # a product: onnxruntime gathers columns ten times more slowly
