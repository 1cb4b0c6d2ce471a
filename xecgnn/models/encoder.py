"""From the normalised readings of each face to one token per face."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from xecgnn.models.config import ModelConfig
from xecgnn.models.encoder_graph import EncoderGraph
from xecgnn.nn.face_encoder import GRID, Edges, HexEncoder, LatticeEncoder
from xecgnn.nn.pooling import GridPool, LightWeights, MeanPool

__all__ = ["Encoder", "Inputs"]

Nodes = dict[str, Tensor]  # by node type


class Inputs(NamedTuple):
    """Events as the layers see them."""

    nodes: Nodes  # (B * N, 2) normalised readings of the first levels, zero at hidden nodes
    visible: Nodes  # (B * N, 1) of all levels, 0 or 1; empty if nothing is hidden
    edges: Edges


class Encoder(nn.Module):
    """Face encoders and pooling; a lattice token is a 4 x 4 grid of D / 16 channels, row-major and channels last.

    Args:
        spec: node types and tokens.
        config: sizes.
    """

    def __init__(self, spec: EncoderGraph, config: ModelConfig) -> None:
        super().__init__()
        dim, lattices = config.encoder_dim, spec.lattices
        self.tokens = spec.tokens
        width = dim // (2 * GRID**2)
        self.lattice = LatticeEncoder(spec.nodes, lattices, width, config.depths, config.drop_path_rate)
        sizes = spec.hex_taps, config.hex_dim, config.hex_depth
        self.hex = HexEncoder(spec.nodes, spec.hexes, *sizes, config.drop_path_rate)
        self.pools, self.light_levels = nn.ModuleDict(), nn.ModuleDict()
        for first, *_, last in (levels for levels in spec.tokens.values() if levels[0] in lattices):
            self.pools[first] = GridPool(spec.shapes[last], config.token_pooling, (GRID, GRID))
            # The light at the nodes of a last level: the average over its part of the first level.
            self.light_levels[first] = GridPool(lattices[first], "average", spec.shapes[last])
        self.pools.update({node: MeanPool(spec.nodes[node]) for node in spec.hexes})
        self.light_weights = nn.ModuleDict()
        if config.token_pooling == "light":
            self.light_weights.update({"lattice": LightWeights(), "hex": LightWeights()})
        self.hex_projection = nn.Sequential(nn.LayerNorm(config.hex_dim, eps=1e-6), nn.Linear(config.hex_dim, dim))

    def forward(self, inputs: Inputs) -> Tensor:
        """Tokens (B, T, D)."""
        features: Nodes = {}  # [B*N, C] of the last levels
        for encoder in (self.lattice, self.hex):
            nodes = {node: inputs.nodes[node] for node in encoder.inputs}
            features |= encoder(nodes, inputs.edges, inputs.visible)
        return torch.stack([self._token(levels, features, inputs) for levels in self.tokens.values()], 1)

    def _token(self, levels: tuple[str, ...], features: Nodes, inputs: Inputs) -> Tensor:
        """(B, D) of the node types from a first level to its last."""
        first, last = levels[0], levels[-1]
        pool, visible, weights = self.pools[first], inputs.visible.get(last), None
        is_lattice = first in self.light_levels
        if self.light_weights:
            light = inputs.nodes[first][:, :1]
            if is_lattice:
                light = self.light_levels[first](light, inputs.visible.get(first)).view(-1, 1)
            weights = self.light_weights["lattice" if is_lattice else "hex"](light, pool.num_nodes, visible)
        pooled = pool(features[last], visible, weights)  # [B, 4, 4, C] or [B, C]
        return pooled.flatten(1) if is_lattice else self.hex_projection(pooled)
