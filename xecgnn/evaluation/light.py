"""A few numbers that sum up the light of an event: what the physics baselines look at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xecgnn.detector import Detector
from xecgnn.names import is_valid

__all__ = ["Light", "LightSummary"]

Light = dict[str, NDArray[np.float64]]  # feature -> (B,) or (B, 3)


class LightSummary:
    """Light features of a batch; the centroid is taken over the first face of the detector, which looks at the target.

    Features, (B,) unless said; NaN where no sensor is usable:
        total: sum of npho over all sensors.
        u, v, w: npho-weighted mean position on the first face (cm).
        spread: npho-weighted RMS distance from it (cm); grows with the depth of the shower.
        normal: (B, 3), npho-weighted mean of the sensors' normals, unit length. On a cylinder this is the normal of the
            surface at the centroid. It points into the xenon, as the photon flies.
        time_first, time_mean: earliest, and npho-weighted mean time (s) of the sensors with at least `npho_threshold`.

    Args:
        detector: positions (cm) and normals of the sensors.
        npho_threshold: npho below which a time is not used.
    """

    def __init__(self, detector: Detector, npho_threshold: float = 100.0) -> None:
        self.detector = detector
        self.npho_threshold = npho_threshold
        self.sizes = {name: len(face.sensor_ids) for name, face in detector.faces.items()}
        ids = next(iter(detector.faces.values())).sensor_ids
        self.position = torch.as_tensor(detector.position[ids], dtype=torch.float32)  # [N, 3]
        self.normal = torch.as_tensor(detector.normal[ids], dtype=torch.float32)
        self.square = self.position.square().sum(1)  # [N]

    @torch.no_grad()
    def __call__(self, batch: Mapping[str, Any]) -> Light:
        """Features of a batch of graphs (`batch[face].x`: raw npho, time of B events)."""
        readings = [batch[name].x.reshape(-1, size, 2) for name, size in self.sizes.items()]
        npho, time = torch.cat(readings, 1).float().unbind(-1)  # [B, S] by face
        known = is_valid(npho)  # False for NaN
        npho = torch.where(known, npho, 0.0)
        timed = known & is_valid(time) & (npho >= self.npho_threshold)
        first = torch.where(timed, time, torch.inf).amin(1)
        weight = torch.where(timed, npho, 0.0).clamp(min=0)
        time_mean = (weight * torch.where(timed, time, 0.0)).sum(1) / weight.sum(1)
        features = {
            "total": npho.sum(1),
            "time_first": torch.where(first.isinf(), torch.nan, first),
            "time_mean": time_mean,
            **self._centroid(npho[:, : len(self.position)].clamp(min=0)),
        }
        light = {name: values.cpu().double().numpy() for name, values in features.items()}
        u, v, w = np.moveaxis(self.detector.to_uvw(light.pop("centroid")), -1, 0)
        return light | {"u": u, "v": v, "w": w}

    def _centroid(self, weight: Tensor) -> dict[str, Tensor]:
        """Mean position, spread and normal of the light on the first face; `weight` (B, N) >= 0."""
        share = weight / weight.sum(1, keepdim=True)
        centroid = share @ self.position.to(weight.device)  # [B, 3]
        spread = (share @ self.square.to(weight.device) - centroid.square().sum(1)).clamp(min=0).sqrt()
        normal = torch.nn.functional.normalize(share @ self.normal.to(weight.device), dim=-1)
        return {"centroid": centroid, "spread": spread, "normal": normal}
