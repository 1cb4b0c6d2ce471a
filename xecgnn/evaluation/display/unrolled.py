"""The faces of a detector unrolled into one plane: where each sensor lies, and which are neighbours there.

The plane is a map of the surface around the xenon, seen from outside, with the target behind it: in the middle the face
that looks away from the beam, the endcaps beside it, the two ends of the opening angle above and below, and apart, to
the right, the face that looks back at the beam. Which face is which follows from the normals.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xecgnn.detector import Detector
from xecgnn.names import SEAM

__all__ = ["sensor_pairs", "unroll"]

Array = NDArray[np.float64]

GAP = 10.0  # cm: distance of the face that stands apart


def unroll(detector: Detector) -> Array:
    """Sensor positions (S, 2) cm in the plane: to the right along z, upwards along the arc v.

    True to scale are lengths along z, along the slope of an endcap, along the arc at the sensor's own radius, and the
    steps between neighbouring faces.
    """
    u, v, w = detector.to_uvw(detector.position).T  # [S] each
    plane = np.stack([u, v * (1 + w / detector.radius)], axis=1)  # holds as it is for the face in the middle
    cos, sin, size = np.cos(v / detector.radius), np.sin(v / detector.radius), detector.sizes
    n_x, n_y, n_z = detector.normal.T
    normal = np.stack([n_y * sin - n_x * cos, n_y * cos + n_x * sin, n_z])  # along r, v, z
    means = [(normal[:, face.sensor_ids].mean(1), face.sensor_ids) for face in detector.faces.values()]
    edge = 0.0
    for (n_r, n_v, n_z), ids in sorted(means, key=lambda entry: -entry[0][0]):
        if n_r > max(abs(n_v), abs(n_z)):  # looks away from the beam, and comes first
            edge = np.abs(u[ids]).max()
        elif -n_r > max(abs(n_v), abs(n_z)):  # looks back at it, and comes last
            rest = np.setdiff1d(np.arange(len(plane)), ids)
            plane[ids, 0] += (plane[rest, 0] + size[rest]).max() + GAP - (plane[ids, 0] - size[ids]).min()
        elif abs(n_v) > abs(n_z):  # above or below
            plane[ids, 1] = v[ids] + np.sign(v[ids]) * w[ids]
        else:  # beside: the path along the slope, from the edge of the middle
            path = (abs(n_z) * w[ids] + n_r * (np.abs(u[ids]) - edge)) / np.hypot(n_r, n_z)
            plane[ids, 0] = np.sign(u[ids]) * (edge + path)
    return plane


def sensor_pairs(detector: Detector, relation: str) -> NDArray[np.int64]:
    """Sensor ids (2, pairs) that `lattice`, `hex` or `seam` edges join, each pair once, self edges left out."""
    faces = detector.faces
    edges = [face.sensor_ids[face.edge_index] for face in faces.values() if face.layout == relation]
    if relation == SEAM:
        for (a, b), (i, j) in detector.seams().items():
            edges.append(np.stack([faces[a].sensor_ids[i], faces[b].sensor_ids[j]]))
    if not edges:
        raise KeyError(f"no relation {relation!r} in {detector.name}; relations: lattice, hex, seam")
    pairs = np.concatenate(edges, axis=1)
    return pairs[:, pairs[0] < pairs[1]]
