"""What the light says near its brightest place at full resolution, beside what the tokens of whole faces say."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from xecgnn.models.config import SpotConfig
from xecgnn.models.encoder_graph import EncoderGraph
from xecgnn.nn.face_encoder import Edges
from xecgnn.nn.faces import Faces
from xecgnn.nn.lattice_conv import LatticeConv
from xecgnn.nn.moments import FaceMoments
from xecgnn.nn.normalizer import Normalizer
from xecgnn.nn.spot import Spot

__all__ = ["SpotEncoder"]


class Residual(nn.Sequential):
    """x + MLP of the normalised x, (B, D) -> (B, D)."""

    def __init__(self, dim: int) -> None:
        super().__init__(nn.LayerNorm(dim), nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = super().forward(x)
        return x + out


class SpotEncoder(nn.Module):
    """Window around the spot, moments of all faces -> features (B, D) of an event.

    The window is one convolution at one place, `LatticeConv` along the relation `spot`: square root of a sensor's share
    of the light of its face, and its time after the mean time of the face.

    Args:
        spec: the graph of an event, with a `spot`.
        config: sizes.
    """

    def __init__(self, spec: EncoderGraph, config: SpotConfig) -> None:
        super().__init__()
        assert spec.spot is not None
        self.faces, self.finder = Faces(spec.detector), spec.spot
        self.moments = FaceMoments(spec.detector) if config.moments else None
        taps = config.window**2
        self.conv = LatticeConv(2, 2 * config.dim, config.window)
        nn.init.kaiming_uniform_(self.conv.weight, math.sqrt(5))  # as PyTorch starts its convolutions
        self.scale = math.sqrt(taps)
        width = config.dim + (self.moments.num_outputs if self.moments else 0)
        self.inner = nn.Sequential(nn.GELU(), nn.Linear(2 * config.dim, config.dim), nn.GELU())
        self.outer = nn.Sequential(nn.Linear(width, config.dim), nn.LayerNorm(config.dim), nn.GELU())
        self.outer.extend(Residual(config.dim) for _ in range(config.depth))

    def forward(self, x: Tensor, normalizer: Normalizer, edges: Edges | None = None) -> tuple[Tensor, Spot]:
        """Features (B, D) of raw readings (B, S, 2), and the spot they belong to; without `edges` it runs dense."""
        light, spot, nodes = self._look(x, normalizer)
        along = self.finder.table(spot.node) if edges is None else edges.index[self.finder.edge]
        taps = None if edges is None else edges.type[self.finder.edge]
        size = nodes.size(0), x.size(0)
        features = self.inner(self.conv(nodes, along, edge_type=taps, size=size))
        if self.moments:
            features = torch.cat([features, self.moments(light, spot)], 1)
        return self.outer(features), spot

    @torch.no_grad()
    def fit(self, x: Tensor, normalizer: Normalizer) -> Spot:
        """Take the scale of the moments from raw readings (E, S, 2); gives their spots."""
        light, spot, _ = self._look(x, normalizer)
        if self.moments:
            self.moments.fit(self.moments.raw(light, spot))
        return spot

    def find(self, x: Tensor, normalizer: Normalizer) -> Spot:
        """The spot of raw readings (B, S, 2)."""
        return self._look(x, normalizer)[1]

    def _look(self, x: Tensor, normalizer: Normalizer) -> tuple[dict[str, Tensor], Spot, Tensor]:
        """npho >= 0 (B, N) of each face, the spot, and the node features (B * N, 2) of its face."""
        npho_valid, time_valid = normalizer.validity(x)
        npho = torch.where(npho_valid, x[..., 0], 0).clamp(min=0)
        light = {
            name: values.unflatten(0, (-1, self.faces.sizes[name])) for name, values in self.faces.split(npho).items()
        }
        face = self.finder.face
        time, timed = (
            self.faces.take(values, face).unflatten(0, (-1, self.faces.sizes[face]))
            for values in (x[..., 1], time_valid)
        )
        time = torch.where(timed, time, 0)
        bright = light[face]
        spot = self.finder(bright, time, timed)
        share = bright / bright.sum(1, keepdim=True).clamp(min=1)
        delay = torch.where(timed, (time - spot.time.unsqueeze(1)) / normalizer.time_scale, 0)
        nodes = torch.stack([(share.clamp(min=1e-12)).sqrt() * self.scale, delay.clamp(-3, 3)], -1)
        return light, spot, nodes.flatten(0, 1)
