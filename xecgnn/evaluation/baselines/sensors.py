"""What the neighbours of a dead sensor say about it: the baselines of inpainting."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree

from xecgnn.detector import Detector
from xecgnn.simulation.solid_angle import disc_solid_angle, sensor_sides, square_solid_angle

__all__ = ["NeighborBaselines", "NeighborEstimate", "solid_angles"]

Floats = NDArray[np.floating]
Bools = NDArray[np.bool_]

RADIUS = 20.0  # cm, between a sensor and those that speak for it
NUM_DEPTHS = 12  # of the light that are tried
FIT_CONSTANT = 100.0  # photons, added to npho where it stands for its own variance: light that scatters everywhere
EVENTS_AT_ONCE = 16  # bounds the memory of the neighbour lists: at most 35 MB per percent of masked MEG II sensors


class NeighborEstimate(NamedTuple):
    """Estimates for the masked sensors of B events, (B, S) each; NaN elsewhere, and where there is nothing to go by."""

    mean: Floats  # npho, mean of the neighbours
    solid_angle: Floats  # npho, neighbours weighted by solid angle
    time: Floats  # s, mean of the neighbours that have a time


def solid_angles(detector: Detector, face: str, point: Floats) -> Floats:
    """Exact solid angles (B, N) in sr of the sensors of a face, seen from points (B, 3) cm; 0 from behind."""
    ids, kind = detector.faces[face].sensor_ids, detector.sensor_kinds[detector.faces[face].sensor]
    normal = detector.normal[ids]

    def along(axis: Floats) -> Floats:  # distances (B, N) from the sensors' centres along unit vectors (N, 3)
        return point @ axis.T - (detector.position[ids] * axis).sum(1)

    h, x, y = (along(axis) for axis in (normal, *sensor_sides(normal).transpose(1, 0, 2)))
    above = np.where(h > 0, h, 1.0)
    if kind.shape == "square":
        angle = square_solid_angle(x, y, above, kind.size)
    else:
        angle = disc_solid_angle(np.hypot(x, y), above, kind.size)
    return np.where(h > 0, angle, 0.0)


class NeighborBaselines:
    """Two estimates of a masked sensor's npho from the visible sensors of its face within 20 cm.

    Mean: sum npho_j / number. Solid angle: sum npho_j x Omega_i / sum Omega_j with the solid angles Omega seen from the
    light, exact for a point source in a clear medium; the mean where no neighbour faces the light. Without a visible
    neighbour all visible sensors of the face take their place; without any the estimate is NaN.
    """

    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        self._neighbors = {}  # face -> (N, N) sparse, 1 for neighbours
        for name, face in detector.faces.items():
            near = cKDTree(detector.position[face.sensor_ids]).query_pairs(RADIUS, output_type="ndarray")
            pairs = np.concatenate([near, near[:, ::-1]])
            shape = len(face), len(face)
            self._neighbors[name] = sparse.csr_matrix((np.ones(len(pairs), np.float32), pairs.T), shape)

    def __call__(
        self, npho: Floats, time: Floats, visible: Bools, timed: Bools, masked: Bools, light: Floats | None = None
    ) -> NeighborEstimate:
        """Estimates for B events.

        Args:
            npho, time: readings (B, S); what they hold where neither visible nor timed does not matter.
            visible, timed: (B, S) True where npho, or time, may be looked at.
            masked: (B, S) sensors to estimate.
            light: (B, 3) cm, where the light comes from; None: `light_position`.
        """
        estimates = [np.full(npho.shape, np.nan) for _ in NeighborEstimate._fields]
        for start in range(0, len(npho), EVENTS_AT_ONCE):
            part = slice(start, start + EVENTS_AT_ONCE)
            source = self.light_position(npho[part], visible[part]) if light is None else light[part]
            for name, face in self.detector.faces.items():
                n, t, seen, has_time, wanted = (
                    values[part, face.sensor_ids] for values in (npho, time, visible, timed, masked)
                )
                event, sensor = np.nonzero(wanted)
                omega = solid_angles(self.detector, name, source)
                terms = [seen * 1.0, np.where(seen, n, 0), seen * omega, has_time * 1.0, np.where(has_time, t, 0)]
                sums = self._sums(name, event, sensor, np.stack(terms, -1))
                with np.errstate(invalid="ignore", divide="ignore"):
                    mean = sums[1] / sums[0]
                    weighted = np.where(sums[2] > 0, sums[1] * omega[event, sensor] / sums[2], mean)
                    for estimate, values in zip(estimates, (mean, weighted, sums[4] / sums[3]), strict=True):
                        estimate[start + event, face.sensor_ids[sensor]] = values
        return NeighborEstimate(*estimates)

    def light_position(self, npho: Floats, visible: Bools) -> Floats:
        """Where the light of B events comes from, (B, 3) cm; NaN without visible light on the first face.

        On the first face, which looks at the target: u, v are the mean weighted by npho^2, which follows the bright
        spot, and the depth is the one of a few whose solid angles fit best, npho ~ a Omega with variance ~ npho.
        """
        name, face = next(iter(self.detector.faces.items()))
        uvw = self.detector.to_uvw(self.detector.position)
        n = np.where(visible, npho, 0).clip(min=0)[:, face.sensor_ids].astype(float)
        weight = visible[:, face.sensor_ids] / (n + FIT_CONSTANT)
        light = np.zeros((len(n), 3))
        with np.errstate(invalid="ignore"):
            light[:, :2] = n**2 @ uvw[face.sensor_ids, :2] / (n**2).sum(1, keepdims=True)
        scores, depths = [], np.geomspace(1.0, uvw[:, 2].max(), NUM_DEPTHS)
        for light[:, 2] in depths:
            omega = solid_angles(self.detector, name, self.detector.to_xyz(light))
            with np.errstate(invalid="ignore"):
                scores.append((weight * n * omega).sum(1) ** 2 / (weight * omega**2).sum(1))  # what a fit explains
        light[:, 2] = depths[np.argmax(scores, axis=0)]
        return self.detector.to_xyz(light)

    def _sums(self, face: str, event: NDArray[np.intp], sensor: NDArray[np.intp], terms: Floats) -> Floats:
        """Sums (C, K) of terms (B, N, C) over the neighbours of K sensors; over their face where the first one is 0."""
        size = terms.shape[1]
        near = self._neighbors[face][sensor]  # [K, N]
        column = near.indices + np.repeat(event * size, np.diff(near.indptr))  # of a row with all sensors of all events
        shape = len(event), len(terms) * size
        sums = sparse.csr_matrix((near.data, column, near.indptr), shape) @ terms.reshape(shape[1], -1)
        whole = terms.sum(1)[event]
        for count, values in ((0, [0, 1, 2]), (3, [3, 4])):
            alone = sums[:, count] == 0
            sums[np.ix_(alone, values)] = whole[np.ix_(alone, values)]
        return sums.T
