"""A few numbers that sum up the light of an event: what the physics baselines look at."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xecgnn.data.batch import Readings
from xecgnn.detector import Detector
from xecgnn.names import is_valid

__all__ = ["Light", "LightSummary"]

Light = Mapping[str, NDArray[np.float64]]  # feature -> (B,), (B, 3) or (B, faces)
SHARPNESS = 3  # npho to this power weighs the sensors near the light spot: far ones see light from everywhere


class LightSummary:
    """Light features of a batch. The light spot is on the first face of the detector, which looks at the target.

    Features, (B,) unless said; NaN where no sensor is usable:
        faces, root_faces: (B, F), sum of npho over each face, and its square root.
        u, v, w: mean position on the first face, weighted with npho^3 (cm).
        spread: RMS distance from it with the same weights (cm); grows with the depth of the shower.
        point: (B, 3), at depth `spread` behind the spot (x, y, z in cm): about where the photon interacts.
        normal: (B, 3), mean of the sensors' normals with these weights, unit length. On a cylinder this is the normal
            of the surface at the spot. It points into the xenon, as the photon flies.
        time_first, time_mean: earliest, and npho-weighted mean time (s) of the sensors with at least `npho_threshold`.
        path_mean: npho-weighted mean distance (cm) of these sensors from `point`.

    Args:
        detector: positions (cm) and normals of the sensors.
        npho_threshold: npho below which a time is not used.
    """

    def __init__(self, detector: Detector, npho_threshold: float = 100.0) -> None:
        self.detector = detector
        self.npho_threshold = npho_threshold
        self.sizes = {name: len(face.sensor_ids) for name, face in detector.faces.items()}
        self.ids = np.concatenate([face.sensor_ids for face in detector.faces.values()])
        self.position = torch.as_tensor(detector.position[self.ids], dtype=torch.float32)  # [S, 3] by face
        first = detector.normal[next(iter(detector.faces.values())).sensor_ids]
        self.normal = torch.as_tensor(first, dtype=torch.float32)  # [N, 3]

    @torch.no_grad()
    def __call__(self, batch: Readings) -> Light:
        """Features of B events."""
        npho, time = batch.x[:, self.ids].float().unbind(-1)  # [B, S] by face
        known = is_valid(npho)  # False for NaN
        npho = torch.where(known, npho, 0.0)
        timed = known & is_valid(time) & (npho >= self.npho_threshold)
        first = torch.where(timed, time, torch.inf).amin(1)
        faces = torch.stack([face.sum(1) for face in npho.split(list(self.sizes.values()), 1)], 1)
        features = self._spot(npho[:, : len(self.normal)].clamp(min=0))
        light = {name: values.cpu().double().numpy() for name, values in features.items()}
        u, v, w = np.moveaxis(self.detector.to_uvw(light.pop("spot")), -1, 0)
        point = self.detector.to_xyz(np.stack([u, v, w + light["spread"]], -1))  # [B, 3]

        weight = torch.where(timed, npho, 0.0).clamp(min=0)
        share = (weight / weight.sum(1, keepdim=True)).double()
        path = distance(torch.as_tensor(point, dtype=torch.float32), self.position).to(share.device)  # [B, S]
        features = {
            "faces": faces,
            "root_faces": faces.clamp(min=0).sqrt(),
            "time_first": torch.where(first.isinf(), torch.nan, first),
            "time_mean": (share * torch.where(timed, time, 0.0)).sum(1),
            "path_mean": (share * path).sum(1),
        }
        light |= {name: values.cpu().double().numpy() for name, values in features.items()}
        return light | {"u": u, "v": v, "w": w, "point": point}

    def _spot(self, npho: Tensor) -> dict[str, Tensor]:
        """Mean position, spread and normal of the light on the first face; `npho` (B, N) >= 0."""
        weight = (npho / npho.amax(1, keepdim=True)) ** SHARPNESS
        share = weight / weight.sum(1, keepdim=True)
        position = self.position[: npho.size(1)].to(npho.device)
        spot = share @ position  # [B, 3]
        spread = (share * distance(spot, position).square()).sum(1).sqrt()
        normal = torch.nn.functional.normalize(share @ self.normal.to(npho.device), dim=-1)
        return {"spot": spot, "spread": spread, "normal": normal}


def distance(a: Tensor, b: Tensor) -> Tensor:
    """Distances (n, m) between points (n, 3) and (m, 3), exact for near ones too."""
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
