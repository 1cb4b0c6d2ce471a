"""Moments of the light on each face, as seen from the spot."""

from __future__ import annotations

from itertools import combinations_with_replacement, product

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
# Products of up to three coordinates, each once: 1, x, y, z, xx, xy, ..., zzz; and the place of each entry of a tensor.
MONOMIALS = [axes for degree in range(4) for axes in combinations_with_replacement(range(3), degree)]
ORDERED = [MONOMIALS.index(tuple(sorted(axes))) for degree in range(4) for axes in product(range(3), repeat=degree)]
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
    ordered: Tensor  # (40,)
    first: Tensor  # (3,) the pairs of different axes
    second: Tensor  # (3,)

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.names = tuple(detector.faces)
        for name, face in detector.faces.items():
            position = torch.as_tensor(detector.position[face.sensor_ids])
            self.register_buffer(f"powers_{name}", powers(position), persistent=False)  # [N, 20]
        first = detector.position[detector.faces[self.names[0]].sensor_ids]
        self.pitch = float(np.linalg.norm(first[1] - first[0]))
        for index, values in {"ordered": ORDERED, "first": (0, 0, 1), "second": (1, 2, 2)}.items():
            self.register_buffer(index, torch.tensor(values), persistent=False)
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
                weights = [share**power for power in POWERS]
                if name == self.names[0]:
                    weights += self._near(share, spot)
                powers = self._powers(name)  # one by one: all weights at once, in double, are too large to be reused
                sums = torch.stack([weight.double() @ powers for weight in weights], 1)  # [B, W, 20]
                parts.append(self._moments(sums, spot).flatten(1).to(share.dtype))
            return torch.cat(parts, 1)

    def _moments(self, sums: Tensor, spot: Spot) -> Tensor:
        """Of sums (B, W, 20) of weights times `powers`: these turn into any frame without another look at the points.

        In double precision: differences of squares and cubes of a meter lose the digits of a single. Nothing is
        transposed here: ONNX Runtime 1.18 to 1.23 fuse that into a product that they do not have for doubles.

        Returns:
            (B, W, 13), see the class; means are zero, and spreads smallest, where all weights are zero.
        """
        axes = torch.stack(spot.frame.to(sums.dtype).unbind(1), 2)  # [B, 3, 3], those of the frame as columns
        origin = spot.position.to(sums.dtype).unsqueeze(1)  # [B, 1, 3]
        total = sums[..., :1]
        one, x, xx, xxx = (sums.index_select(2, self.ordered) / total.clamp(min=SMALL)).split([1, 3, 9, 27], 2)
        mean, square = x @ axes, xx @ outer(axes, axes)
        spread = (square - mean.square()).clamp(min=MIN_SPREAD**2).sqrt()
        mixed = xx @ outer(axes.index_select(2, self.first), axes.index_select(2, self.second))
        correlation = (mixed - self._pairs(mean)) / self._pairs(spread)
        cube = xxx @ outer(outer(axes, axes), axes)
        skew = (cube - 3 * mean * square + 2 * mean**3) / spread**3
        bounded = correlation.clamp(-1, 1), skew.clamp(-MAX_SKEW, MAX_SKEW)
        return torch.cat([total.clamp(min=SMALL).log(), mean - one * origin @ axes, spread, *bounded], 2)

    def _pairs(self, values: Tensor) -> Tensor:
        """Products (B, W, 3) of values (B, W, 3) along different axes."""
        return values.index_select(2, self.first) * values.index_select(2, self.second)

    def _near(self, share: Tensor, spot: Spot) -> list[Tensor]:
        """Shares of the light (B, N) times Gaussians of all widths around the center of the light near the spot."""
        position = self._powers(self.names[0])[:, 1:4].to(share.dtype)  # [N, 3]
        center = spot.position.to(share.dtype)
        for _ in range(SHIFTS):
            weight = share * gaussian(squared_distance(center, position), SHIFT * self.pitch)
            center = weight @ position / weight.sum(1, keepdim=True).clamp(min=SMALL)
        squared = squared_distance(center, position)
        return [share * gaussian(squared, reach * self.pitch) for reach in REACHES]

    def _powers(self, name: str) -> Tensor:
        buffer: Tensor = getattr(self, f"powers_{name}")
        return buffer.double()  # also where the module has been cast


def squared_distance(center: Tensor, position: Tensor) -> Tensor:
    """Between centers (B, 3) and positions (N, 3): (B, N). Axis by axis: products of large numbers lose digits."""
    x, y, z = (a - b for a, b in zip(position.t().unsqueeze(1), center.t().unsqueeze(2), strict=True))
    return x * x + y * y + z * z


def gaussian(squared: Tensor, width: float) -> Tensor:
    """exp(-r^2 / 2 width^2) of squared distances r^2."""
    return torch.exp((squared / (-2 * width**2)).clamp(min=-50))  # smaller numbers are subnormal, and slow


def outer(a: Tensor, b: Tensor) -> Tensor:
    """Products (..., n * m, k) of the rows of (..., n, k) with those of (..., m, k)."""
    return (a.unsqueeze(-2) * b.unsqueeze(-3)).flatten(-3, -2)


def powers(x: Tensor) -> Tensor:
    """The products of up to three coordinates of points (N, 3), in the order of `MONOMIALS`: (N, 20)."""
    return torch.stack([x[:, list(axes)].prod(1) for axes in MONOMIALS], 1)
