"""The layers of a face encoder: ConvNeXt V2 (arXiv:2301.00808) on flat nodes, for any mixer.

Features are (B * N, C), the nodes of all events one after the other: NHWC for a lattice, so that LayerNorm and Linear
act on contiguous rows and the convolution runs in channels_last. `visible` (B * N, 1) holds 1 for a visible and 0 for
a hidden node; hidden nodes leave every layer as zeros and influence nothing.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from xecgnn.nn.lattice_conv import LatticeConv
from xecgnn.nn.topology import Table

__all__ = ["GRN", "Block", "DropPath", "Resample"]


class GRN(nn.Module):
    """Global response normalisation, x (1 + w n) + b with n = |x| / mean over channels of |x|, and the layer behind it.

    The norm |x| of a channel runs over the visible nodes of one event, never over the batch. There is no pass over x of
    its own: the response scales the weights of the layer.
    """

    def __init__(self, dim: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(dim))
        self.bias = nn.Parameter(torch.zeros(dim))
        self.eps = eps

    def forward(self, x: Tensor, linear: nn.Linear, num_nodes: int, visible: Tensor | None = None) -> Tensor:
        """(B * N, C) -> `linear` of the normalised x, (B * N, C')."""
        if visible is not None:
            x = x * visible
        nodes = x.view(-1, num_nodes, x.size(-1))
        out = _ScaledLinear.apply(nodes, self.weight, self.bias, linear.weight, linear.bias, self.eps)
        return out.flatten(0, 1)


class _ScaledLinear(torch.autograd.Function):
    """Linear(GRN(x)) of (B, N, C) as one product per event; its gradient keeps x and makes three passes over it.

    The norm is that of a product with ones, several times faster than a sum over rows, in the precision of the weights.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, linear: Tensor, offset: Tensor, eps: float
    ) -> Tensor:
        full = x.to(weight.dtype)  # under autocast x is shorter
        with torch.autocast(x.device.type, enabled=False):
            norm = (full.new_ones(1, 1, x.size(1)).expand(x.size(0), -1, -1) @ (full * full)).sqrt()  # [B, 1, C]
        mean = norm.mean(-1, keepdim=True) + eps
        scale = 1 + weight * norm / mean
        matrix = (scale * linear).to(x.dtype)  # [B, C', C]
        ctx.save_for_backward(x, weight, bias, linear, norm, mean, scale, matrix)
        start = (linear @ bias + offset).to(x.dtype).expand(x.size(1), -1)  # [N, C']
        return torch.baddbmm(start, x, matrix.transpose(1, 2))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, None]:
        x, weight, bias, linear, norm, mean, scale, matrix = ctx.saved_tensors
        grad_offset = grad.sum((0, 1), dtype=norm.dtype)
        grad_matrix = torch.bmm(grad.transpose(1, 2), x).to(norm.dtype)  # [B, C', C]
        grad_scale = (grad_matrix * linear).sum(1, keepdim=True)  # [B, 1, C]
        grad_linear = (grad_matrix * scale).sum(0) + torch.outer(grad_offset, bias)
        grad_ratio = grad_scale * weight / mean
        grad_norm = grad_ratio - (grad_ratio * norm).mean(-1, keepdim=True) / mean
        slope = torch.where(norm > 0, grad_norm / norm, 0)  # a channel that is zero everywhere has no gradient
        grad_x = torch.bmm(grad, matrix).addcmul_(x, slope.to(x.dtype))
        return grad_x, (grad_scale * norm / mean).sum((0, 1)), grad_offset @ linear, grad_linear, grad_offset, None


class DropPath(nn.Module):
    """Drops a residual branch for a whole event with probability `p` (stochastic depth, arXiv:1603.09382)."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor, num_nodes: int) -> Tensor:
        if not self.training or self.p == 0:
            return x
        x = x.view(-1, num_nodes, x.size(-1))
        return (x * x.new_empty(x.size(0), 1, 1).bernoulli_(1 - self.p) / (1 - self.p)).flatten(0, 1)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Block(nn.Module):
    """Residual layer: mixer -> LayerNorm -> Linear -> GELU -> GRN -> Linear; ConvNeXt V2 or HexNeXt, as the mixer is.

    The Linear layers start as PyTorch starts them: ConvNeXt's std of 0.02 is made for hundreds of channels, with the 8
    to 64 here GELU would start linear.

    Args:
        mixer: `LatticeConv` (depthwise) or `HexConv`; called as mixer(x, edges, edge_type=..., visible=...).
        dim: channels C.
        drop_path: probability to drop the layer for an event in training.

    Shapes:
        - x: (B * N, C); edges and `edge_type` as for the mixer
        - num_nodes: N, of an event
        - output: (B * N, C)
    """

    def __init__(self, mixer: nn.Module, dim: int, drop_path: float = 0.0) -> None:
        super().__init__()
        self.mixer = mixer
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.expand = nn.Linear(dim, 4 * dim)
        self.act = nn.GELU()
        self.grn = GRN(4 * dim)
        self.project = nn.Linear(4 * dim, dim)
        self.drop_path = DropPath(drop_path)

    def forward(
        self,
        x: Tensor,
        edges: Table | Tensor,
        num_nodes: int,
        edge_type: Tensor | None = None,
        visible: Tensor | None = None,
    ) -> Tensor:
        h = self.mixer(x, edges, edge_type=edge_type, visible=visible)
        h = self.act(self.expand(self.norm(h)))
        h = self.grn(h, self.project, num_nodes, visible)
        x = x + self.drop_path(h, num_nodes)
        return x if visible is None else x * visible


class Resample(nn.Module):
    """Convolution from one level to the next.

    With `norm_first` LayerNorm -> convolution (downsampling), else convolution -> LayerNorm (stem). `HeteroConv` gives
    pairs (source, target) of features, numbers of nodes of an event, and visibility; the target has no features yet.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, norm_first: bool) -> None:
        super().__init__()
        self.conv = LatticeConv(in_channels, out_channels, kernel_size)
        self.norm = nn.LayerNorm(in_channels if norm_first else out_channels, eps=1e-6)
        self.norm_first = norm_first

    def forward(
        self,
        x: tuple[Tensor, Tensor | None],
        edges: Table | Tensor,
        num_nodes: tuple[int, int],
        edge_type: Tensor | None = None,
        visible: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        before, after = (None, None) if visible is None else visible
        h = self.norm(x[0]) if self.norm_first else x[0]
        size = h.size(0), h.size(0) // num_nodes[0] * num_nodes[1]
        h = self.conv(h, edges, edge_type=edge_type, size=size, visible=before)
        h = h if self.norm_first else self.norm(h)
        return h if after is None else h * after
