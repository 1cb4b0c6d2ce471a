"""How well energy, centroid and time of a shower could be known from its light at all: Cramer and Rao's bound."""

from __future__ import annotations

import numpy as np

from xecgnn.arrays import Bools, Floats, Singles
from xecgnn.detector import Detector
from xecgnn.simulation.block import MEV, NS
from xecgnn.simulation.constants import Constants
from xecgnn.simulation.information import ReadingInformation
from xecgnn.simulation.light import LightModel
from xecgnn.simulation.shower import Showers
from xecgnn.simulation.volume import XenonVolume

__all__ = ["LightLimits"]

_STEP = 0.1  # cm; with half of it the bounds of 9 in 10 events change by less than 0.6 %, with twice as much by 2 %


class LightLimits:
    """Smallest standard deviations of unbiased estimates from the readings of a detector.

    Free are the deposited energy E, the centroid (x, y, z) and the time of a shower, all together; its shape is known.
    E scales the light, the centroid moves all deposits, the time all arrivals. With the expected photons m and their
    mean arrival a at a sensor, and the information C in its charge and T in its time (`ReadingInformation`),

        I = sum over sensors of C dm dm^T + T da da^T,    dm = (m / E, dm/dx, dm/dy, dm/dz, 0),
                                                          da = (0, da/dx, da/dy, da/dz, 1),

    and the bound is the root of the diagonal of I^-1. The time is on the clock of the deposits; a common zero such as
    the earliest time is taken off both readings and truth, and costs nothing.
    """

    def __init__(
        self, detector: Detector, volume: XenonVolume, light: LightModel, dead: Bools, constants: Constants
    ) -> None:
        self._volume, self._light = volume, light
        self._information = ReadingInformation(detector, dead, constants)

    def __call__(self, showers: Showers, light: Singles, arrival: Singles) -> dict[str, Floats]:
        """Columns by branch, (P,) or (P, 3), of showers with their light and arrival (P, S); NaN without light."""
        bound = np.full((len(light), 5), np.nan)
        matrix = self.information(showers, light, arrival)
        known = np.linalg.matrix_rank(matrix, hermitian=True) == 5
        bound[known] = np.sqrt(np.diagonal(np.linalg.inv(matrix[known]), axis1=1, axis2=2))
        return {
            "limit_edepTruth": bound[:, 0] * MEV,
            "limit_centroidTruth": bound[:, 1:4],
            "limit_timeTruth": bound[:, 4] * NS,
        }

    def information(self, showers: Showers, light: Singles, arrival: Singles) -> Floats:
        """Fisher's matrix (P, 5, 5) of energy (MeV), x, y, z (cm) and time (ns)."""
        by_light, by_arrival = (np.zeros((len(light), 5, light.shape[1])) for _ in range(2))
        energy = showers.deposited[:, None]
        by_light[:, 0] = light / np.where(energy > 0, energy, 1)
        by_arrival[:, 4] = 1
        for axis in range(3):
            by_light[:, 1 + axis], by_arrival[:, 1 + axis] = self._shifted(showers, light, arrival, axis)
        charge, time = (values[:, None] for values in self._information(light))
        return (by_light * charge) @ by_light.swapaxes(1, 2) + (by_arrival * time) @ by_arrival.swapaxes(1, 2)

    def _shifted(self, showers: Showers, light: Singles, arrival: Singles, axis: int) -> tuple[Floats, Floats]:
        """Change (P, S) of light and mean arrival per cm along x, y or z.

        From the light a step ahead and a step behind; a deposit that would leave the xenon stays on that side, and
        counts twice: its difference is one-sided.
        """
        zero = showers.time.mean(axis=1, keepdims=True)
        step = _STEP * np.eye(3)[axis]
        inside = [self._volume.depth(showers.position + sign * step) > 0 for sign in (1, -1)]
        energy = showers.energy * np.where(inside[0] & inside[1], 1, 2)
        by_light, by_time = np.zeros(light.shape), np.zeros(light.shape)
        for sign, stays in ((1, inside[0]), (-1, inside[1])):
            position = showers.position + np.where(stays[..., None], sign * step, 0)
            moved = Showers(position, energy, showers.time - zero, showers.deposited, showers.centroid)
            photons, time = self._light(moved)
            by_light += sign / (2 * _STEP) * photons.astype(float)
            by_time += sign / (2 * _STEP) * photons * np.nan_to_num(time.astype(float))
        with np.errstate(divide="ignore", invalid="ignore"):
            change = (by_time - (arrival - zero) * by_light) / light
        return by_light, np.nan_to_num(change, posinf=0, neginf=0)
