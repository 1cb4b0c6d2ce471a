"""Moments of the light on each face, as seen from the spot."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from xecgnn.detector import Detector
from xecgnn.nn.spot import Spot

__all__ = ["FaceMoments"]

POWERS = (1, 2)  # of npho in the weights: all light, and the bright part of it
RINGS = (3, 6, 12, 24)  # radii around the spot on its face, in distances between neighbours
SMALL = 1e-14  # a weight that counts as none
BOUND = 6.0  # largest size of a scaled moment: a face without light must not drown the others
PRODUCTS = torch.tensor([[0, 0], [1, 1], [2, 2], [0, 1], [0, 2], [1, 2]])


class FaceMoments(nn.Module):
    """Numbers that sum up an event: logarithm of its light; position of the spot; and for each face the logarithm of
    its share, mean position and spread of its light in the frame of the spot, once weighted with npho and once with
    npho^2; on the face of the spot also for the light within four radii. They are scaled to zero mean and unit spread
    over the sample given to `fit`.

    Args:
        detector: positions of the sensors (cm); the spot is on its first face.
    """

    mean: Tensor  # (M,)
    std: Tensor  # (M,)
    radii: Tensor  # (R,) cm

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.names = tuple(detector.faces)
        for name, face in detector.faces.items():
            position = torch.as_tensor(detector.position[face.sensor_ids], dtype=torch.float32)  # [N, 3]
            center = position.mean(0)  # squares of small numbers keep their digits
            local = position - center
            columns = torch.cat([torch.ones(len(face), 1), local, local[:, PRODUCTS].prod(-1)], 1)  # [N, 10]
            self.register_buffer(f"center_{name}", center, persistent=False)
            self.register_buffer(f"columns_{name}", columns, persistent=False)
        first = detector.position[detector.faces[self.names[0]].sensor_ids]
        pitch = float(np.linalg.norm(first[1] - first[0]))
        self.register_buffer("radii", pitch * torch.tensor(RINGS), persistent=False)
        self.register_buffer("mean", torch.zeros(self.num_outputs))
        self.register_buffer("std", torch.ones(self.num_outputs))

    @property
    def num_outputs(self) -> int:
        """M."""
        return 4 + 7 * (len(self.names) * len(POWERS) + len(RINGS))

    def fit(self, moments: Tensor) -> None:
        """Take the scale from unscaled moments (E, M), as `raw` gives them."""
        std, mean = torch.std_mean(moments, 0, correction=0)
        self.mean.copy_(mean)
        self.std.copy_(torch.where(std > 1e-4, std, 1))

    def forward(self, light: dict[str, Tensor], spot: Spot) -> Tensor:
        """(B, M), scaled; arguments as of `raw`."""
        return ((self.raw(light, spot) - self.mean) / self.std).clamp(-BOUND, BOUND)

    def raw(self, light: dict[str, Tensor], spot: Spot) -> Tensor:
        """(B, M) of npho >= 0 of the faces, (B, N) each; cm, and logarithms of photons and of shares."""
        with torch.autocast(spot.position.device.type, enabled=False):
            light = {name: values.to(self.mean.dtype) for name, values in light.items()}
            total = torch.cat([values.sum(1, keepdim=True) for values in light.values()], 1).sum(1, keepdim=True)
            parts = [total.clamp(min=1).log(), spot.position]
            light = {name: values / total.clamp(min=1) for name, values in light.items()}
            for name, weight in self._weights(light, spot):
                parts += self._moments(name, weight, spot)
            return torch.cat(parts, 1)

    def _weights(self, light: dict[str, Tensor], spot: Spot) -> Iterator[tuple[str, Tensor]]:
        """Faces with weights (B, N) of their sensors, from their shares of the light."""
        for name, share in light.items():
            for power in POWERS:
                yield name, share**power
        first = self.names[0]
        position = getattr(self, f"columns_{first}")[:, 1:4] + getattr(self, f"center_{first}")
        distance = (position - spot.position.unsqueeze(1)).square().sum(2)  # [B, N]
        for radius in self.radii:
            yield first, torch.where(distance < radius**2, light[first], 0)

    def _moments(self, face: str, weight: Tensor, spot: Spot) -> tuple[Tensor, Tensor, Tensor]:
        """Logarithm of the sum (B, 1), mean and spread (B, 3) along the axes of the frame (cm); 0 without light."""
        total = weight.sum(1, keepdim=True)
        sums = (weight / total.clamp(min=SMALL)) @ getattr(self, f"columns_{face}")  # [B, 10]
        first, second = sums[:, 1:4], sums[:, 4:]
        covariance = torch.stack(
            [second[:, [0, 3, 4]], second[:, [3, 1, 5]], second[:, [4, 5, 2]]], 1
        ) - first.unsqueeze(2) * first.unsqueeze(1)  # [B, 3, 3]
        offset = first + getattr(self, f"center_{face}") - spot.position
        mean = (spot.frame @ offset.unsqueeze(2)).squeeze(2) * sums[:, :1]
        variance = ((spot.frame @ covariance) * spot.frame).sum(2)
        return total.clamp(min=SMALL).log(), mean, variance.clamp(min=1e-6).sqrt()
