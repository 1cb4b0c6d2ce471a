"""Scintillation light from deposits to sensors: solid angle, absorption, scattering, time of flight."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from xecgnn.arrays import Floats, Ints, Singles
from xecgnn.detector import Detector
from xecgnn.simulation.constants import Constants
from xecgnn.simulation.scattering import ScatteredLight, near_scattering
from xecgnn.simulation.shower import Showers
from xecgnn.simulation.solid_angle import disc_solid_angle, sensor_sides, small_solid_angle, square_solid_angle
from xecgnn.simulation.volume import XenonVolume

__all__ = ["LightModel"]


# Closer than this many effective radii sqrt(area / pi), a sensor's size to second order is not enough (2 % off).
_EXACT = 2.5
_CLOSEST2 = np.float32(0.03**2)  # cm2
# Numbers without a type would be of double precision in compiled code.
_ZERO, _QUARTER, _THIRD, _HALF, _ONE, _FOUR_PI = (np.float32(value) for value in (0, 1 / 4, 1 / 3, 1 / 2, 1, 4 * np.pi))
_HALVINGS = 5  # of the exponent, before its series


class _Sensors(NamedTuple):
    """S sensors."""

    position: Singles  # [3, S] cm
    normal: Singles  # [3, S]
    horizon: Singles  # [4, S] . (x, y, beyond, 1) >= 0 where the entrance face does not stand between
    area: Singles  # [S] cm2
    exact: Singles  # [S] cm2, squared distance below which the size matters beyond the second order


class _Deposits(NamedTuple):
    """P D deposits of P showers, one shower after the other."""

    position: Singles  # [3, P D] cm
    beyond: Singles  # [P D] cm, length of a tangent to the entrance face, in the transverse plane
    photons: Singles  # [P D]
    time: Singles  # [P D] ns


class LightModel:
    """Expected light of showers at every sensor of a detector.

    Direct light: photons x solid angle / 4 pi x exp(-r / absorption - r / scattering), where the sensor looks at the
    deposit and the cylinder of the entrance face does not stand between. Scattered light: `ScatteredLight` and
    `near_scattering`, deposit by deposit.
    """

    def __init__(self, detector: Detector, volume: XenonVolume, constants: Constants) -> None:
        self._detector, self._volume, self._constants = detector, volume, constants
        self._square = np.array([detector.sensor_kinds[name].shape == "square" for name in detector.sensor_type])
        self._sides = sensor_sides(detector.normal)
        self._attenuation = 1 / constants.absorption_length + 1 / constants.scattering_length
        per_cm = self._attenuation, 1 / constants.scattering_length, 1 / constants.light_speed
        self._per_cm = np.float32(per_cm[0]), np.float32(per_cm[1]), np.float32(per_cm[2])
        self._scattered = ScatteredLight(detector, volume, constants)
        # Two points at r1, r2 > R see each other past the cylinder R as long as their angle is below
        # arccos(R / r1) + arccos(R / r2): r1 . r2 > R^2 - sqrt(r1^2 - R^2) sqrt(r2^2 - R^2).
        position, beyond = detector.position, self._beyond(detector.position)
        horizon = np.stack([position[:, 0], position[:, 1], beyond, np.full(len(beyond), -(detector.radius**2))])
        horizon[:, volume.entrance_ids] = 0  # for these it is the same as being in front of the sensor
        rows = position.T, detector.normal.T, horizon, detector.areas, _EXACT**2 * detector.areas / np.pi
        self._sensors = _Sensors(*map(_single, rows))
        kinds = [np.flatnonzero(detector.sensor_type == name) for name in np.unique(detector.sensor_type)]
        reach = np.sqrt(self._sensors.exact)
        self._kinds = [(ids, cKDTree(position[ids]), float(reach[ids[0]])) for ids in kinds]

    def __call__(self, showers: Showers) -> tuple[Singles, Singles]:
        """Expected photons at each sensor (P, S), before detection, and their mean time of arrival (P, S) in ns."""
        constants, (count, size) = self._constants, showers.energy.shape
        position, time = showers.position.reshape(-1, 3), showers.time.ravel()
        photons = showers.energy.ravel() * constants.light_yield
        deposits = _Deposits(*map(_single, (position.T, self._beyond(position), photons, time)))
        light = np.zeros((count, self._detector.num_sensors), dtype=np.float32)
        light_time = np.zeros_like(light)
        _add_light(deposits, self._sensors, *self._per_cm, light, light_time)
        for deposit, sensor, solid_angle, distance in self._close(position, deposits.beyond):
            share = photons[deposit] * solid_angle / (4 * np.pi) * np.exp(-distance * self._attenuation)
            np.add.at(light, (deposit // size, sensor), share)
            np.add.at(light_time, (deposit // size, sensor), share * (time[deposit] + distance / constants.light_speed))
        smooth, smooth_time = self._scattered(np.arange(count).repeat(size), position, photons, time, count)
        total = light + smooth
        with np.errstate(invalid="ignore"):  # no light, no time
            arrival = (light_time + smooth_time) / total
        # The table is what is left beside the steep part, and may be a little too small between its nodes.
        return np.maximum(total, 0), arrival

    def _close(self, position: Floats, beyond: Singles) -> Iterator[tuple[Ints, Ints, Floats, Floats]]:
        """Pairs of a deposit at `position` (D, 3) and a sensor that is close: their indices, what the solid angle is
        more than `_add_light` takes it for, and the distance in cm."""
        depth = self._volume.depth(position)
        for ids, sensors, reach in self._kinds:
            shallow = np.flatnonzero(depth < reach)
            pairs = cKDTree(position[shallow]).sparse_distance_matrix(sensors, reach, output_type="ndarray")
            deposit, sensor = shallow[pairs["i"]], ids[pairs["j"]]
            offset = position[deposit] - self._detector.position[sensor]
            height = (offset * self._detector.normal[sensor]).sum(axis=1)
            x, y, edge, last = self._sensors.horizon[:, sensor]
            ahead = position[deposit, 0] * x + position[deposit, 1] * y + beyond[deposit] * edge + last >= 0
            seen = np.flatnonzero((height > 0) & ahead)
            deposit, sensor, offset, height = deposit[seen], sensor[seen], offset[seen], height[seen]
            size, distance = self._detector.sizes[sensor], np.sqrt((offset**2).sum(axis=1))
            if self._square[ids[0]]:
                along, across = ((offset[:, None] * self._sides[sensor]).sum(axis=-1)).T
                exact = square_solid_angle(along, across, height, size)
            else:
                exact = disc_solid_angle(np.sqrt(np.maximum(distance**2 - height**2, 0)), height, size)
            yield deposit, sensor, exact - small_solid_angle(reach**2, height, self._detector.areas[sensor]), distance

    def _beyond(self, point: Floats) -> Floats:
        """Length (N,) in cm of a tangent from points (N, 3) to the entrance face, in the transverse plane."""
        return np.sqrt(np.maximum((point[:, :2] ** 2).sum(axis=1) - self._detector.radius**2, 0))


_small_solid_angle: Callable[..., np.float32] = njit(fastmath=True)(small_solid_angle)
_near_scattering: Callable[..., np.float32] = njit(fastmath=True)(near_scattering)


@njit(fastmath=True, error_model="numpy", nogil=True)
def _add_light(
    deposits: _Deposits,
    sensors: _Sensors,
    attenuation: np.float32,
    scattering: np.float32,
    delay: np.float32,
    light: Singles,
    light_time: Singles,
) -> None:
    """Add direct light and what scatters near the sensors to light (P, S), photons, and light x arrival time, ns.

    `attenuation` and `scattering` per cm, `delay` in ns/cm. Closer than `_EXACT`, a sensor counts as if it were just
    there. Compiled: the loop over sensors has no branch and no call, so that it runs on 8 or 16 of them at once.
    """
    size = len(deposits.photons) // len(light)
    scale = attenuation / np.float32(2**_HALVINGS)
    for d in range(len(deposits.photons)):
        shower, photons, time = d // size, deposits.photons[d] / _FOUR_PI, deposits.time[d]
        x, y, z, beyond = deposits.position[0, d], deposits.position[1, d], deposits.position[2, d], deposits.beyond[d]
        for s in range(len(sensors.area)):
            dx, dy, dz = x - sensors.position[0, s], y - sensors.position[1, s], z - sensors.position[2, s]
            height = dx * sensors.normal[0, s] + dy * sensors.normal[1, s] + dz * sensors.normal[2, s]
            ahead = x * sensors.horizon[0, s] + y * sensors.horizon[1, s] + beyond * sensors.horizon[2, s]
            seen = (height > _ZERO) & (ahead + sensors.horizon[3, s] >= _ZERO)
            squared = max(dx * dx + dy * dy + dz * dz, _CLOSEST2)
            distance = np.sqrt(squared)
            angle = _near_scattering(squared, distance, height, scattering) * sensors.area[s]
            if seen:
                angle += _small_solid_angle(max(squared, sensors.exact[s]), height, sensors.area[s])
            # exp(-distance x attenuation), as the exponential of a small part of it.
            q = distance * scale
            kept = _ONE - q * (_ONE - q * _HALF * (_ONE - q * _THIRD * (_ONE - q * _QUARTER)))
            for _ in range(_HALVINGS):
                kept *= kept
            share = photons * kept * angle
            light[shower, s] += share
            light_time[shower, s] += share * (time + distance * delay)


def _single(values: NDArray[Any]) -> Singles:
    return np.ascontiguousarray(values, dtype=np.float32)
