"""Neighbours as index arrays: pure functions from cells, row lengths or positions to edges.

An edge list is (2, num_edges) int64: row 0 the source, row 1 the target, sorted by target. Its tap says where the
source lies as seen from the target.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial import cKDTree

from xecgnn.arrays import Floats, Ints

__all__ = [
    "HEX_TAPS",
    "grid_cells",
    "grid_sides",
    "hex_edges",
    "hex_neighbors",
    "hex_sides",
    "lattice_edges",
    "nearest_pairs",
]


HEX_TAPS = ((0, 0.0), (0, 1.0), (0, -1.0), (-1, 0.5), (-1, -0.5), (1, 0.5), (1, -0.5))
"""(row step, column step in pitches) of the taps: self, then east and west in the same, the previous, the next row.

East is +z. The mirror z -> -z swaps taps 1 and 2, 3 and 4, 5 and 6."""

TIE = 1e-6
"""Distances (cm) that differ by less are equal: all are neighbours, so that edges keep the detector's mirrors."""


def grid_cells(shape: tuple[int, int], cell: tuple[int, int] = (1, 1), origin: tuple[int, int] = (0, 0)) -> Ints:
    """Rectangles (rows * cols, 4) = [row0, row1, col0, col1) of a lattice of `shape` cells of size `cell`, by row."""
    row, col = (index.ravel() for index in np.indices(shape))
    row0, col0 = origin[0] + row * cell[0], origin[1] + col * cell[1]
    return np.stack([row0, row0 + cell[0], col0, col0 + cell[1]], axis=1).astype(np.int64)


def lattice_edges(cells: Ints, shape: tuple[int, int]) -> tuple[Ints, Ints]:
    """Pairs of sensors whose cells touch, also by a corner, and their taps; every sensor is its own neighbour.

    Args:
        cells: (N, 4) [row0, row1, col0, col1) that tile a grid of `shape`.

    Returns:
        edge_index (2, num_edges) sorted by target, then source, and tap (num_edges,) = 3 * (row + 1) + (col + 1) where
        row and col are -1, 0, +1 if the source's interval lies before, over or after the target's. For unit cells this
        is the 3 x 3 neighbourhood, taps row-major.

    Raises:
        ValueError: if the cells overlap or leave a hole.
    """
    owner = np.full((shape[0] + 2, shape[1] + 2), -1, dtype=np.int64)  # a rim of nobody around the grid
    for sensor, (row0, row1, col0, col1) in enumerate(cells):
        if np.any(owner[1 + row0 : 1 + row1, 1 + col0 : 1 + col1] != -1):
            raise ValueError(f"cell {[row0, row1, col0, col1]} of sensor {sensor} overlaps another cell")
        owner[1 + row0 : 1 + row1, 1 + col0 : 1 + col1] = sensor
    if np.any(owner[1:-1, 1:-1] == -1):
        raise ValueError(f"the {len(cells)} cells leave holes in the grid of {shape[0]} x {shape[1]}")

    target = owner[1:-1, 1:-1]
    rows, cols = shape
    sources = np.stack([owner[i : i + rows, j : j + cols] for i in range(3) for j in range(3)])  # [9, rows, cols]
    pairs = (np.broadcast_to(target, sources.shape) * len(cells) + sources)[sources >= 0]
    target, source = np.divmod(np.unique(pairs), len(cells))

    def relation(start: int) -> Ints:  # of intervals [start, start + 1]: -1 before, 0 over, +1 after
        after = cells[source, start] >= cells[target, start + 1]
        before = cells[source, start + 1] <= cells[target, start]
        return after.astype(np.int64) - before.astype(np.int64)

    return np.stack([source, target]), 3 * (relation(0) + 1) + relation(2) + 1


def hex_neighbors(rows: Sequence[int]) -> Ints:
    """Table (N, 7) of neighbours per tap (see HEX_TAPS) of hexagonal rows of the given lengths, -1 where there is none.

    Columns are counted from the centre of their row, c = n - (length - 1) / 2: whether a row is shifted left or right
    follows from its length, not from the parity of its number.
    """
    starts = np.concatenate([[0], np.cumsum(rows)])
    table = np.full((starts[-1], len(HEX_TAPS)), -1, dtype=np.int64)
    for row, length in enumerate(rows):
        for tap, (row_step, col_step) in enumerate(HEX_TAPS):
            other = row + row_step
            if not 0 <= other < len(rows):
                continue
            # n' = c + col_step + (length' - 1) / 2 is whole: lengths of neighbouring rows differ by an odd number.
            n = np.arange(length) + (rows[other] - length + int(2 * col_step)) // 2
            inside = (n >= 0) & (n < rows[other])
            table[starts[row] : starts[row + 1], tap][inside] = starts[other] + n[inside]
    return table


def hex_edges(neighbors: Ints) -> tuple[Ints, Ints]:
    """Edges (2, num_edges), sorted by target, then tap, and taps (num_edges,) of a table of neighbours (N, taps)."""
    target, tap = np.nonzero(neighbors >= 0)
    return np.stack([neighbors[target, tap], target]), tap


def grid_sides(cells: Ints, shape: tuple[int, int]) -> dict[str, Ints]:
    """Sensors whose cell lies on the given side of the grid."""
    row0, row1, col0, col1 = cells.T
    on_side = {
        "first_row": row0 == 0,
        "last_row": row1 == shape[0],
        "first_col": col0 == 0,
        "last_col": col1 == shape[1],
    }
    return {side: np.flatnonzero(mask) for side, mask in on_side.items()}


def hex_sides(rows: Sequence[int]) -> dict[str, Ints]:
    """Sensors on the sides of a hexagonal face: its first and last row, the first and last sensor of every row."""
    starts = np.concatenate([[0], np.cumsum(rows)]).astype(np.int64)
    return {
        "first_row": np.arange(starts[0], starts[1]),
        "last_row": np.arange(starts[-2], starts[-1]),
        "first_col": starts[:-1],
        "last_col": starts[1:] - 1,
    }


def nearest_pairs(a: Floats, b: Floats) -> Ints:
    """Index pairs (2, num_pairs) that join each point of `a` (A, 3) to its nearest in `b` (B, 3), and vice versa.

    Equally near points (within TIE) all count. Sorted by the index in b, then in a.
    """
    tree_a, tree_b = cKDTree(a), cKDTree(b)
    near_b = tree_b.query_ball_point(a, tree_b.query(a)[0] + TIE)
    near_a = tree_a.query_ball_point(b, tree_a.query(b)[0] + TIE)
    pairs = {(i, j) for i, js in enumerate(near_b) for j in js} | {(i, j) for j, is_ in enumerate(near_a) for i in is_}
    return np.array(sorted(pairs, key=lambda pair: pair[::-1]), dtype=np.int64).reshape(-1, 2).T
