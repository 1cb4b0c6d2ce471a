"""Back from the fused tokens to the sensors: what pretraining and inpainting share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch_geometric.nn.module_dict import ModuleDict

from xecgnn.models.encoder_graph import EncoderGraph
from xecgnn.names import SPREAD
from xecgnn.nn.face_encoder import GRID
from xecgnn.nn.pooling import GridPool
from xecgnn.nn.topology import Topology

__all__ = ["SensorReadout", "TokenGrid"]

Nodes = dict[str, Tensor]  # by node type


class TokenGrid(nn.Module):
    """Lattice tokens, grids of 4 x 4 cells, onto lattices of other shapes: a Linear on each cell, then interpolation.

    Args:
        token_dim: token dimension D.
        dim: channels on the lattice.
        shapes: rows H and columns W of each lattice, by node type.
    """

    def __init__(self, token_dim: int, dim: int, shapes: Mapping[str, tuple[int, int]]) -> None:
        super().__init__()
        self.linear = nn.Linear(token_dim // GRID**2, dim)
        self.maps = ModuleDict({node: GridPool((GRID, GRID), "bilinear", shape) for node, shape in shapes.items()})

    def forward(self, tokens: Nodes) -> Nodes:
        """(B, D) of each lattice -> (B * H * W, dim)."""
        cells = {node: self.linear(tokens[node].reshape(-1, self.linear.in_features)) for node, _ in self.maps.items()}
        return {node: pool(cells[node]).flatten(0, 2) for node, pool in self.maps.items()}


class SensorReadout(nn.Module):
    """First-level lattices -> the sensors of their faces: (B * M, C) by node type -> (B * N, C) by face.

    The nodes of a lattice are its sensors, unless sensors of unequal size were spread over it (see `CellMean`).
    """

    def __init__(self, spec: EncoderGraph) -> None:
        super().__init__()
        self.nodes: dict[str, list[str]] = {}  # face -> lattices
        grids: dict[str, list[Topology]] = {}
        for node in spec.lattices:
            face = spec.inputs[node]
            self.nodes.setdefault(face, []).append(node)
            if node != face:
                grids.setdefault(face, []).append(spec.relations[face, SPREAD, node])
        self.means = ModuleDict({face: CellMean(found) for face, found in grids.items()})

    def forward(self, maps: Nodes) -> Nodes:
        means = dict(self.means.items())
        return {
            face: means[face]([maps[node] for node in nodes]) if face in means else maps[nodes[0]]
            for face, nodes in self.nodes.items()
        }


class CellMean(nn.Module):
    """Mean over the lattice cells that a sensor overlaps, weighted by the overlap.

    A sensor on several lattices reads the last one, which is the dense one.

    Args:
        grids: the lattices, the dense one last.
    """

    weights: Tensor  # (N, M), cells of all lattices one after the other

    def __init__(self, grids: Sequence[Topology]) -> None:
        super().__init__()
        self.num_cells = [grid.num_target for grid in grids]
        parts: list[Tensor] = []
        for grid in grids:
            assert grid.edge_attr is not None
            sensors, cells = grid.edge_index
            overlap = torch.zeros(grid.num_source, grid.num_target)
            overlap[sensors, cells] = grid.edge_attr[:, 1]
            parts = [torch.where(overlap.any(1, keepdim=True), 0, part) for part in parts] + [overlap]
        weights = torch.cat(parts, 1)
        self.register_buffer("weights", weights / weights.sum(1, keepdim=True), persistent=False)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        cells = [x.view(-1, n, x.size(-1)) for x, n in zip(maps, self.num_cells, strict=True)]
        return (self.weights @ torch.cat(cells, 1)).flatten(0, 1)
