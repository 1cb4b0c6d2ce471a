"""The pure functions on a handful of points."""

from __future__ import annotations

import numpy as np
import pytest

from xecgnn.detector.lattice import (
    HEX_TAPS,
    grid_cells,
    grid_sides,
    hex_edges,
    hex_neighbors,
    hex_sides,
    lattice_edges,
    nearest_pairs,
)


def test_unit_cells_have_the_3_x_3_neighbourhood() -> None:
    rows, cols = 4, 5
    edges, taps = lattice_edges(grid_cells((rows, cols)), (rows, cols))
    expected = [
        (i * cols + j, row * cols + col, 3 * (i - row + 1) + j - col + 1)
        for row in range(rows)
        for col in range(cols)
        for i in range(max(row - 1, 0), min(row + 2, rows))
        for j in range(max(col - 1, 0), min(col + 2, cols))
    ]
    assert list(zip(*edges.tolist(), taps.tolist(), strict=True)) == expected


def test_cells_of_two_sizes_touch() -> None:
    # +---+-+-+    0: 2 x 2, 1 and 2: unit cells in its row 0, 3: 1 x 2 below them
    # | 0 |1|2|
    # |   | 3 |
    cells = np.array([[0, 2, 0, 2], [0, 1, 2, 3], [0, 1, 3, 4], [1, 2, 2, 4]])
    edges, taps = lattice_edges(cells, (2, 4))
    found = {(s, t): tap for s, t, tap in zip(*edges.tolist(), taps.tolist(), strict=True)}
    assert (2, 0) not in found, "0 and 2 do not touch"
    assert found[1, 0] == found[3, 0] == 5, "to the right of 0, rows overlap"
    assert found[0, 3] == 3
    assert found[1, 3] == found[2, 3] == 1, "above 3, columns overlap"
    assert {found[i, i] for i in range(4)} == {4}


@pytest.mark.parametrize(("cells", "word"), [([[0, 1, 0, 1], [0, 1, 0, 2]], "overlaps"), ([[0, 1, 0, 1]], "holes")])
def test_cells_must_tile_the_grid(cells: list[list[int]], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        lattice_edges(np.array(cells), (1, 2))


@pytest.mark.parametrize("rows", [(1,), (3, 4), (4, 3), (2, 5, 4, 7), (11, 12, 11, 12, 13, 14)])
def test_hex_neighbors_are_the_tap_steps_away(rows: tuple[int, ...]) -> None:
    place = [(row, n - (length - 1) / 2) for row, length in enumerate(rows) for n in range(length)]
    expected = [
        [place.index(p) if (p := (row + i, col + j)) in place else -1 for i, j in HEX_TAPS] for row, col in place
    ]
    table = hex_neighbors(rows)
    np.testing.assert_array_equal(table, expected)
    edges, taps = hex_edges(table)
    np.testing.assert_array_equal(table[edges[1], taps], edges[0])
    assert edges.shape == (2, np.sum(table >= 0))


def test_sides() -> None:
    sides = grid_sides(grid_cells((2, 3)), (2, 3))
    assert {side: ids.tolist() for side, ids in sides.items()} == {
        "first_row": [0, 1, 2],
        "last_row": [3, 4, 5],
        "first_col": [0, 3],
        "last_col": [2, 5],
    }
    assert {side: ids.tolist() for side, ids in hex_sides((2, 3)).items()} == {
        "first_row": [0, 1],
        "last_row": [2, 3, 4],
        "first_col": [0, 2],
        "last_col": [1, 4],
    }


def test_nearest_pairs_join_both_ways_and_keep_ties() -> None:
    def on_line(*x: float) -> np.ndarray:
        return np.array([[value, 0, 0] for value in x])

    # 0 of a lies midway between 0 and 1 of b; 2 of b is nobody's nearest, but its own nearest is 1 of a.
    pairs = nearest_pairs(on_line(0, 5), on_line(-1, 1, 9, 5))
    assert pairs.T.tolist() == [[0, 0], [0, 1], [1, 2], [1, 3]]
