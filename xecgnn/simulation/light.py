"""Scintillation light from deposits to sensors: solid angle, absorption, scattering, time of flight.

The sum over deposits x sensors is what the simulation spends its time on. It runs in float32 over tiles of sensors that
stay in the cache, with squared distances and projections from matrix products and a point-like solid angle; pairs
that are close get the exact solid angle afterwards. Tiles near a deposit get what scatters near the sensor as well; all
other scattered light comes from a table (`scattering`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from xecgnn.detector import Detector
from xecgnn.simulation.constants import Constants
from xecgnn.simulation.scattering import NEAR_SCATTERING, ScatteredLight, near_scattering
from xecgnn.simulation.shower import Showers
from xecgnn.simulation.solid_angle import disc_solid_angle, sensor_sides, square_solid_angle
from xecgnn.simulation.volume import XenonVolume

__all__ = ["LightModel"]

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

# Closer than these many effective radii sqrt(area / pi), a sensor is not point-like (2 % off), and its size to second
# order is not enough either (2 % off).
_NEAR, _EXACT = 6.0, 2.5
# From a distance on (cm), deposits in the same cube of a width (cm) count as one: less than 0.5 % off.
_MERGED = ((20.0, 2.5), (10.0, 1.2), (4.0, 0.4))
_CLOSEST = np.float32(0.03)  # cm, what single precision resolves
_TILE = 352  # sensors: small enough for many tiles to be far from a shower
# Pairs of a deposit and a sensor that are computed at once: small enough for the cache; and OpenBLAS multiplies that
# many, times 5, on one thread, where more would disturb the threads over events.
_PAIRS = 52_000


class _Tile(NamedTuple):
    """T neighbouring sensors as right-hand sides of matrix products with a deposit's (coordinates, ..., 1)."""

    sensors: slice
    square: Singles  # [5, T] (x, y, z, x^2, 1) -> squared distance
    height: Singles  # [4, T] (x, y, z, 1) -> height above the sensor's plane x area / 4 pi
    horizon: Singles  # [4, T] (x, y, horizon, 1) -> positive where the entrance face does not stand between
    area: Singles  # [T] / 4 pi
    near: Singles  # [T] squared distance below which the sensor is not point-like


class _Deposits(NamedTuple):
    """N deposits of P showers, one shower after the other, and their left-hand sides of the products with a tile."""

    shower: NDArray[np.int64]  # [N]
    position: Floats  # [N, 3] cm
    squared: Singles  # [N, 5]
    height: Singles  # [N, 4]
    horizon: Singles  # [N, 4]
    photons: Singles  # [N, 1]
    emission: Singles  # [N, 1] photons x time, ns
    per_cm: Singles  # [N, 1] photons / speed of light, ns/cm

    def pick(self, index: slice | NDArray[np.bool_]) -> _Deposits:
        """The deposits at `index`."""
        return type(self)._make(column[index] for column in self)


