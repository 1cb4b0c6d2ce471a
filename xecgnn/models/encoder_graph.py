"""The graph that the encoder runs on: the sensors, lattices of unequal sensors, and the deeper levels."""

from __future__ import annotations

import numpy as np

from xecgnn.detector import Detector, Face
from xecgnn.models.config import ModelConfig
from xecgnn.models.graph import GraphSpec
from xecgnn.names import DOWN, HEX, SPREAD, STEM, WINDOW
from xecgnn.nn.face_encoder import DOWN_KERNEL, STEM_KERNEL, WINDOW_KERNEL, level_name
from xecgnn.nn.topology import Shape, Topology

__all__ = ["EncoderGraph", "face_grids"]


class EncoderGraph(GraphSpec):
    """Relations `spread`, `stem`, `window`, `down` of lattices, `hex` of hexagonal faces.

    Attributes:
        inputs: node type of each first level -> its face; a face in the mode `split` has two.
        tokens: token name -> node types from its first level to its last, in token order.
        shapes: rows and columns of the lattices among the node types.
        token_centers: (T, 3) mean position of the sensors behind each token, cm.

    Args:
        detector: faces and sensors.
        config: how a face with a dense block becomes lattices.
    """

    def __init__(self, detector: Detector, config: ModelConfig) -> None:
        super().__init__(detector)
        self.inputs: dict[str, str] = {}
        self.tokens: dict[str, tuple[str, ...]] = {}
        self.shapes: dict[str, Shape] = {}
        centers = []
        for name, face in detector.faces.items():
            if face.block is not None:
                for token, (topology, shape) in face_grids(face, config).items():
                    self.add(name, SPREAD, level_name(token, 0), topology)
                    self._add_lattice(token, level_name(token, 0), name, shape)
                    sensors = topology.edge_index[0].unique().numpy()
                    centers.append(detector.position[face.sensor_ids[sensors]].mean(0))
                continue
            centers.append(detector.position[face.sensor_ids].mean(0))
            if face.neighbors is None:
                self._add_lattice(name, name, name, (face.shape[0], face.shape[1]))
            else:
                self.add(name, HEX, name, Topology.neighbors(face.neighbors))
                self.inputs[name], self.tokens[name] = name, (name,)
        self.token_centers = np.stack(centers)

    @property
    def lattices(self) -> dict[str, Shape]:
        """Rows and columns of the lattices of the first level."""
        return {node: self.shapes[node] for node in self.inputs if node in self.shapes}

    @property
    def hexes(self) -> list[str]:
        """Hexagonal faces."""
        return [node for node in self.inputs if node not in self.shapes]

    @property
    def hex_taps(self) -> int:
        """Largest number of neighbours on a hexagonal face, itself included."""
        return max((self.relations[node, HEX, node].num_taps for node in self.hexes), default=1)

    def add_windows(self, node: str, relation: str, shape: Shape, kernel: int) -> None:
        """Neighbourhoods of kernel x kernel nodes inside a lattice."""
        self.shapes[node] = shape
        self.add(node, relation, node, Topology.windows(shape, (kernel, kernel), padding=kernel // 2))

    def _add_lattice(self, token: str, node: str, face: str, shape: Shape) -> None:
        levels = node, level_name(node, 1), level_name(node, 2)
        self.inputs[node], self.tokens[token], self.shapes[node] = face, levels, shape
        stem = Topology.windows(shape, (STEM_KERNEL, STEM_KERNEL), padding=1)
        self.add(node, STEM, levels[1], stem)
        assert stem.window is not None
        self.add_windows(levels[1], WINDOW, stem.window.target_shape, WINDOW_KERNEL)
        down = Topology.windows(stem.window.target_shape, (DOWN_KERNEL, DOWN_KERNEL), DOWN_KERNEL)
        self.add(levels[1], DOWN, levels[2], down)
        assert down.window is not None
        self.add_windows(levels[2], WINDOW, down.window.target_shape, WINDOW_KERNEL)


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


def grid_cells(shape: tuple[int, ...], size: tuple[int, ...]) -> tuple[np.ndarray, Shape]:
    """Cells of `size` that cut up a lattice of `shape`: rectangles (M, 4) [row0, row1, col0, col1); and their shape."""
    rows, cols = (np.arange(0, n, step) for n, step in zip(shape, size, strict=True))
    row0, col0 = (a.ravel() for a in np.meshgrid(rows, cols, indexing="ij"))
    ends = np.minimum(row0 + size[0], shape[0]), np.minimum(col0 + size[1], shape[1])
    return np.stack([row0, ends[0], col0, ends[1]], 1), (len(rows), len(cols))
