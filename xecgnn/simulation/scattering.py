"""Light that Rayleigh scattering brings to the sensors, between faces that absorb it.

Scattered light is smooth in the place where it starts, but for what scatters near the sensor that sees it. The smooth
part is a table over a grid of places, built once for a detector; the near part is a formula. Both are sums over
deposits, so that the light depends on where each of them lies.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from xecgnn.arrays import Floats, Ints, Singles
from xecgnn.detector import Detector, Face
from xecgnn.simulation.constants import Constants
from xecgnn.simulation.grid import XenonGrid
from xecgnn.simulation.volume import XenonVolume

__all__ = ["ScatteredLight", "near_scattering"]

T = TypeVar("T", NDArray[Any], np.float32)

_REACH = 24.0  # cm, the near part ends here
_FLAT, _UPRIGHT = np.float32(0.5), np.float32(0.75)  # a and b of `near_scattering`
_ZERO, _ONE, _PER_REACH2 = np.float32(0), np.float32(1), np.float32(1 / _REACH**2)
_STEPS = 16  # along a ray
_DIRECTIONS = 12  # in an octant
_NODE_PITCH = 4.5  # cm, between the sensors of a fine lattice for which there is a table
_CUT = 10.0  # cm, as far along the plane as `_LIFT` is used
_SOFT = 4.0  # cm, added in quadrature to distances of the near part in the table
_LIFT = 2.0  # cm, added to heights above the sensor: half of what lies between the points of an average


def near_scattering(squared: T, distance: T, height: T, scattering: T) -> T:
    """Solid angle of a small sensor x 4 pi / its area, as light sees it that scatters once near it; before attenuation.

    From the distance (cm) of a deposit to the sensor, its square, its height above the sensor's plane, and `scattering`
    per cm. Above an absorbing plane, once scattered light falls as scattering (a + b height / r) / r: a and b follow
    from the integral with the angular distribution of Rayleigh scattering. (1 - r^2 / end^2)^2 ends it; the table has
    the rest. Like `small_solid_angle` for arrays and for single numbers in compiled code.
    """
    window = np.maximum(_ONE - squared * _PER_REACH2, _ZERO)
    return window * window * (_FLAT * distance + _UPRIGHT * height) * (scattering / squared)


class ScatteredLight:
    """The smooth part of the scattered light of any deposits at every sensor."""

    def __init__(self, detector: Detector, volume: XenonVolume, constants: Constants) -> None:
        self._detector, self._constants = detector, constants
        self._attenuation = 1 / constants.absorption_length + 1 / constants.scattering_length
        self._grid = XenonGrid(detector, volume)
        self._faces, self._sensors, first = [], [], 0
        for face in detector.faces.values():
            kept, rows, cols = _thin_out(face, detector)
            self._faces.append((face.sensor_ids, slice(first, first + len(kept)), rows, cols))
            self._sensors.append(kept)
            first += len(kept)
        sensors = np.concatenate(self._sensors)
        if np.isinf(constants.scattering_length):
            self._table = np.zeros((self._grid.size, 2, len(sensors)), dtype=np.float32)
        else:
            self._table = self._build_table(volume, sensors)

    def __call__(
        self, shower: Ints, position: Floats, photons: Floats, time: Floats, num_showers: int
    ) -> tuple[Singles, Singles]:
        """Light (P, S) and light x arrival time (P, S) in ns, of N deposits of photons at position (N, 3)."""
        node, weight = self._grid.corners(position)  # [8, N]
        weight = weight * photons
        place = np.broadcast_to(shower, node.shape).ravel(), node.ravel()
        shape = num_showers, len(self._table)
        # Sparse: on one thread, and few nodes are met.
        total, emission = (csr_array((w.ravel().astype(np.float32), place), shape) for w in (weight, weight * time))
        light, flight = total @ self._table[:, 0], total @ self._table[:, 1]
        return self._spread(light), self._spread(emission @ self._table[:, 0] + flight)

    def _spread(self, values: Singles) -> Singles:
        """From the sensors of the table (P, nodes) to all (P, S)."""
        out = np.empty((len(values), self._detector.num_sensors), dtype=np.float32)
        for ids, part, rows, cols in self._faces:
            found: NDArray[Any] = values[:, part]
            if rows is not None and cols is not None:
                found = (rows @ found.reshape(-1, rows.shape[1], cols.shape[1]) @ cols.T).reshape(len(values), -1)
            out[:, ids] = found
        return out

    def _build_table(self, volume: XenonVolume, sensors: Ints) -> Singles:
        """Scattered light of one photon from every node at every kept sensor, and x time of flight: (N, 2, nodes).

        With K the light that first scatters at the nodes and d the direct light, the scattered light is
        s = K (d + s). Its times follow from the derivative of that equation.
        """
        grid, speed = self._grid, self._constants.light_speed
        first, first_path = self._first_scattering(volume)
        direct, direct_path, near, near_path = self._kernels(sensors)
        system = np.eye(grid.size) - first
        light = np.linalg.solve(system, first @ direct)
        path = np.linalg.solve(system, first_path @ (direct + light) + first @ direct_path)
        return np.stack([light - near, (path - near_path) / speed], axis=1).astype(np.float32)

    def _first_scattering(self, volume: XenonVolume) -> tuple[Floats, Floats]:
        """Share of the light from each node that first scatters at each other, and x path (cm): (N, N) each."""
        grid, xyz, constants = self._grid, self._detector.to_xyz(self._grid.uvw), self._constants
        level = (np.arange(_STEPS) + 0.5) / _STEPS
        steps = -np.log1p(-level) / self._attenuation  # equally many photons end on each
        direction = _directions(xyz)  # [N, M, 3]
        inside = np.ones(direction.shape[:2], dtype=bool)
        rows, points, paths = [], [], []
        for step in steps:
            point = xyz[:, None] + step * direction
            inside &= volume.depth(point) > 0
            rows.append(np.nonzero(inside)[0])
            points.append(point[inside])
            paths.append(np.full(len(points[-1]), step))
        node, weight = grid.corners(np.concatenate(points))  # [8, points]
        index, path = np.concatenate(rows) * grid.size + node, np.concatenate(paths)
        scale = 1 / (constants.scattering_length * self._attenuation * direction.shape[1] * _STEPS)
        shares = []
        for values in (weight, weight * path):
            shares.append(np.zeros((grid.size, grid.size)))
            for i, v in zip(index, values, strict=True):
                shares[-1] += np.bincount(i, v, grid.size**2).reshape(grid.size, grid.size) * scale
        return shares[0], shares[1]

    def _kernels(self, sensors: Ints) -> Singles:
        """Direct light of one photon from the nodes at sensors, x path (cm), the near part, x path: (4, N, sensors).

        They change within a cell of the grid near a sensor, so they are averages over the cells around the node, of
        points that are lifted above the sensor's plane; the plane gets as much light as without. `_SOFT` stands for
        what the grid smooths; it and `_LIFT` were chosen against traced photons (benchmarks/light.py).
        """
        point = self._detector.to_xyz(self._grid.fine_uvw)
        target, normal = self._detector.position[sensors], self._detector.normal[sensors]
        height = _single(point @ normal.T - (target * normal).sum(axis=1))
        squared = _single((point**2).sum(axis=1)[:, None] + (target**2).sum(axis=1) - 2 * point @ target.T)
        radius2 = self._detector.radius**2
        beyond = [np.sqrt(np.maximum((p[:, :2] ** 2).sum(axis=1) - radius2, 0)) for p in (point, target)]
        clear = (height > 0) & (point[:, :2] @ target[:, :2].T - radius2 + np.outer(*beyond) >= -1e-6 * radius2)
        height = np.maximum(height, 0)
        squared = np.maximum(squared, height**2)
        r = np.sqrt(squared)
        scale = _single(self._detector.areas[sensors] / (4 * np.pi)) * np.exp(-r * np.float32(self._attenuation))
        lifted = height + np.float32(_LIFT)
        kept = (1 - height / np.sqrt(height**2 + _CUT**2)) / (1 - lifted / np.sqrt(lifted**2 + _CUT**2))
        soft = squared - height**2 + lifted**2
        close = squared - height**2 < _CUT**2
        direct = np.where(close, kept * lifted / (soft * np.sqrt(soft)), height / np.maximum(squared * r, 1e-3))
        direct *= scale * clear
        soft = squared + np.float32(_SOFT**2)
        rate = np.full(1, 1 / self._constants.scattering_length, dtype=np.float32)
        near = scale * near_scattering(soft, np.sqrt(soft), height, rate)
        return np.stack([self._grid.average(values) for values in (direct, direct * r, near, near * r)])


def _single(values: Floats) -> Singles:
    return values.astype(np.float32)


def _directions(xyz: Floats) -> Floats:
    """Unit vectors (N, M, 3) evenly in all directions from points (N, 3), the same along r, phi and z."""
    k = np.arange(_DIRECTIONS) + 0.5
    cosine, azimuth = k / _DIRECTIONS, (k * (np.sqrt(5) - 1) / 2 % 1) * np.pi / 2
    sine = np.sqrt(1 - cosine**2)
    octant = np.stack([sine * np.cos(azimuth), sine * np.sin(azimuth), cosine], axis=1)
    signs = np.stack(np.meshgrid(*[[-1, 1]] * 3), axis=-1).reshape(-1, 1, 3)
    local = (signs * octant).reshape(-1, 3)
    radial = xyz * [1, 1, 0] / np.hypot(xyz[:, 0], xyz[:, 1])[:, None]
    axes = np.stack([radial, np.cross([0.0, 0.0, 1.0], radial), np.broadcast_to([0.0, 0.0, 1.0], xyz.shape)], axis=1)
    return local @ axes


def _thin_out(face: Face, detector: Detector) -> tuple[Ints, Singles | None, Singles | None]:
    """Ids of the sensors of a face that stand for all, and how to interpolate rows and columns between them.

    A fine lattice keeps some rows and columns; other faces keep everything (None, None).
    """
    if face.layout != "lattice" or face.block is not None:
        return face.sensor_ids, None, None
    grid = face.sensor_ids.reshape(face.shape)
    position = detector.position[grid]
    pitches = np.linalg.norm(position[1, 0] - position[0, 0]), np.linalg.norm(position[0, 1] - position[0, 0])
    kept = [
        np.unique(np.round(np.linspace(0, n - 1, max(2, 1 + int(np.ceil((n - 1) * pitch / _NODE_PITCH))))).astype(int))
        if pitch < _NODE_PITCH
        else np.arange(n)
        for n, pitch in zip(face.shape, pitches, strict=True)
    ]
    weights = [
        np.stack([np.interp(np.arange(n), nodes, row) for row in np.eye(len(nodes))], axis=1).astype(np.float32)
        for n, nodes in zip(face.shape, kept, strict=True)
    ]
    return grid[np.ix_(*kept)].ravel(), weights[0], weights[1]
