"""Solid angles of square and round sensors: exact, and for those that are small."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import elliprf, elliprj

from xecgnn.arrays import Floats

__all__ = ["disc_solid_angle", "sensor_sides", "small_solid_angle", "square_solid_angle"]

T = TypeVar("T", NDArray[Any], np.float32)

_ONE, _NINE, _FIFTEEN, _EIGHT_PI = (np.float32(value) for value in (1, 9, 15, 8 * np.pi))


def square_solid_angle(x: ArrayLike, y: ArrayLike, h: ArrayLike, half_width: ArrayLike) -> Floats:
    """Solid angle (sr) of a square, seen from (x, y, h): x, y along its sides from its centre, h > 0 above it.

    Four rectangles that have a corner below the point, each arctan(a b / (h sqrt(a^2 + b^2 + h^2))). Lengths in cm.
    """
    x, y, h, half_width = np.broadcast_arrays(*(np.asarray(value, dtype=float) for value in (x, y, h, half_width)))
    total = np.zeros(h.shape)
    for a in (half_width - x, half_width + x):
        for b in (half_width - y, half_width + y):
            total += np.arctan2(a * b, h * np.sqrt(a * a + b * b + h * h))
    return total


def small_solid_angle(squared: T, height: T, area: T) -> T:
    """Solid angle (sr) of a small sensor, seen from a squared distance (cm2) and a height above its plane (cm).

    To second order in its size, where squares and discs are alike: the term is the Laplacian of h / r^3 in the plane.
    For arrays, and for single numbers in compiled code, where constants without a type would be of double precision.
    """
    size = area / (_EIGHT_PI * squared)
    return area * height / (squared * np.sqrt(squared)) * (_ONE + size * (_NINE - _FIFTEEN * height * height / squared))


def sensor_sides(normal: Floats) -> Floats:
    """Unit vectors (S, 2, 3) along the sides of sensors with normals (S, 3): one as near to the beam axis as can be."""
    along = np.where(np.abs(normal[:, 2:]) < 0.9, [0.0, 0.0, 1.0], [1.0, 0.0, 0.0])
    across = np.cross(normal, along)
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    return np.stack([np.cross(across, normal), across], axis=1)


def disc_solid_angle(rho: ArrayLike, h: ArrayLike, radius: ArrayLike) -> Floats:
    """Solid angle (sr) of a disc, seen from the distance rho to its axis and the height h > 0 above it (cm).

    F. Paxton, Rev. Sci. Instrum. 30 (1959) 254, with the complete elliptic integrals K and Pi in Carlson's form.
    """
    rho, h, radius = np.broadcast_arrays(*(np.asarray(value, dtype=float) for value in (rho, h, radius)))
    rho = np.where(np.abs(rho - radius) < 1e-6 * radius, radius * (1 + 1e-6), rho)  # Pi diverges above the rim
    largest = h * h + (radius + rho) ** 2
    modulus = (h * h + (radius - rho) ** 2) / largest  # 1 - k^2
    characteristic = ((radius - rho) / (radius + rho)) ** 2  # 1 - n
    k = elliprf(0, modulus, 1)
    pi = k + (1 - characteristic) / 3 * elliprj(0, modulus, 1, characteristic)
    outside = 2 * h / np.sqrt(largest) * (k + (radius - rho) / (radius + rho) * pi)
    return np.where(rho < radius, 2 * np.pi, 0.0) - outside
