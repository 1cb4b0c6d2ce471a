"""Our layouts: lattices by ConvNeXt V2, hexagonal faces by HexNeXt; the light at a node says how much it weighs."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from xecgnn.detector import Face
from xecgnn.models.config import ModelConfig
from xecgnn.models.encoder import LAYOUTS, Inputs, Layout, Nodes
from xecgnn.models.encoder_graph import EncoderGraph
from xecgnn.names import DOWN, HEX, SPREAD, STEM, WINDOW
from xecgnn.nn.block import Block, Resample
from xecgnn.nn.face_encoder import DOWN_KERNEL, GRID, STEM_KERNEL, WINDOW_KERNEL, FaceEncoder, level_name
from xecgnn.nn.hex_conv import HexConv
from xecgnn.nn.lattice_conv import LatticeConv
from xecgnn.nn.pooling import GridPool, LightWeights, MeanPool
from xecgnn.nn.topology import Shape, Topology

__all__ = ["HexLayout", "LatticeLayout", "face_grids"]


@LAYOUTS.register("lattice")
class LatticeLayout(Layout):
    """ConvNeXt V2: stem 4 x 4 -> blocks -> downsampling 2 x 2 to twice the width -> blocks -> pooling to 4 x 4 cells.

    A token is row-major and channels last, D / 16 at each cell. Sensors of unequal size are spread over one or two
    lattices, see `face_grids`. Drop path grows linearly from 0 at the first block. Arguments as of `Layout`.
    """

    def __init__(self, nodes: list[str], spec: EncoderGraph, config: ModelConfig) -> None:
        super().__init__(nodes, spec, config)
        width = config.encoder_dim // (2 * GRID**2)
        first, second = ([level_name(node, level) for node in nodes] for level in (1, 2))
        rates = torch.linspace(0, config.drop_path_rate, sum(config.depths)).tolist()
        stem = ((node, STEM, level) for node, level in zip(nodes, first, strict=True))
        down = ((node, DOWN, level) for node, level in zip(first, second, strict=True))
        self.stack = FaceEncoder(spec.nodes)
        self.stack.add_layer(Resample(2, width, STEM_KERNEL, norm_first=False), stem)
        self._add_blocks(first, width, rates[: config.depths[0]])
        self.stack.add_layer(Resample(width, 2 * width, DOWN_KERNEL, norm_first=True), down)
        self._add_blocks(second, 2 * width, rates[config.depths[0] :])
        self.pools, self.light_levels = nn.ModuleDict(), nn.ModuleDict()
        for node, last in zip(nodes, second, strict=True):
            self.pools[node] = GridPool(spec.shapes[last], config.token_pooling, (GRID, GRID))
            # The light at the nodes of a last level: the average over its part of the first level.
            self.light_levels[node] = GridPool(spec.shapes[node], "average", spec.shapes[last])
        self.light = LightWeights() if config.token_pooling == "light" else None

    @classmethod
    def extend(cls, spec: EncoderGraph, face: Face, config: ModelConfig) -> dict[str, tuple[str, ...]]:
        if face.cells is None:
            raise ValueError(f"face {face.name!r} is no lattice")
        if face.block is None:
            return {face.name: add_levels(spec, face.name, (face.shape[0], face.shape[1]), config.stem_stride)}
        tokens = {}
        for token, (topology, shape) in face_grids(face, config).items():
            spec.add(face.name, SPREAD, level_name(token, 0), topology)
            tokens[token] = add_levels(spec, level_name(token, 0), shape, config.stem_stride)
        return tokens

    def forward(self, inputs: Inputs) -> Nodes:
        features = self.stack({node: inputs.nodes[node] for node in self.nodes}, inputs.edges, inputs.visible)
        tokens: Nodes = {}
        for node, pool in self.pools.items():
            last, weights = level_name(node, 2), None
            visible = inputs.visible.get(last)
            if self.light is not None:
                light = self.light_levels[node](inputs.nodes[node][:, :1], inputs.visible.get(node))
                weights = self.light(light.view(-1, 1), pool.num_nodes, visible)
            tokens[node] = pool(features[last], visible, weights).flatten(1)
        return tokens

    def _add_blocks(self, nodes: list[str], dim: int, rates: list[float]) -> None:
        for p in rates:
            block = Block(LatticeConv(dim, dim, WINDOW_KERNEL, groups=dim), dim, p)
            self.stack.add_layer(block, ((node, WINDOW, node) for node in nodes))


@LAYOUTS.register("hex")
class HexLayout(Layout):
    """HexNeXt: Linear -> LayerNorm -> GELU at each sensor -> blocks whose mixer is graph attention -> mean -> Linear.

    Drop path grows linearly from 0 at the first block. Arguments as of `Layout`.
    """

    def __init__(self, nodes: list[str], spec: EncoderGraph, config: ModelConfig) -> None:
        super().__init__(nodes, spec, config)
        dim = config.hex_dim
        self.stem = nn.Sequential(nn.Linear(2, dim), nn.LayerNorm(dim, eps=1e-6), nn.GELU())
        self.stack = FaceEncoder(spec.nodes)
        for p in torch.linspace(0, config.drop_path_rate, config.hex_depth).tolist():
            self.stack.add_layer(Block(HexConv(dim, spec.hex_taps), dim, p), ((node, HEX, node) for node in nodes))
        self.pools = nn.ModuleDict({node: MeanPool(spec.nodes[node]) for node in nodes})
        self.light = LightWeights() if config.token_pooling == "light" else None
        self.projection = nn.Sequential(nn.LayerNorm(dim, eps=1e-6), nn.Linear(dim, config.encoder_dim))

    @classmethod
    def extend(cls, spec: EncoderGraph, face: Face, config: ModelConfig) -> dict[str, tuple[str, ...]]:
        if face.neighbors is None:
            raise ValueError(f"face {face.name!r} has no hexagonal neighbours")
        spec.add(face.name, HEX, face.name, Topology.neighbors(face.neighbors))
        return {face.name: (face.name,)}

    def forward(self, inputs: Inputs) -> Nodes:
        features = {node: self.stem(inputs.nodes[node]) for node in self.nodes}
        if inputs.visible:
            features = {node: x * inputs.visible[node] for node, x in features.items()}
        features = self.stack(features, inputs.edges, inputs.visible)
        tokens: Nodes = {}
        for node, pool in self.pools.items():
            light, visible = inputs.nodes[node][:, :1], inputs.visible.get(node)
            weights = None if self.light is None else self.light(light, pool.num_nodes, visible)
            tokens[node] = self.projection(pool(features[node], visible, weights))
        return tokens


def add_levels(spec: EncoderGraph, node: str, shape: Shape, stem_stride: int) -> tuple[str, ...]:
    """Adds the two levels behind a lattice, with their windows; gives the names of all three.

    The stride of the stem is smaller where it would leave too little for the next level.
    """
    while stem_stride > 1 and (min(shape) + 2 - STEM_KERNEL) // stem_stride + 1 < DOWN_KERNEL:
        stem_stride -= 1
    spec.shapes[node] = shape
    levels = node, level_name(node, 1), level_name(node, 2)
    for source, target, relation, kernel, stride, padding in (
        (levels[0], levels[1], STEM, STEM_KERNEL, stem_stride, 1),
        (levels[1], levels[2], DOWN, DOWN_KERNEL, DOWN_KERNEL, 0),
    ):
        topology = Topology.windows(spec.shapes[source], (kernel, kernel), stride, padding)
        assert topology.window is not None
        spec.add(source, relation, target, topology)
        spec.add_windows(target, WINDOW, topology.window.target_shape, WINDOW_KERNEL)
    return levels


def face_grids(face: Face, config: ModelConfig) -> dict[str, tuple[Topology, Shape]]:
    """Lattices of a face whose sensors have unequal sizes, by token name: one, or two in the mode `split`.

    - finegrid: the fine grid pooled by `outer_fine_pool` (the last row and column of cells may be smaller).
    - split: the coarse lattice, in which the dense block is summed up, and the dense block itself.

    Returns:
        For each lattice the edges from the sensors to its cells, and its rows and columns.
    """
    if face.block is None or face.coarse_shape is None or face.cells is None:
        raise ValueError(f"face {face.name!r} has no dense block")
    if config.outer_mode == "finegrid":
        cells, shape = grid_cells(face.shape, config.outer_fine_pool)
        return {face.name: (Topology.overlaps(face.cells, cells), shape)}
    coarse = tuple(fine // n for fine, n in zip(face.shape, face.coarse_shape, strict=True))
    cells, shape = grid_cells(face.shape, coarse)
    dense = Topology.overlaps(face.cells, face.cells[face.block.local_ids])
    return {
        face.name: (Topology.overlaps(face.cells, cells), shape),
        f"{face.name}_dense": (dense, face.block.shape),
    }


def grid_cells(shape: tuple[int, ...], size: tuple[int, ...]) -> tuple[NDArray[np.int64], Shape]:
    """Cells of `size` that cut up a lattice of `shape`: rectangles (M, 4) [row0, row1, col0, col1); and their shape."""
    rows, cols = (np.arange(0, n, step) for n, step in zip(shape, size, strict=True))
    row0, col0 = (a.ravel() for a in np.meshgrid(rows, cols, indexing="ij"))
    ends = np.minimum(row0 + size[0], shape[0]), np.minimum(col0 + size[1], shape[1])
    return np.stack([row0, ends[0], col0, ends[1]], 1), (len(rows), len(cols))
