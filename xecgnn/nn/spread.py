"""Sensors of unequal size onto a regular lattice, on raw readings."""

from __future__ import annotations

import torch
from torch import Tensor

from xecgnn.nn.messages import MessagePassing
from xecgnn.nn.topology import Table

__all__ = ["Spread"]

Columns = tuple[Tensor, Tensor, Tensor]  # x (B * N, 2) raw; npho_valid, time_valid (B * N,) bool, True = usable


class Spread(MessagePassing):
    r"""Shares the light of a sensor among the lattice cells it covers; total npho is conserved.

    .. math:: n_i = \sum_j \frac{A_{ij}}{A_j} n_j, \qquad t_i = \frac{\sum_j A_{ij} t_j}{\sum_j A_{ij}}

    with the overlap :math:`A_{ij}` of cell i and sensor j (area :math:`A_j`); sums run over valid readings. A cell is
    invalid if all its sensors are.

    Args (of forward):
        readings: raw values and their validity on the sensors.
        edges: a `Table` with these weights (dense execution), or an `edge_index` (2, E).
        edge_attr: (E, 2) share and overlap of each edge; only with an `edge_index`.
        size: (num_source, num_target); only with an `edge_index`.
    """

    def __init__(self) -> None:
        super().__init__(aggr="sum")

    def forward(
        self,
        readings: Columns,
        edges: Table | Tensor,
        edge_attr: Tensor | None = None,
        size: tuple[int, int] | None = None,
    ) -> Columns:
        x, npho_valid, time_valid = readings
        valid = torch.stack([npho_valid, time_valid], -1)
        columns = torch.cat([torch.where(valid, x, 0), valid.to(x.dtype)], -1)  # [B*N, 4]
        if isinstance(edges, Table):
            assert edges.weight is not None
            weight = edges.weight.to(x.dtype)  # [M, K, 2]
            columns = (edges.gather(columns) * weight.repeat(1, 1, 2)).sum(2).view(-1, 4)  # [B*M, 4]
        else:
            columns = self.propagate(edges, x=columns, edge_attr=edge_attr, size=size)
        npho, time, any_npho, any_time = columns.unbind(-1)
        npho_valid, time_valid = any_npho > 0, any_time > 0
        time = time / torch.where(time_valid, any_time, 1)
        return torch.stack([npho, time], -1), npho_valid, time_valid

    def message(self, x_j: Tensor, edge_attr: Tensor) -> Tensor:
        return x_j * edge_attr.to(x_j.dtype).repeat(1, 2)

    def __repr__(self) -> str:
        return "Spread()"
