"""The spot: the brightest place of the face that looks at the target, its frame, and the sensors around it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xecgnn.detector import Detector
from xecgnn.names import SPOT, EdgeType
from xecgnn.nn.topology import EventTable

__all__ = ["Spot", "SpotFinder"]

BOX = 3  # side of the squares of sensors whose light is compared: one bright sensor alone is not the spot


class Spot(NamedTuple):
    """Where the light of B events is brightest."""

    node: Tensor  # (B,) int64, node of the face
    position: Tensor  # (B, 3) cm
    uvw: Tensor  # (B, 3) cm, the same in coordinates of the detector
    frame: Tensor  # (B, 3, 3) orthonormal rows: into the xenon, across, along z as far as the face allows
    time: Tensor  # (B,) s, mean over the face, weighted by light; 0 if no sensor has a time


class SpotFinder(nn.Module):
    """Finds the spot on the first face of a detector, which must be a lattice of equal sensors.

    Args:
        detector: positions and normals of the sensors.
        window: side of the square of sensors that belongs to a spot, odd.

    Raises:
        ValueError: the first face is no such lattice.
    """

    position: Tensor  # (N, 3)
    uvw: Tensor  # (N, 3)
    frame: Tensor  # (N, 3, 3)
    places: Tensor  # (N, 2) row and column of each node
    offsets: Tensor  # (K, 2) rows and columns from the spot to the sensors of its window, row-major
    held: Tensor | None = None  # (B,) nodes to stay at, whatever the light; for who looks at changes of it

    def __init__(self, detector: Detector, window: int) -> None:
        super().__init__()
        self.face = next(iter(detector.faces))
        self.edge: EdgeType = self.face, SPOT, SPOT
        face = detector.faces[self.face]
        if face.layout != "lattice" or face.block is not None:
            raise ValueError(f"model.spot.window: face {self.face!r} is not a lattice of equal sensors; set it to 0")
        self.shape = face.shape[0], face.shape[1]
        normal = detector.normal[face.sensor_ids]
        along = np.array([0.0, 0.0, 1.0]) - normal * normal[:, 2:]
        along /= np.linalg.norm(along, axis=1, keepdims=True)
        frame = np.stack([normal, np.cross(along, normal), along], 1)
        reach = torch.arange(window) - window // 2
        position = detector.position[face.sensor_ids]
        for name, values in {"position": position, "uvw": detector.to_uvw(position), "frame": frame}.items():
            self.register_buffer(name, torch.as_tensor(values, dtype=torch.float32), persistent=False)
        self.register_buffer("offsets", torch.cartesian_prod(reach, reach), persistent=False)
        places = torch.cartesian_prod(*(torch.arange(size) for size in self.shape))
        self.register_buffer("places", places, persistent=False)

    def forward(self, light: Tensor, time: Tensor, timed: Tensor) -> Spot:
        """The spot of npho >= 0 and times (s) of the face, all (B, N); `timed` bool, True = the time is usable."""
        node = self.node(light)
        weight = torch.where(timed, light, 0)
        mean = (weight * torch.where(timed, time, 0)).sum(1) / weight.sum(1).clamp(min=torch.finfo(light.dtype).tiny)
        position, uvw, frame = (values.index_select(0, node) for values in (self.position, self.uvw, self.frame))
        return Spot(node, position, uvw, frame, mean)

    def node(self, light: Tensor) -> Tensor:
        """Node (B,) with the most light around it."""
        if self.held is not None:
            return self.held
        return F.avg_pool2d(light.view(-1, 1, *self.shape), BOX, 1, BOX // 2).flatten(1).argmax(1)

    def table(self, node: Tensor) -> EventTable:
        """The sensors of the window, tap by tap; those beyond the border of the face are absent."""
        rows, cols = self.shape
        place = self.places.index_select(0, node).unsqueeze(1) + self.offsets  # [B, K, 2]
        row, col = place.unbind(2)
        inside = (row >= 0) & (row < rows) & (col >= 0) & (col < cols)
        return EventTable(torch.where(inside, row * cols + col, 0), inside.unsqueeze(1))
