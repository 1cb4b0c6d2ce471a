"""Particles of a cascade as arrays, and how directions turn: what photons and electrons share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, Self

import numpy as np

from xecgnn.arrays import Bools, Floats, Ints

__all__ = ["Particles", "accept", "deflect", "frame", "rotated"]


class Particles(NamedTuple):
    """N photons (charge 0), electrons (-1) or positrons (+1)."""

    event: Ints  # [N]
    track: Ints  # [N] in the order of creation
    charge: Ints  # [N]
    position: Floats  # [N, 3] cm
    direction: Floats  # [N, 3] unit vectors
    energy: Floats  # [N] MeV, kinetic
    path: Floats  # [N] cm flown since the first interaction, parents included

    @property
    def size(self) -> int:
        """Number of particles."""
        return self.event.size

    def pick(self, index: slice | Bools | Ints) -> Self:
        """The particles at `index` (positions, a mask or a slice)."""
        return type(self)._make(column[index] for column in self)

    @classmethod
    def joined(cls, parts: Iterable[Particles]) -> Particles:
        """One after the other."""
        return cls._make(np.concatenate(columns) for columns in zip(*parts, strict=True))


def frame(direction: Floats) -> tuple[Floats, Floats]:
    """Two unit vectors (N, 3) at right angles to unit vectors (N, 3) and to each other; a right-handed triple.

    Duff et al., Building an orthonormal basis, revisited, JCGT 6 (2017) 1: without a branch, for every direction.
    """
    x, y, z = direction.T
    sign = np.copysign(1.0, z)
    a = -1 / (sign + z)
    b = x * y * a
    side, up = np.empty_like(direction), np.empty_like(direction)
    side[:, 0], side[:, 1], side[:, 2] = 1 + sign * x * x * a, sign * b, -sign * x
    up[:, 0], up[:, 1], up[:, 2] = b, sign + y * y * a, -y
    return side, up


def rotated(vector: Floats, direction: Floats) -> Floats:
    """`vector` (N, 3), given with z along `direction` (N, 3), in the frame that `direction` is given in."""
    side, up = frame(direction)
    return vector[:, :1] * side + vector[:, 1:2] * up + vector[:, 2:] * direction


def deflect(direction: Floats, cosine: Floats, azimuth: Floats) -> Floats:
    """Unit vectors (N, 3) at angles of `cosine` (N,) to `direction` (N, 3), at `azimuth` (N,) around it."""
    sine = np.sqrt(np.maximum(1 - cosine * cosine, 0))
    turned = rotated(np.stack([sine * np.cos(azimuth), sine * np.sin(azimuth), cosine], axis=1), direction)
    # Rounding grows with the number of turns.
    return turned / np.sqrt(np.einsum("nc,nc->n", turned, turned))[:, None]


def accept(rng: np.random.Generator, count: int, draw: Callable[[Ints], tuple[Floats, Floats]]) -> Floats:
    """`count` values by rejection: `draw` proposes values for the places it is given, each with its probability."""
    result, todo = np.empty(count), np.arange(count)
    while len(todo):
        values, probability = draw(todo)
        taken = rng.random(len(todo)) < probability
        result[todo[taken]] = values[taken]
        todo = todo[~taken]
    return result
