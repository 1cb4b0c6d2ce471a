"""Graph attention on hexagonal faces, with a weight for each direction."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.typing import OptTensor, SparseTensor
from torch_geometric.utils import softmax

from xecgnn.nn.messages import MessagePassing
from xecgnn.nn.topology import Table

__all__ = ["HexConv"]


class HexConv(MessagePassing):
    r"""Depthwise convolution over hexagonal taps k, weighted by dynamic attention (GATv2, arXiv:2105.14491):

    .. math::
        \alpha_{ij} = \mathrm{softmax}_j \; a^T \, \mathrm{LeakyReLU}(S x_j + T x_i + e_k), \qquad
        y_i = b + \sum_j \alpha_{ij} \, w_k \odot x_j

    with :math:`k = tap(j, i)`. The weights :math:`w_k` tell directions apart, which attention alone cannot.

    Args:
        channels: features of a node.
        num_taps: neighbours of a node at most, itself included.
        heads: attention heads; each owns channels / heads channels.

    Shapes:
        - x: (B * N, channels)
        - edges: a `Table` (dense execution), an `edge_index` (2, E) with `edge_type` (E,), or a `SparseTensor`
          whose value is the tap
        - visible: (B * N, 1) of 0 and 1; a hidden node gets no attention
        - output: (B * N, channels)
    """

    def __init__(self, channels: int, num_taps: int = 7, heads: int = 4) -> None:
        super().__init__(aggr="sum", node_dim=0)
        if channels % heads:
            raise ValueError(f"{channels} channels cannot be divided among {heads} attention heads")
        self.channels, self.heads = channels, heads
        self.source = nn.Linear(channels, channels)
        self.target = nn.Linear(channels, channels, bias=False)
        self.tap = nn.Parameter(torch.empty(num_taps, channels))
        self.attention = nn.Parameter(torch.empty(heads, channels // heads))
        self.weight = nn.Parameter(torch.empty(num_taps, channels))
        self.bias = nn.Parameter(torch.empty(channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        super().reset_parameters()
        for linear in (self.source, self.target):
            nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(self.source.bias)
        nn.init.trunc_normal_(self.tap, std=0.02)
        nn.init.xavier_uniform_(self.attention)
        nn.init.trunc_normal_(self.weight, mean=1.0, std=0.5)  # starts as an average that already has directions
        nn.init.zeros_(self.bias)

    def forward(
        self,
        x: Tensor,
        edges: Table | Tensor | SparseTensor,
        edge_type: Tensor | None = None,
        visible: Tensor | None = None,
    ) -> Tensor:
        source, target = self.source(x), self.target(x)
        if isinstance(edges, Table):
            return self._attend(x, source, target, edges, visible) + self.bias
        out = self.propagate(edges, x=x, source=source, target=target, visible=visible, edge_type=edge_type)
        return out + self.bias

    def _attend(self, x: Tensor, source: Tensor, target: Tensor, table: Table, visible: Tensor | None) -> Tensor:
        present = table.present.unsqueeze(-1).expand(-1, -1, self.heads)  # [N, K, H]
        if visible is not None:
            present = present & (table.gather(visible) > 0)  # [B, N, K, H]
        target = target.view(-1, table.num_target, 1, self.channels)
        score = self._score(table.gather(source) + target + self.tap)  # [B, N, K, H]
        score = score.masked_fill(~present, torch.finfo(score.dtype).min)
        alpha = score.softmax(2)
        if visible is not None:
            alpha = alpha * present  # after the softmax too: a node without visible neighbours gets zero
        value = (table.gather(x) * self.weight).unflatten(-1, (self.heads, -1))  # [B, N, K, H, C/H]
        return (alpha.unsqueeze(-1) * value).sum(2).view(-1, self.channels)

    def _score(self, hidden: Tensor) -> Tensor:
        hidden = F.leaky_relu(hidden, 0.2).unflatten(-1, (self.heads, -1))
        return (hidden * self.attention).sum(-1)  # [..., H]

    def message(
        self,
        x_j: Tensor,
        source_j: Tensor,
        target_i: Tensor,
        visible_j: OptTensor,
        edge_type: Tensor,
        index: Tensor,
        ptr: OptTensor,
        dim_size: int,
    ) -> Tensor:
        score = self._score(source_j + target_i + self.tap[edge_type])  # [E, H]
        if visible_j is not None:
            score = score.masked_fill(visible_j == 0, torch.finfo(score.dtype).min)
        alpha = softmax(score, index, ptr, dim_size)
        if visible_j is not None:
            alpha = alpha * visible_j
        value = (x_j * self.weight[edge_type]).unflatten(-1, (self.heads, -1))
        return (alpha.unsqueeze(-1) * value).flatten(1)

    def __repr__(self) -> str:
        return f"HexConv({self.channels}, num_taps={self.weight.size(0)}, heads={self.heads})"
