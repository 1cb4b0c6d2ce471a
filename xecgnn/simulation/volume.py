"""The xenon between the faces: which points lie inside, how far a photon may fly, where it may enter."""

from __future__ import annotations

import numpy as np

from xecgnn.arrays import Floats
from xecgnn.detector import Detector

__all__ = ["XenonVolume"]


_STEP = 0.5  # cm, between the points at which a ray is tested


class XenonVolume:
    """The xenon of a detector, bounded by its faces.

    A face is a plane if its normals agree, else a cone around the beam (cylinders included): a linear function of
    (x, y, z) or of (r, z) that is positive inside.

    Attributes:
        entrance_ids: sensors of the face through which photons enter, the one at w = 0.
        half_u, half_v: half widths (cm) of that face in u and v.
    """

    def __init__(self, detector: Detector) -> None:
        planes, cones = [], []
        r = np.hypot(detector.position[:, 0], detector.position[:, 1])
        depth = {}
        for face in detector.faces.values():
            ids = face.sensor_ids
            position, normal = detector.position[ids], detector.normal[ids]
            depth[face.name] = abs(detector.to_uvw(position)[:, 2].mean())
            mean = normal.mean(axis=0)
            if np.linalg.norm(mean) > 0.99:
                planes.append([*mean, -(position @ mean).mean()])
            else:
                along_r = (normal[:, :2] * position[:, :2]).sum(axis=1) / r[ids]
                n_r, n_z = along_r.mean(), normal[:, 2].mean()
                cones.append([n_r, n_z, -(n_r * r[ids] + n_z * position[:, 2]).mean()])
        self._span = np.linalg.norm(np.ptp(detector.position, axis=0))  # no ray inside is longer
        self._planes, self._cones = np.array(planes).reshape(-1, 4), np.array(cones).reshape(-1, 3)

        entrance = detector.faces[min(depth, key=lambda name: depth[name])]
        self.entrance_ids = entrance.sensor_ids
        rows, cols = entrance.shape[0], entrance.shape[1]
        u, v, _ = np.ptp(detector.to_uvw(detector.position[entrance.sensor_ids]), axis=0)
        # The outermost sensors stand half a pitch inside the edge.
        self.half_u, self.half_v = u / 2 * cols / (cols - 1), v / 2 * rows / (rows - 1)

    def depth(self, point: Floats) -> Floats:
        """Distance (cm) of points (..., 3) to the nearest face, negative outside: shape (...)."""
        r, z = np.hypot(point[..., 0], point[..., 1]), point[..., 2]
        distances = [point @ plane[:3] + plane[3] for plane in self._planes]
        distances += [n_r * r + n_z * z + offset for n_r, n_z, offset in self._cones]
        return np.minimum.reduce(distances)

    def path_length(self, entrance: Floats, direction: Floats) -> Floats:
        """Length (P,) in cm of xenon along rays from entrance points (P, 3) in unit directions (P, 3)."""
        s = np.arange(0, self._span, _STEP)
        depth = self.depth(entrance[:, None] + s[:, None] * direction[:, None])  # [P, steps]
        depth[:, 0] = np.maximum(depth[:, 0], 0)  # on the face, up to rounding
        last = np.argmax(depth[:, 1:] < 0, axis=1)  # last step inside
        row = np.arange(len(depth))
        inside, outside = depth[row, last], depth[row, last + 1]
        return _STEP * (last + inside / np.maximum(inside - outside, 1e-9))
