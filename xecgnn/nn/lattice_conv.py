"""Convolution on the edges of a lattice."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.typing import OptTensor, SparseTensor
from torch_geometric.utils import scatter

from xecgnn.nn.messages import MessagePassing
from xecgnn.nn.topology import EventTable, Table

__all__ = ["LatticeConv"]


class LatticeConv(MessagePassing):
    r"""Convolution whose window is a set of edges, each with a tap:

    .. math:: y_i = b + \sum_{j \in N(i)} W_{tap(j, i)} \, x_j

    Given a `Table` or an `EventTable` it runs dense, as `conv2d` over a regular lattice; given edges it passes
    messages. The parameters have the shapes of `torch.nn.Conv2d`, and all agree to float precision.

    Args:
        in_channels: channels of a source node.
        out_channels: channels of a target node.
        kernel_size: side k of the window; taps are i k + j.
        groups: as in `Conv2d`; equal to both numbers of channels for a depthwise convolution.

    Shapes:
        - x: (num_source, in_channels), the nodes of all events one after the other
        - edges: a `Table`, an `edge_index` (2, E) with `edge_type` (E,), or a `SparseTensor` (num_target,
          num_source) whose value is the tap
        - size: (num_source, num_target); without it an `edge_index` joins nodes of one level
        - visible: (num_source, 1) of 0 and 1; a hidden node sends nothing
        - output: (num_target, out_channels)
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, groups: int = 1) -> None:
        super().__init__(aggr="sum")
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel, self.groups = (kernel_size, kernel_size), groups
        self.depthwise = groups == in_channels == out_channels
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels // groups, *self.kernel))
        self.bias = nn.Parameter(torch.empty(out_channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.trunc_normal_(self.weight, std=0.02)  # as ConvNeXt
        nn.init.zeros_(self.bias)

    def forward(
        self,
        x: Tensor,
        edges: Table | EventTable | Tensor | SparseTensor,
        edge_type: Tensor | None = None,
        size: tuple[int, int] | None = None,
        visible: Tensor | None = None,
    ) -> Tensor:
        if visible is not None:
            x = x * visible
        if isinstance(edges, Table | EventTable):
            return self._dense(x, edges)
        return self.propagate(edges, x=x, edge_type=edge_type, size=size) + self.bias

    def _dense(self, x: Tensor, table: Table | EventTable) -> Tensor:
        if table.num_taps != self.kernel[0] * self.kernel[1]:
            raise ValueError(f"edges with {table.num_taps} taps given to a convolution with the kernel {self.kernel}")
        if table.window is None:
            rows = table.gather(x) * table.present.unsqueeze(-1)  # [B, N', K, C]
            return self._weighted(rows.flatten(0, 1)) + self.bias
        x = x.reshape(-1, *table.window.source_shape, self.in_channels)
        x = x.permute(0, 3, 1, 2)  # [B, C, H, W] in channels_last order: the same memory
        x = F.conv2d(x, self.weight, self.bias, table.window.stride, table.window.padding, groups=self.groups)
        return x.permute(0, 2, 3, 1).reshape(-1, self.out_channels)  # [B*N', C']

    def _weighted(self, rows: Tensor) -> Tensor:
        """The sum over taps, from what each target has at each tap: (num_target, K, C) -> (num_target, C')."""
        rows = rows.unflatten(-1, (self.groups, -1))  # [N', K, G, C/G]
        weight = self.weight.view(self.groups, -1, *self.weight.shape[1:]).flatten(3)  # [G, C'/G, C/G, K]
        return torch.einsum("nkgc,gdck->ngd", rows, weight).flatten(1)

    def message(self, x_j: Tensor, edge_type: Tensor) -> Tensor:
        if self.depthwise:
            return x_j * self.weight.flatten(1).t()[edge_type]
        return x_j

    def aggregate(self, inputs: Tensor, index: Tensor, ptr: OptTensor, edge_type: Tensor, dim_size: int) -> Tensor:
        if self.depthwise:
            return super().aggregate(inputs, index, ptr, dim_size)
        taps = self.kernel[0] * self.kernel[1]  # one row per target and tap, then one product: no matrix per edge
        rows = scatter(inputs, index * taps + edge_type, 0, dim_size * taps, "sum")
        return self._weighted(rows.view(dim_size, taps, -1))

    def __repr__(self) -> str:
        return f"LatticeConv({self.in_channels}, {self.out_channels}, kernel={self.kernel}, groups={self.groups})"
