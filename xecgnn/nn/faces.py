"""Where sensors become the nodes of faces, and back: nothing outside the network speaks by face."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from xecgnn.detector import Detector

__all__ = ["Faces"]


class Faces(nn.Module):
    """Values by sensor id <-> values of the nodes of each face, the events one after the other.

    Sizes: B events, S sensors, N sensors of a face.

    Args:
        detector: its faces.
    """

    place: Tensor  # (S,) place of each sensor when the faces stand one after the other

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.sizes = {name: len(face) for name, face in detector.faces.items()}
        # Ids as runs of consecutive ones: slicing is several times faster than gathering.
        self.runs = {name: _runs(face.sensor_ids) for name, face in detector.faces.items()}
        ids = np.concatenate([face.sensor_ids for face in detector.faces.values()])
        self.register_buffer("place", torch.as_tensor(np.argsort(ids)), persistent=False)

    def take(self, values: Tensor, face: str) -> Tensor:
        """(B, S, ...) -> (B * N, ...) of one face."""
        parts = [values[:, run] for run in self.runs[face]]
        return (torch.cat(parts, 1) if len(parts) > 1 else parts[0]).flatten(0, 1)

    def split(self, values: Tensor) -> dict[str, Tensor]:
        """(B, S, ...) -> {face: (B * N, ...)}."""
        return {face: self.take(values, face) for face in self.sizes}

    def join(self, parts: Mapping[str, Tensor]) -> Tensor:
        """{face: (B * N, ...)} -> (B, S, ...)."""
        by_face = torch.cat([parts[face].unflatten(0, (-1, size)) for face, size in self.sizes.items()], 1)
        return by_face.index_select(1, self.place)


def _runs(ids: np.ndarray) -> list[slice]:
    parts = np.split(ids, np.flatnonzero(np.diff(ids) != 1) + 1)
    return [slice(int(part[0]), int(part[-1]) + 1) for part in parts]
