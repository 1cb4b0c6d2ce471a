"""Angles and unit vectors in torch, with the convention of `xecgnn.detector.coordinates`.

theta is measured from +z, phi from -x: direction = (-sin theta cos phi, sin theta sin phi, cos theta).
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["angles_to_vector", "opening_angle", "vector_to_angles"]


def angles_to_vector(values: Tensor) -> Tensor:
    """Unit vectors (..., 3) of (theta, phi) (..., 2) in rad."""
    theta, phi = values.unbind(-1)
    return torch.stack([-theta.sin() * phi.cos(), theta.sin() * phi.sin(), theta.cos()], -1)


def vector_to_angles(vector: Tensor) -> Tensor:
    """(theta, phi) (..., 2) in rad of vectors (..., 3) of any length; theta in [0, pi], phi in [-pi, pi]."""
    x, y, z = vector.unbind(-1)
    return torch.stack([torch.atan2((x * x + y * y).sqrt(), z), torch.atan2(y, -x)], -1)


def opening_angle(first: Tensor, second: Tensor) -> Tensor:
    """Angle in rad (...,) between vectors (..., 3); exact at small angles, where arccos loses its digits."""
    cross = torch.linalg.cross(first, second, dim=-1)
    return torch.atan2(cross.square().sum(-1).sqrt(), (first * second).sum(-1))
