"""A coarse grid over the xenon that follows its faces, for functions that are linear between its nodes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from xecgnn.arrays import Floats, Ints, Singles
from xecgnn.detector import Detector
from xecgnn.simulation.volume import XenonVolume

__all__ = ["XenonGrid"]


_SHAPE = 9, 17, 8  # nodes along u, v, w
_MARGIN = 0.1  # cm between the outermost nodes and the faces


class XenonGrid:
    """N nodes in the xenon: v and w from face to face, u from face to face at its w. Denser near the faces.

    Attributes:
        uvw: nodes (N, 3), cm.
    """

    def __init__(self, detector: Detector, volume: XenonVolume) -> None:
        self._detector = detector

        def inside(*uvw: float) -> bool:
            return bool(volume.depth(detector.to_xyz(np.array(uvw))) > _MARGIN)

        span = float(np.linalg.norm(np.ptp(detector.position, axis=0)))
        middle = float(np.median([w for w in np.arange(0, span, 0.5) if inside(0, 0, w)]))

        def across(end: float, w: float) -> float:
            return _last(lambda u: inside(u, 0, w), 0, end)

        w = [_last(lambda w: inside(0, 0, w), middle, end) for end in (middle - span, middle + span)]
        v = [_last(lambda v: inside(0, v, middle), 0, end) for end in (-span, span)]
        # The faces across the beam are straight in (r, z).
        self._w, self._v = np.array(w), np.array(v)  # [2] each
        self._u = np.array([[across(end, at) for at in w] for end in (-span, span)])  # [end, w]
        self._nodes = [np.linspace(0, 1, _SHAPE[0]), np.linspace(0, 1, _SHAPE[1]), _spaced(_SHAPE[2])]
        fine = [np.linspace(0, 1, 2 * n - 1) for n in _SHAPE[:2]]
        self.uvw = self._to_uvw(_product(*self._nodes))
        self.fine_uvw = self._to_uvw(_product(*fine, self._nodes[2]))

    @property
    def size(self) -> int:
        return len(self.uvw)

    def corners(self, xyz: Floats) -> tuple[Ints, Floats]:
        """Nodes (8, D) around points (D, 3) in cm, and their weights (8, D) for linear interpolation."""
        u, v, w = np.moveaxis(self._detector.to_uvw(xyz), -1, 0)
        c = (w - self._w[0]) / (self._w[1] - self._w[0])
        low, high = (end[0] + c * (end[1] - end[0]) for end in self._u)
        unit = (u - low) / (high - low), (v - self._v[0]) / (self._v[1] - self._v[0]), c
        node, weight = np.zeros((1, len(xyz)), dtype=np.int64), np.ones((1, len(xyz)))
        for x, nodes in zip(unit, self._nodes, strict=True):
            place = np.interp(x, nodes, np.arange(len(nodes)))
            below = np.minimum(place.astype(np.int64), len(nodes) - 2)
            share = place - below
            node = np.concatenate([node * len(nodes) + below, node * len(nodes) + below + 1])
            weight = np.concatenate([weight * (1 - share), weight * share])
        return node, weight

    def average(self, values: Singles) -> Singles:
        """Values (points, ...) at `fine_uvw`, averaged over the cells in u and v around each node: (N, ...)."""
        for axis in (0, 1):
            shape = *(_SHAPE[:axis]), -1, *[2 * n - 1 for n in _SHAPE[axis + 1 : 2]], _SHAPE[2], *values.shape[1:]
            values = np.moveaxis(values.reshape(shape), axis, 0)
            beside = np.concatenate([values[:1], values[1::2], values[-1:]])
            values = values[::2] / 2 + (beside[:-1] + beside[1:]) / 4
            values = np.moveaxis(values, 0, axis)
            values = values.reshape(-1, *values.shape[3:])
        return values

    def _to_uvw(self, unit: Floats) -> Floats:
        a, b, c = np.moveaxis(unit, -1, 0)
        low, high = (end[0] + c * (end[1] - end[0]) for end in self._u)
        v, w = (bounds[0] + x * (bounds[1] - bounds[0]) for bounds, x in ((self._v, b), (self._w, c)))
        return np.stack([low + a * (high - low), v, w], axis=-1)


def _product(*axes: Floats) -> Floats:
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def _last(inside: Callable[[float], bool], good: float, bad: float) -> float:
    """The point between `good` and `bad` where `inside` turns false."""
    for _ in range(40):
        middle = (good + bad) / 2
        good, bad = (middle, bad) if inside(middle) else (good, middle)
    return good


def _spaced(count: int) -> Floats:
    """0 to 1 in `count` points, denser at both ends."""
    t = np.linspace(-1, 1, count)
    return (1 + np.sign(t) * (1 - (1 - np.abs(t)) ** 1.5)) / 2