class LightModel:
    """Expected light of showers at every sensor of a detector.

    Direct light: photons x solid angle / 4 pi x exp(-r / absorption - r / scattering), where the sensor looks at the
    deposit and the cylinder of the entrance face does not stand between. Scattered light: `ScatteredLight` and
    `near_scattering`, deposit by deposit.
    """

    def __init__(self, detector: Detector, volume: XenonVolume, constants: Constants) -> None:
        self._detector, self._constants = detector, constants
        kinds = [detector.sensor_kinds[name] for name in detector.sensor_type]
        self._size = np.array([kind.size for kind in kinds])
        self._is_square = np.array([kind.shape == "square" for kind in kinds])
        self._area = np.array([kind.area for kind in kinds])
        self._sides = sensor_sides(detector.normal)
        self._centre = detector.position.mean(axis=0)  # squared distances from here lose least to rounding
        self._attenuation = 1 / constants.absorption_length + 1 / constants.scattering_length
        self._scattered = ScatteredLight(detector, volume, constants)
        self._tiles = self._build_tiles(volume)

    def __call__(self, showers: Showers) -> tuple[Singles, Singles]:
        """Expected photons at each sensor (P, S), before detection, and their mean time of arrival (P, S) in ns."""
        photons = showers.energy * self._constants.light_yield
        lit = photons > 0
        deposits = np.nonzero(lit)[0], showers.position[lit], photons[lit], showers.time[lit]
        levels = [(distance, _merge(width, *deposits)) for distance, width in _MERGED] + [(0.0, deposits)]
        smooth, smooth_time = self._scattered(*levels[0][1], len(photons))
        steep, steep_time = self._steep([(d, self._factors(*merged)) for d, merged in levels], len(photons))
        total = steep + smooth
        with np.errstate(invalid="ignore"):  # no light, no time
            arrival = (steep_time + smooth_time) / total
        # The table is what is left beside the steep part, and may be a little too small between its nodes.
        return np.maximum(total, 0), arrival

    def _steep(self, levels: list[tuple[float, _Deposits]], num_showers: int) -> tuple[Singles, Singles]:
        """Direct light and what scatters near the sensors (P, S), photons, and both x arrival time, ns.

        `levels`: deposits that stand for all from a distance (cm) on, the farthest and fewest first.
        """
        light = np.zeros((num_showers, self._detector.num_sensors), dtype=np.float32)
        light_time = np.zeros_like(light)
        scratch = np.empty((5, _PAIRS), dtype=np.float32)
        coarse, lit = levels[0][1], np.unique(levels[0][1].shower)
        for tile in self._tiles if len(lit) else ():
            closest = np.full(num_showers, np.nan)
            nearest = (coarse.squared @ tile.square).min(axis=1)
            closest[lit] = np.sqrt(np.maximum(np.minimum.reduceat(nearest, np.searchsorted(coarse.shower, lit)), 0))
            far = np.inf
            for distance, deposits in levels:
                here = (closest >= distance) & (closest < far)
                chosen = deposits.pick(here[deposits.shower])
                for part in _whole_showers(chosen.shower, max(_PAIRS // tile.near.size, 1)):
                    some = chosen.pick(part)
                    first = np.flatnonzero(np.diff(some.shower, prepend=-1))
                    rows = some.shower[first]
                    light[rows, tile.sensors], light_time[rows, tile.sensors] = self._from(some, first, tile, scratch)
                far = distance
        return light, light_time

    def _from(
        self, deposits: _Deposits, first: NDArray[np.int64], tile: _Tile, scratch: Singles
    ) -> tuple[Singles, Singles]:
        """The steep part at the sensors of one tile: light (P', T) and light x time (P', T) of the showers that begin
        at `first`."""
        shape = len(deposits.photons), tile.near.size
        if shape[0] * shape[1] > scratch.shape[1]:  # a shower of many deposits
            scratch = np.empty((5, shape[0] * shape[1]), dtype=np.float32)
        squared, distance, weight, clear, scattered = (part[: shape[0] * shape[1]].reshape(shape) for part in scratch)
        np.matmul(deposits.squared, tile.square, out=squared)
        np.maximum(squared, _CLOSEST**2, out=squared)  # rounding takes the closest pairs below zero
        np.sqrt(squared, out=distance)
        np.matmul(deposits.height, tile.height, out=weight)
        np.matmul(deposits.horizon, tile.horizon, out=clear)
        closest = squared.min()
        if closest < NEAR_SCATTERING**2:
            near_scattering(squared, distance, weight, tile.area, self._constants.scattering_length, out=scattered)
        else:
            scattered.fill(0)
        near = np.flatnonzero(squared < tile.near)
        np.multiply(weight, (weight > 0) & (clear >= 0), out=weight)
        np.multiply(squared, distance, out=squared)
        np.divide(weight, squared, out=weight)  # point-like: area cos / 4 pi r^2
        if len(near):
            deposit, sensor = np.divmod(near, tile.near.size)
            fraction = self._near_fraction(deposits.position[deposit], tile.sensors.start + sensor)
            weight[deposit, sensor] = np.where(weight[deposit, sensor] > 0, fraction, 0)
        np.add(weight, scattered, out=weight)
        np.multiply(distance, -self._attenuation, out=squared)
        np.exp(squared, out=squared)
        np.multiply(weight, squared, out=weight)
        light = np.add.reduceat(np.multiply(weight, deposits.photons, out=squared), first)
        light_time = np.add.reduceat(np.multiply(weight, deposits.emission, out=squared), first)
        np.multiply(weight, distance, out=weight)
        light_time += np.add.reduceat(np.multiply(weight, deposits.per_cm, out=squared), first)
        return light, light_time

    def _factors(self, shower: NDArray[np.int64], position: Floats, photons: Floats, time: Floats) -> _Deposits:
        centred, one = position - self._centre, np.ones(len(position))
        r2_axis = (position[:, :2] ** 2).sum(axis=1)
        beyond = np.sqrt(np.maximum(r2_axis - self._detector.radius**2, 0))
        factors = (
            np.column_stack([centred, (centred**2).sum(axis=1), one]),
            np.column_stack([position, one]),
            np.column_stack([position[:, :2], beyond, one]),
            photons[:, None],
            (photons * time)[:, None],
            photons[:, None] / self._constants.light_speed,
        )
        return _Deposits(shower, position, *(factor.astype(np.float32) for factor in factors))

    def _near_fraction(self, point: Floats, sensor: NDArray[np.int64]) -> Floats:
        """Solid angle / 4 pi of sensors (N,) seen from points (N, 3) in front of them."""
        offset = point - self._detector.position[sensor]
        h = np.maximum((offset * self._detector.normal[sensor]).sum(axis=1), 1e-6)
        r2 = np.maximum((offset**2).sum(axis=1), h * h)
        area = self._area[sensor]
        # Taylor series in the size: the next term is the Laplacian of h / r^3 in the sensor's plane.
        angle = area * h / r2**1.5 * (1 + area / (8 * np.pi * r2) * (9 - 15 * h * h / r2))
        exact = r2 < _EXACT**2 * area / np.pi
        pick = np.flatnonzero(exact & self._is_square[sensor])
        x, y = ((offset[pick, None] * self._sides[sensor[pick]]).sum(axis=-1)).T
        angle[pick] = square_solid_angle(x, y, h[pick], self._size[sensor[pick]])
        pick = np.flatnonzero(exact & ~self._is_square[sensor])
        angle[pick] = disc_solid_angle(np.sqrt(r2[pick] - h[pick] ** 2), h[pick], self._size[sensor[pick]])
        return angle / (4 * np.pi)

    def _build_tiles(self, volume: XenonVolume) -> list[_Tile]:
        detector = self._detector
        centred, normal = detector.position - self._centre, detector.normal
        square = np.column_stack([-2 * centred, np.ones(len(centred)), (centred**2).sum(axis=1)])
        height = np.column_stack([normal, -(normal * detector.position).sum(axis=1)])
        height *= self._area[:, None] / (4 * np.pi)
        # Two points at r1, r2 > R see each other past the cylinder R as long as their angle is below
        # arccos(R / r1) + arccos(R / r2): r1 . r2 > R^2 - sqrt(r1^2 - R^2) sqrt(r2^2 - R^2).
        beyond = np.sqrt(np.maximum((detector.position[:, :2] ** 2).sum(axis=1) - detector.radius**2, 0))
        horizon = np.column_stack([detector.position[:, :2], beyond, np.full(len(beyond), -(detector.radius**2))])
        horizon[volume.entrance_ids] = 0  # for these it is the same as being in front of the sensor
        near = _NEAR**2 * self._area / np.pi
        parts = [slice(first, min(first + _TILE, len(near))) for first in range(0, len(near), _TILE)]
        rows = square, height, horizon, self._area / (4 * np.pi), near
        terms = [np.asarray(row.T, dtype=np.float32) for row in rows]
        return [_Tile(part, *(np.ascontiguousarray(term[..., part]) for term in terms)) for part in parts]


def _merge(
    width: float, shower: NDArray[np.int64], position: Floats, photons: Floats, time: Floats
) -> tuple[NDArray[np.int64], Floats, Floats, Floats]:
    """Deposits of a shower in the same cube of this width (cm) as one, at their mean position and time."""
    cube = np.floor(position / width).astype(np.int64) + (1 << 9)
    key = (shower << 30) + (cube[:, 0] << 20) + (cube[:, 1] << 10) + cube[:, 2]
    merged, group = np.unique(key, return_inverse=True)
    total = np.bincount(group, photons, len(merged)).astype(float)
    sums = (np.bincount(group, photons * values, len(merged)) for values in (*position.T, time))
    mean = np.stack([values / total for values in sums], axis=1)
    return merged >> 30, mean[:, :3], total, mean[:, 3]


def _whole_showers(shower: NDArray[np.int64], size: int) -> Iterator[slice]:
    """Parts of about `size` deposits that cut no shower in two."""
    ends = np.flatnonzero(np.diff(shower, append=-1)) + 1
    start = 0
    while start < len(shower):
        stop = max(ends[np.searchsorted(ends, start + size, side="right") - 1], ends[np.searchsorted(ends, start + 1)])
        yield slice(start, stop)
        start = stop
