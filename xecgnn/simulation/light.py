"""Scintillation light from deposits to sensors: solid angle, absorption, scattering, time of flight.

The sum over deposits x sensors is what the simulation spends its time on. It runs in float32 over tiles of sensors that
stay in the cache, with squared distances and projections from matrix products and a point-like solid angle; pairs
that are close get the exact solid angle afterwards.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from xecgnn.detector import Detector
from xecgnn.simulation.constants import Constants
from xecgnn.simulation.shower import Showers
from xecgnn.simulation.solid_angle import disc_solid_angle, sensor_sides, square_solid_angle
from xecgnn.simulation.volume import XenonVolume

__all__ = ["LightModel"]

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

# Closer than this many effective radii sqrt(area / pi), a sensor is not point-like: there its solid angle is 2 % off.
_NEAR = 6.0
# OpenBLAS multiplies on one thread up to this many products: larger ones would disturb the threads over events.
_BLAS_SINGLE_THREAD = 1 << 18


class _Tile(NamedTuple):
    """T neighbouring sensors as right-hand sides of matrix products with a deposit's (coordinates, ..., 1)."""

    sensors: slice
    square: Singles  # [5, T] (x, y, z, x^2, 1) -> squared distance
    height: Singles  # [4, T] (x, y, z, 1) -> height above the sensor's plane x area / 4 pi
    horizon: Singles  # [4, T] (x, y, horizon, 1) -> positive where the entrance face does not stand between
    near: Singles  # [T] squared distance below which the sensor is not point-like


class LightModel:
    """Expected light of showers at every sensor of a detector.

    Direct light: photons x solid angle / 4 pi x exp(-r / absorption - r / scattering), where the sensor looks at the
    deposit and the cylinder of the entrance face does not stand between. Scattered light: what Rayleigh scattering
    takes from the direct light comes back diffusely, photons x area cos / (4 pi r^2) x (1 - exp(-r / scattering))
    exp(-r / absorption) with a mean cosine and the rms distance r of the shower: smooth, wherever the sensor looks.
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
        self._tiles = self._build_tiles(volume)

    def __call__(self, showers: Showers) -> tuple[Singles, Singles]:
        """Expected photons at each sensor (P, S), before detection, and their mean time of arrival (P, S) in ns."""
        shape = len(showers.position), self._detector.num_sensors
        light, arrival = np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.float32)
        scratch = np.empty((4, showers.energy.shape[1], self._tiles[0].near.size), dtype=np.float32)
        for shower in range(len(light)):
            deposits = showers.position[shower], showers.energy[shower], showers.time[shower]
            scattered, scattered_time = self._scattered(*deposits)
            direct, direct_time = self._direct(*deposits, scratch)
            light[shower] = direct + scattered
            with np.errstate(invalid="ignore"):  # no light, no time
                arrival[shower] = (direct_time + scattered * scattered_time) / light[shower]
        return light, arrival

    def _direct(self, position: Floats, energy: Floats, time: Floats, scratch: Singles) -> tuple[Singles, Singles]:
        """Direct light (S,) and the sum of light x arrival time (S,), photons and ns, from D deposits."""
        photons = (energy * self._constants.light_yield).astype(np.float32)
        centred = position - self._centre
        one = np.ones(len(position))
        left = np.column_stack([centred, (centred**2).sum(axis=1), one]).astype(np.float32)  # [D, 5]
        left_height = np.column_stack([position, one]).astype(np.float32)
        r2_axis = (position[:, :2] ** 2).sum(axis=1)
        beyond = np.sqrt(np.maximum(r2_axis - self._detector.radius**2, 0))
        left_horizon = np.column_stack([position[:, :2], beyond, one]).astype(np.float32)
        emission = (photons * time).astype(np.float32)
        per_cm = (photons / self._constants.light_speed).astype(np.float32)

        light = np.empty(self._detector.num_sensors, dtype=np.float32)
        light_time = np.empty_like(light)
        for tile in self._tiles:
            squared, distance, weight, clear = scratch[:, :, : tile.near.size]  # [D, T] each
            np.matmul(left, tile.square, out=squared)
            np.abs(squared, out=squared)  # rounding takes the closest pairs below zero
            near = np.flatnonzero(squared < tile.near)
            np.sqrt(squared, out=distance)
            np.matmul(left_height, tile.height, out=weight)
            np.matmul(left_horizon, tile.horizon, out=clear)
            np.multiply(weight, (weight > 0) & (clear >= 0), out=weight)
            np.multiply(squared, distance, out=squared)
            np.divide(weight, squared, out=weight)  # point-like: area cos / 4 pi r^2
            if len(near):
                deposit, sensor = np.divmod(near, tile.near.size)
                fraction = self._exact(position[deposit], tile.sensors.start + sensor)
                weight[deposit, sensor] = np.where(weight[deposit, sensor] > 0, fraction, 0)
            np.multiply(distance, -self._attenuation, out=squared)
            np.exp(squared, out=squared)
            np.multiply(weight, squared, out=weight)
            # einsum, as BLAS would start threads of its own for these.
            light[tile.sensors] = np.einsum("d,ds->s", photons, weight)
            light_time[tile.sensors] = np.einsum("d,ds->s", emission, weight)
            np.multiply(weight, distance, out=weight)
            light_time[tile.sensors] += np.einsum("d,ds->s", per_cm, weight)
        return light, light_time

    def _scattered(self, position: Floats, energy: Floats, time: Floats) -> tuple[Floats, Floats]:
        """Scattered light (S,), photons, and its earliest mean arrival (S,), ns."""
        constants, total = self._constants, energy.sum()
        if total == 0:
            return np.zeros(len(self._area)), np.zeros(len(self._area))
        share = energy / total
        centre = share @ position
        spread2 = share @ ((position - centre) ** 2).sum(axis=1)
        r2 = ((self._detector.position - centre) ** 2).sum(axis=1) + spread2
        r = np.sqrt(r2)
        lost = -np.expm1(-r / constants.scattering_length) * np.exp(-r / constants.absorption_length)
        light = total * constants.light_yield * constants.diffuse_cosine * self._area / (4 * np.pi * r2) * lost
        return light, share @ time + r / constants.light_speed

    def _exact(self, point: Floats, sensor: NDArray[np.int64]) -> Floats:
        """Solid angle / 4 pi of sensors (N,) seen from points (N, 3); 0 from behind."""
        offset = point - self._detector.position[sensor]
        h = (offset * self._detector.normal[sensor]).sum(axis=1)
        size, is_square, front = self._size[sensor], self._is_square[sensor], h > 0
        fraction = np.zeros(len(h))
        pick = front & is_square
        x, y = ((offset[pick, None] * self._sides[sensor[pick]]).sum(axis=-1)).T
        fraction[pick] = square_solid_angle(x, y, h[pick], size[pick])
        pick = front & ~is_square
        rho = np.sqrt(np.maximum((offset[pick] ** 2).sum(axis=1) - h[pick] ** 2, 0))
        fraction[pick] = disc_solid_angle(rho, h[pick], size[pick])
        return fraction / (4 * np.pi)

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
        width = max(_BLAS_SINGLE_THREAD // (square.shape[1] * self._constants.num_deposits), 1)
        parts = [slice(first, min(first + width, len(near))) for first in range(0, len(near), width)]
        terms = [np.asarray(term.T, dtype=np.float32) for term in (square, height, horizon, near)]
        return [_Tile(part, *(np.ascontiguousarray(term[..., part]) for term in terms)) for part in parts]
