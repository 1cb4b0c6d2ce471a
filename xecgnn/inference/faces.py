"""Between arrays by sensor id and the nodes of the faces."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from xecgnn.data.graph import face_runs
from xecgnn.detector import Detector

__all__ = ["join_faces", "split_faces"]


def split_faces(detector: Detector, values: Tensor) -> dict[str, Tensor]:
    """Values by sensor id (B, S, ...) -> face: (B * N, ...)."""
    return {
        face: torch.cat([values[:, run] for run in runs], 1).flatten(0, 1) for face, runs in face_runs(detector).items()
    }


def join_faces(detector: Detector, parts: Mapping[str, Tensor]) -> Tensor:
    """The way back: face: (B * N, ...) -> (B, S, ...)."""
    faces = detector.faces.values()
    by_face = torch.cat([parts[face.name].unflatten(0, (-1, len(face))) for face in faces], 1)  # [B, S, ...]
    order = np.argsort(np.concatenate([face.sensor_ids for face in faces]))
    return by_face[:, torch.from_numpy(order).to(by_face.device)]
