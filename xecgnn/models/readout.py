"""Back from the fused tokens to the sensors: what pretraining and inpainting share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch_geometric.nn.module_dict import ModuleDict

from xecgnn.models.encoder import Nodes
from xecgnn.models.encoder_graph import EncoderGraph
from xecgnn.names import SPREAD
from xecgnn.nn.face_encoder import GRID
from xecgnn.nn.pooling import GridPool
from xecgnn.nn.topology import Shape, Topology

__all__ = ["SensorReadout", "TokenContext"]


class TokenContext(nn.Module):
    """What the nodes of a face learn from its token.

    A lattice token, a grid of 4 x 4 cells, is interpolated onto the lattice after a Linear on each cell; a hexagonal
    one says the same to all nodes.

    Args:
        token_dim: token dimension D.
        dim: channels at the nodes.
        shapes: rows H and columns W of each lattice, by node type.
        hexes: hexagonal faces.
    """

    def __init__(self, token_dim: int, dim: int, shapes: Mapping[str, Shape], hexes: Sequence[str] = ()) -> None:
        super().__init__()
        self.lattice, self.hex = nn.Linear(token_dim // GRID**2, dim), nn.Linear(token_dim, dim)
        self.maps = ModuleDict({node: GridPool((GRID, GRID), "bilinear", shape) for node, shape in shapes.items()})
        self.hexes = hexes

    def forward(self, tokens: Nodes) -> Nodes:
        """(B, D) of each node type -> (B, H * W, dim) on lattices, (B, 1, dim) on hexagonal faces."""
        context = {node: self.hex(tokens[node]).unsqueeze(1) for node in self.hexes}
        for node, pool in self.maps.items():
            cells = self.lattice(tokens[node].reshape(-1, self.lattice.in_features))
            context[node] = pool(cells).flatten(1, 2)
        return context


class SensorReadout(nn.Module):
    """First levels -> the sensors of their faces: (B * M, C) by node type -> (B * N, C) by face.

    The nodes of a first level are the sensors, unless sensors of unequal size were spread over it (see `CellMean`).
    """

    def __init__(self, spec: EncoderGraph) -> None:
        super().__init__()
        self.nodes: dict[str, list[str]] = {}  # face -> lattices
        grids: dict[str, list[Topology]] = {}
        for node, face in spec.inputs.items():
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
