"""Emission angles and directions, of arrays and of tensors: the convention of the experiment, in one place.

theta is measured from +z, phi from -x: direction = (-sin theta cos phi, sin theta sin phi, cos theta), so that towards
the middle of the detector both angles are (pi / 2, 0). Angles are in rad. PyTorch is imported with the first tensor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xecgnn.arrays import Floats

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "angle_between",
    "angles_to_direction",
    "angles_to_vector",
    "direction_to_angles",
    "mirrored_vector",
    "opening_angle",
    "vector_to_angles",
]


def angles_to_direction(theta: ArrayLike, phi: ArrayLike) -> Floats:
    """Unit vectors (..., 3) of emission angles, arrays of any shapes that can be broadcast."""
    sin_theta = np.sin(theta)
    return np.stack(np.broadcast_arrays(-sin_theta * np.cos(phi), sin_theta * np.sin(phi), np.cos(theta)), axis=-1)


def angles_to_vector(values: Tensor) -> Tensor:
    """Unit vectors (..., 3) of (theta, phi) (..., 2), tensors."""
    import torch

    theta, phi = values.unbind(-1)
    return torch.stack([-theta.sin() * phi.cos(), theta.sin() * phi.sin(), theta.cos()], -1)


def direction_to_angles(direction: ArrayLike) -> tuple[Floats, Floats]:
    """theta in [0, pi] and phi in (-pi, pi] of vectors (..., 3) of any length, two arrays."""
    x, y, z = np.moveaxis(np.asarray(direction, dtype=float), -1, 0)
    return np.arctan2(np.hypot(x, y), z), np.arctan2(y, -x)


def mirrored_vector(vector: Tensor, axis: str) -> Tensor:
    """Vectors or points (B, 3) seen in the mirror `y` or `z`: y -> -y or z -> -z."""
    return vector * vector.new_tensor([1.0, 1.0, -1.0] if axis == "z" else [1.0, -1.0, 1.0])


def vector_to_angles(vector: Tensor) -> Tensor:
    """(theta, phi) (..., 2) of vectors (..., 3) of any length, tensors; theta in [0, pi], phi in [-pi, pi]."""
    import torch

    x, y, z = vector.unbind(-1)
    return torch.stack([torch.atan2((x * x + y * y).sqrt(), z), torch.atan2(y, -x)], -1)


def angle_between(first: NDArray[np.floating], second: NDArray[np.floating]) -> Floats:
    """Angle (...,) between vectors (..., 3), arrays; exact at small angles, where arccos loses its digits."""
    return np.arctan2(np.linalg.norm(np.cross(first, second), axis=-1), (first * second).sum(-1))


def opening_angle(first: Tensor, second: Tensor) -> Tensor:
    """`angle_between` of tensors."""
    cross = first.cross(second, dim=-1)
    return cross.square().sum(-1).sqrt().atan2((first * second).sum(-1))
