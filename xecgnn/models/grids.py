"""Which lattices a face becomes."""

from __future__ import annotations

import numpy as np

from xecgnn.detector import Face
from xecgnn.models.config import ModelConfig
from xecgnn.nn.topology import SpreadTopology

__all__ = ["face_grids"]


def face_grids(face: Face, config: ModelConfig) -> dict[str, SpreadTopology]:
    """Lattices of a face whose sensors have unequal sizes, by token name: one, or two in the mode `split`.

    - finegrid: the fine grid pooled by `outer_fine_pool` (the last row and column of cells may be smaller).
    - split: the coarse lattice, in which the dense block is summed up, and the dense block itself.
    """
    if face.block is None or face.coarse_shape is None or face.cells is None:
        raise ValueError(f"face {face.name!r} has no dense block")
    if config.outer_mode == "finegrid":
        cells, shape = grid_cells(face.shape, config.outer_fine_pool)
        return {face.name: SpreadTopology(face.cells, cells, shape)}
    coarse = tuple(fine // n for fine, n in zip(face.shape, face.coarse_shape, strict=True))
    cells, shape = grid_cells(face.shape, coarse)
    return {
        face.name: SpreadTopology(face.cells, cells, shape),
        f"{face.name}_dense": SpreadTopology(face.cells, face.cells[face.block.local_ids], face.block.shape),
    }


def grid_cells(shape: tuple[int, ...], size: tuple[int, ...]) -> tuple[np.ndarray, tuple[int, int]]:
    """Cells of `size` that cut up a lattice of `shape`: rectangles (M, 4) [row0, row1, col0, col1); and their shape."""
    rows, cols = (np.arange(0, n, step) for n, step in zip(shape, size, strict=True))
    row0, col0 = (a.ravel() for a in np.meshgrid(rows, cols, indexing="ij"))
    ends = np.minimum(row0 + size[0], shape[0]), np.minimum(col0 + size[1], shape[1])
    return np.stack([row0, ends[0], col0, ends[1]], 1), (len(rows), len(cols))
