"""Moments of the light on each face, as seen from the spot."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from xecgnn.detector import Detector
from xecgnn.nn.spot import Spot

__all__ = ["FaceMoments"]

POWERS = (1, 2)  # of npho in the weights: all light, and the bright part of it
REACHES = (1, 2, 4, 8)  # widths of the Gaussian weights around the center of the spot, in distances between neighbours
SHIFT, SHIFTS = 2, 3  # width of the weights that find this center, and how often they move to the mean of their light
SMALL = 1e-14  # a weight that counts as none
MIN_SPREAD, MAX_SKEW = 0.1, 5.0  # cm; light on few sensors has larger ones
BOUND = 6.0  # largest size of a scaled moment: a face without light must not drown the others


class FaceMoments(nn.Module):
    """Numbers that sum up an event: logarithm of its light, position of the spot, and moments of the light of faces.

    These are the logarithm of the sum of weights, and along the axes of the spot's frame mean (from the spot, cm),
    spread (cm), correlations and skewness. Weights are the shares of the light, and their squares; on the face of the
    spot also the shares times Gaussians of four widths. These are centered where the light is, by mean shift from the
    spot, and not at a sensor. All moments are scaled to zero mean and unit spread over the sample given to `fit`.

    Args:
        detector: positions of the sensors (cm); the spot is on its first face.
    """

    mean: Tensor  # (M,)
    std: Tensor  # (M,)
    reach: Tensor  # (R, 1) cm

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.names = tuple(detector.faces)
        for name, face in detector.faces.items():
            position = torch.as_tensor(detector.position[face.sensor_ids], dtype=torch.float32)
            self.register_buffer(f"position_{name}", position.t().contiguous(), persistent=False)  # [3, N]
        first = detector.position[detector.faces[self.names[0]].sensor_ids]
        self.pitch = float(np.linalg.norm(first[1] - first[0]))
        self.register_buffer("reach", self.pitch * torch.tensor(REACHES).unsqueeze(1), persistent=False)
        self.register_buffer("mean", torch.zeros(self.num_outputs))
        self.register_buffer("std", torch.ones(self.num_outputs))

    @property
    def num_outputs(self) -> int:
        """M."""
        return 4 + 13 * (len(self.names) * len(POWERS) + len(REACHES))

    def fit(self, moments: Tensor) -> None:
        """Take the scale from unscaled moments (E, M), as `raw` gives them."""
        std, mean = torch.std_mean(moments, 0, correction=0)
        self.mean.copy_(mean)
        self.std.copy_(torch.where(std > 1e-4, std, 1))

    def forward(self, light: dict[str, Tensor], spot: Spot) -> Tensor:
        """(B, M), scaled; arguments as of `raw`."""
        return ((self.raw(light, spot) - self.mean) / self.std).clamp(-BOUND, BOUND)

    def raw(self, light: dict[str, Tensor], spot: Spot) -> Tensor:
        """(B, M) of npho >= 0 of the faces, (B, N) each."""
        with torch.autocast(spot.position.device.type, enabled=False):
            light = {name: values.to(self.mean.dtype) for name, values in light.items()}
            total = torch.cat([values.sum(1, keepdim=True) for values in light.values()], 1).sum(1, keepdim=True)
            parts = [total.clamp(min=1).log(), spot.position]
            for name, values in light.items():
                share = values / total.clamp(min=1)
                seen = spot.frame @ (getattr(self, f"position_{name}") - spot.position.unsqueeze(2))  # [B, 3, N]
                weights = torch.stack([share**power for power in POWERS], 1)  # [B, W, N]
                if name == self.names[0]:
                    origin = self._center(seen, share)
                    weights = torch.cat([weights, gaussian(seen - origin, self.reach) * share.unsqueeze(1)], 1)
                else:  # far from the spot: differences of large squares and cubes would lose their digits
                    scale = share.sum(1).clamp(min=SMALL).view(-1, 1, 1)
                    origin = (seen * share.unsqueeze(1)).sum(2, keepdim=True) / scale
                parts.append(moments(seen - origin, weights, origin).flatten(1))
            return torch.cat(parts, 1)

    def _center(self, seen: Tensor, share: Tensor) -> Tensor:
        """Where the light near the spot is (B, 3, 1), of sensors at `seen` (B, 3, N) with light (B, N)."""
        center = torch.zeros_like(seen[..., :1])
        for _ in range(SHIFTS):
            weight = gaussian(seen - center, SHIFT * self.pitch) * share.unsqueeze(1)
            center = (seen * weight).sum(2, keepdim=True) / weight.sum(2, keepdim=True).clamp(min=SMALL)
        return center


def gaussian(x: Tensor, width: Tensor | float) -> Tensor:
    """exp(-r^2 / 2 width^2) at points x (B, 3, N), (B, 1, N); for widths (R, 1) (B, R, N)."""
    return torch.exp(x.square().sum(1, keepdim=True) / (-2 * width**2))


def moments(x: Tensor, weights: Tensor, origin: Tensor) -> Tensor:
    """Of points x (B, 3, N), which are measured from `origin` (B, 3, 1), with weights (B, W, N).

    Returns:
        (B, W, 13), see `FaceMoments`; means are the origin, and spreads smallest, where all weights are zero.
    """
    square = x * x
    columns = torch.cat([x, square, pairs(x, 1), square * x], 1)
    total = weights.sum(2, keepdim=True)
    mean, square, product, cube = ((weights / total.clamp(min=SMALL)) @ columns.transpose(1, 2)).split(3, 2)
    spread = (square - mean.square()).clamp(min=MIN_SPREAD**2).sqrt()
    correlation = (product - pairs(mean, 2)) / pairs(spread, 2)
    skew = (cube - 3 * mean * square + 2 * mean**3) / spread**3
    bounded = correlation.clamp(-1, 1), skew.clamp(-MAX_SKEW, MAX_SKEW)
    return torch.cat([total.clamp(min=SMALL).log(), mean + origin.transpose(1, 2), spread, *bounded], 2)


def pairs(values: Tensor, dim: int) -> Tensor:
    """Products of the first with the second, first with the third, second with the third of three axes."""
    first, second, third = values.unbind(dim)
    return torch.stack([first * second, first * third, second * third], dim)
