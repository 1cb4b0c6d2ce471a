"""A face of the detector: which sensors it has, how they are laid out, who is whose neighbour."""

from __future__ import annotations

from dataclasses import dataclass
from math import lcm, pi
from typing import Literal

import numpy as np

from xecgnn.arrays import Floats, Ints
from xecgnn.detector import lattice
from xecgnn.detector.description import Cylinder, Endcap, Hex
from xecgnn.detector.surfaces import place

__all__ = ["Block", "Face", "SensorKind", "build_face"]


@dataclass(frozen=True)
class SensorKind:
    """A kind of sensor: active square of half width `size` or disc of radius `size` (cm), and detection efficiency."""

    shape: Literal["square", "disc"]
    size: float
    efficiency: float

    @property
    def area(self) -> float:
        """Active area in cm2."""
        return 4 * self.size**2 if self.shape == "square" else pi * self.size**2


@dataclass(frozen=True, eq=False)
class Block:
    """The dense part of a lattice face: `shape` sensors in place of the coarse cells `rows` x `cols` ([from, to))."""

    local_ids: Ints  # face-local ids, row-major [rows * cols of the block]
    shape: tuple[int, int]
    rows: tuple[int, int]
    cols: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Face:
    """Sensors of one face by ascending id; a "face-local id" is the place in that order. Arrays are not to be edited.

    A lattice face is a grid of `shape` = (rows, cols) unit cells, and each sensor covers the rectangle `cells`; without
    a block these are single cells. With one, the grid is the coarsest that resolves both lattices, and `coarse_shape`
    is the lattice without the block. A hex face has the lengths of its rows as `shape`, and a table `neighbors`.
    """

    name: str
    sensor_ids: Ints  # [N] ascending
    sensor: str  # kind of sensor
    layout: Literal["lattice", "hex"]  # also the name of its relation
    shape: tuple[int, ...]
    edge_index: Ints  # [2, num_edges] (source, target), self edges included, sorted by target
    edge_type: Ints  # [num_edges] tap
    sides: dict[str, Ints]  # first_row, last_row, first_col, last_col -> face-local ids
    cells: Ints | None = None  # [N, 4] row0, row1, col0, col1 (end excluded); lattice only
    neighbors: Ints | None = None  # [N, 7] face-local ids, -1 where absent, tap 0 = self; hex only
    coarse_shape: tuple[int, int] | None = None
    block: Block | None = None

    def __len__(self) -> int:
        return len(self.sensor_ids)

    def __repr__(self) -> str:
        return f"Face({self.name}: {len(self)} {self.sensor}, {self.layout} {self.shape})"


def build_face(name: str, entry: Cylinder | Endcap | Hex, opening: float) -> tuple[Face, Floats, Floats]:
    """The face with nominal positions (N, 3) cm and normals (N, 3) of its sensors; `opening` in rad."""
    position, normal = place(entry, opening)
    if isinstance(entry, Hex):
        neighbors = lattice.hex_neighbors(entry.rows)
        ids = entry.first_id + np.arange(len(neighbors))
        edges, sides = lattice.hex_edges(neighbors), lattice.hex_sides(entry.rows)
        face = Face(name, ids, entry.sensor, "hex", tuple(entry.rows), *edges, sides, neighbors=neighbors)
        return face, position, normal
    if isinstance(entry, Cylinder) and entry.block is not None:
        return _face_with_block(name, entry, position, normal)
    cells = lattice.grid_cells(entry.shape)
    ids = entry.first_id + np.arange(len(cells))
    edges, sides = lattice.lattice_edges(cells, entry.shape), lattice.grid_sides(cells, entry.shape)
    return Face(name, ids, entry.sensor, "lattice", entry.shape, *edges, sides, cells=cells), position, normal


def _face_with_block(name: str, entry: Cylinder, position: Floats, normal: Floats) -> tuple[Face, Floats, Floats]:
    """The coarse lattice without the cells that the block replaces, and the block, on a grid that resolves both."""
    block, coarse_shape = entry.block, entry.shape
    assert block is not None
    block_shape = block.shape
    (row0, row1), (col0, col1) = block.rows, block.cols
    # Both lattices fit a grid with the least common multiple of their rows, and of their columns, in the block.
    fine_rows, fine_cols = lcm(row1 - row0, block_shape[0]), lcm(col1 - col0, block_shape[1])
    cell = fine_rows // (row1 - row0), fine_cols // (col1 - col0)
    shape = coarse_shape[0] * cell[0], coarse_shape[1] * cell[1]
    fine_cell = fine_rows // block_shape[0], fine_cols // block_shape[1]

    replaced = np.zeros(coarse_shape, dtype=bool)
    replaced[row0:row1, col0:col1] = True
    coarse_ids = entry.first_id + np.arange(replaced.size)
    block_ids = np.array(block.ids, dtype=np.int64).ravel()
    # `place` gives the whole coarse lattice, then the block: keep what is there, in ascending order of id.
    keep = np.concatenate([~replaced.ravel(), np.ones(len(block_ids), dtype=bool)])
    ids = np.concatenate([coarse_ids, block_ids])[keep]
    origin = row0 * cell[0], col0 * cell[1]
    cells = np.concatenate([lattice.grid_cells(coarse_shape, cell), lattice.grid_cells(block_shape, fine_cell, origin)])
    order = np.argsort(ids)
    ids, cells = ids[order], cells[keep][order]

    face = Face(
        name,
        ids,
        entry.sensor,
        "lattice",
        shape,
        *lattice.lattice_edges(cells, shape),
        lattice.grid_sides(cells, shape),
        cells=cells,
        coarse_shape=coarse_shape,
        block=Block(np.searchsorted(ids, block_ids), block_shape, block.rows, block.cols),
    )
    return face, position[keep][order], normal[keep][order]
