"""Where the sensors sit: nominal positions and inward normals of the three kinds of faces."""

from __future__ import annotations

import numpy as np

from xecgnn.arrays import Floats
from xecgnn.detector.coordinates import cylinder_to_xyz
from xecgnn.detector.description import Cylinder, Endcap, Hex

__all__ = ["place"]


def place(entry: Cylinder | Endcap | Hex, opening: float) -> tuple[Floats, Floats]:
    """Positions (N, 3) cm and unit normals (N, 3) into the xenon, row-major; `opening` is the detector's angle in rad.

    The sensors of a block, row-major, follow those of the coarse lattice (which keeps its replaced cells here).
    """
    match entry:
        case Cylinder():
            return _cylinder(entry, opening)
        case Endcap():
            return _endcap(entry, opening)
        case Hex():
            return _hex(entry, opening)


def _centered(count: int) -> Floats:
    """0, 1, ... count - 1 with their mean at zero, exactly symmetric."""
    return np.arange(count, dtype=np.float64) - (count - 1) / 2


def _vectors(radial: float, along_z: float, alpha: Floats) -> Floats:
    """Unit vectors with the given components along r and z at the angles alpha (N,) from the symmetry plane."""
    length = np.hypot(radial, along_z)
    return cylinder_to_xyz(radial / length, alpha, along_z / length)


def _mesh(rows: Floats, cols: Floats) -> tuple[Floats, Floats]:
    row, col = np.meshgrid(rows, cols, indexing="ij")
    return row.ravel(), col.ravel()


def _cylinder(entry: Cylinder, opening: float) -> tuple[Floats, Floats]:
    rows, cols = entry.shape
    alpha, z = _mesh(_centered(rows) * opening / rows, _centered(cols) * entry.pitch_z)
    if entry.block is not None:
        block, (fine_rows, fine_cols) = entry.block, entry.block.shape
        (row0, row1), (col0, col1) = block.rows, block.cols
        # In phi the block fills the place of its coarse rows; in z it has a pitch of its own.
        pitch = (row1 - row0) * opening / rows / fine_rows
        middle_alpha = ((row0 + row1) / 2 - rows / 2) * opening / rows
        middle_z = ((col0 + col1) / 2 - cols / 2) * entry.pitch_z
        fine_z = middle_z + _centered(fine_cols) * block.pitch_z
        fine = _mesh(middle_alpha + _centered(fine_rows) * pitch, fine_z)
        alpha, z = np.concatenate([alpha, fine[0]]), np.concatenate([z, fine[1]])
    return cylinder_to_xyz(entry.radius, alpha, z), _vectors(1.0 if entry.facing == "outward" else -1.0, 0.0, alpha)


def _endcap(entry: Endcap, opening: float) -> tuple[Floats, Floats]:
    rows, cols = entry.shape
    alpha, col = _mesh(_centered(rows) * opening / rows, np.arange(cols, dtype=float))
    towards_middle = -np.sign(entry.z)
    normal = _vectors(-towards_middle * entry.pitch_z, towards_middle * entry.pitch_radius, alpha)
    return cylinder_to_xyz(entry.radius + col * entry.pitch_radius, alpha, entry.z + col * entry.pitch_z), normal


def _hex(entry: Hex, opening: float) -> tuple[Floats, Floats]:
    side = -1.0 if entry.plane == "low" else 1.0
    r = np.repeat(entry.radius + np.arange(len(entry.rows)) * entry.pitch_radius, entry.rows)
    z = np.concatenate([_centered(length) for length in entry.rows]) * entry.pitch_z
    alpha = np.full(len(r), side * opening / 2)
    # The unit vector of growing alpha is that of r a quarter turn further; the xenon lies towards alpha = 0.
    return cylinder_to_xyz(r, alpha, z), -side * cylinder_to_xyz(1.0, alpha + np.pi / 2, np.zeros(len(r)))
