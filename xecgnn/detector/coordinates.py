"""Coordinates of the calorimeter: cylinder around the beam, (u, v, w) on the inner face.

The detector is centred on the half plane phi = 180 deg (x < 0, y = 0): every angle here is measured from the -x axis.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from xecgnn.arrays import Floats

__all__ = ["cylinder_to_xyz", "uvw_to_xyz", "xyz_to_uvw"]


def cylinder_to_xyz(r: ArrayLike, alpha: ArrayLike, z: ArrayLike) -> Floats:
    """Point at cylinder radius `r` (cm), angle `alpha` = phi - 180 deg (rad), and `z` (cm), broadcast to (..., 3) cm.

    Measured from the symmetry plane, mirrored sensors get coordinates that agree to the last bit.
    """
    r, alpha, z = np.broadcast_arrays(*(np.asarray(value, dtype=float) for value in (r, alpha, z)))
    return np.stack([-r * np.cos(alpha), -r * np.sin(alpha), z], axis=-1)


def uvw_to_xyz(uvw: ArrayLike, radius: float) -> Floats:
    """u = z, x = -(R + w) cos(v / R), y = (R + w) sin(v / R): (..., 3) cm to (..., 3) cm, with R = `radius` in cm."""
    u, v, w = np.moveaxis(np.asarray(uvw, dtype=float), -1, 0)
    return cylinder_to_xyz(radius + w, -v / radius, u)


def xyz_to_uvw(xyz: ArrayLike, radius: float) -> Floats:
    """Inverse of `uvw_to_xyz`: u along the beam, v along the inner arc, w depth behind the inner face, (..., 3) cm."""
    x, y, z = np.moveaxis(np.asarray(xyz, dtype=float), -1, 0)
    return np.stack([z, radius * np.arctan2(y, -x), np.hypot(x, y) - radius], axis=-1)
