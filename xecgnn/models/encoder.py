"""The backbone up to the tokens: raw readings of each face -> one token per face."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from xecgnn.detector import Detector
from xecgnn.models.config import ModelConfig
from xecgnn.models.grids import face_grids
from xecgnn.nn.config import NormalizationConfig
from xecgnn.nn.face_encoder import GRID, HexEncoder, LatticeEncoder, level_name
from xecgnn.nn.faces import Faces
from xecgnn.nn.normalizer import Normalizer
from xecgnn.nn.pooling import GridPool, LightWeights, MeanPool
from xecgnn.nn.spread import Readings, Spread
from xecgnn.nn.topology import SpreadTopology

__all__ = ["Encoder", "FaceFeatures"]

Nodes = dict[str, Tensor]  # by node type


class FaceFeatures(NamedTuple):
    """What the face encoders found, by node type."""

    features: Nodes  # (B * N, C) of the last levels, zero at hidden nodes
    visible: Nodes  # (B * N, 1) of all levels, 0 or 1; empty if nothing is hidden
    light: Nodes  # (B * N, 1) normalised npho, averaged to the nodes of the last levels


class Encoder(nn.Module):
    """Normalisation, face encoders and pooling: the part that pretraining and regression share.

    Attributes:
        dim: token dimension D; a lattice token is a 4 x 4 grid of D / 16 channels, row-major and channels last.
        node_types: token name -> node type of the last level (`inner` -> `inner_2`, `top` -> `top`), in token order;
            a face in the mode `split` has two tokens.
        token_centers: (T, 3) mean position of the sensors behind each token, cm.
        out_shapes: rows and columns of the lattices among the last levels, by node type.

    Args:
        detector: faces and their sensors.
        config: sizes.
        normalization: scheme and constants of the readings.
    """

    def __init__(self, detector: Detector, config: ModelConfig, normalization: NormalizationConfig) -> None:
        super().__init__()
        self.dim = config.encoder_dim
        self.faces = Faces(detector)
        self.normalizer = Normalizer(normalization)
        self.spread = Spread()
        self.grids = nn.ModuleDict()  # node type of a spread lattice -> SpreadTopology
        self.inputs: dict[str, str] = {}  # node type of the first level -> face
        self.node_types: dict[str, str] = {}
        lattices: dict[str, tuple[int, int]] = {}
        hexes: dict[str, np.ndarray] = {}
        centers: list[np.ndarray] = []
        for name, face in detector.faces.items():
            tokens: Mapping[str, SpreadTopology | None]
            tokens = {name: None} if face.block is None else face_grids(face, config)
            for token, grid in tokens.items():
                sensors = slice(None) if grid is None else grid.event_edges()[0][0].unique().numpy()
                centers.append(detector.position[face.sensor_ids[sensors]].mean(0))
                node = token if grid is None else level_name(token, 0)
                self.inputs[node] = name
                if grid is not None:
                    self.grids[node] = grid
                if face.neighbors is not None:
                    hexes[node] = face.neighbors
                else:
                    lattices[node] = (face.shape[0], face.shape[1]) if grid is None else grid.target_shape
                self.node_types[token] = level_name(token, 2) if node in lattices else node
        self.token_centers = np.stack(centers)

        self.lattice = LatticeEncoder(lattices, self.dim // (2 * GRID**2), config.depths, config.drop_path_rate)
        self.hex = HexEncoder(hexes, config.hex_dim, config.hex_depth, config.drop_path_rate)
        self.out_shapes = self.lattice.out_shapes
        cells = (GRID, GRID)
        self.pools = nn.ModuleDict({n: GridPool(s, config.token_pooling, cells) for n, s in self.out_shapes.items()})
        self.pools.update({node: MeanPool(len(table)) for node, table in hexes.items()})
        # The light at the nodes of a last level: the average over its part of the first level.
        firsts = dict(zip(self.node_types.values(), self.inputs, strict=True))
        self.light_levels = nn.ModuleDict(
            {n: GridPool(lattices[firsts[n]], "average", shape) for n, shape in self.out_shapes.items()}
        )
        self.light_weights = nn.ModuleDict()
        if config.token_pooling == "light":
            self.light_weights.update({"lattice": LightWeights(), "hex": LightWeights()})
        self.first_levels = firsts
        self.hex_projection = nn.Sequential(nn.LayerNorm(config.hex_dim, eps=1e-6), nn.Linear(config.hex_dim, self.dim))

    def forward(self, x: Tensor, visible: Tensor | None = None, message_passing: bool = False) -> Tensor:
        """Raw readings (B, S, 2) -> tokens (B, T, D); arguments as in `features`."""
        return self.tokens(self.features(x, visible, message_passing))

    def features(self, x: Tensor, visible: Tensor | None = None, message_passing: bool = False) -> FaceFeatures:
        """Feature maps of the last levels (see `node_types`).

        Args:
            x: raw (npho, relative_time), (B, S, 2) by sensor id.
            visible: (B, S) bool, False = hidden from the network (masked); None: nothing is hidden.
            message_passing: run over `edge_index` tensors; the same numbers, slower.

        Raises:
            ValueError: another number of sensors.
        """
        nodes, seen = self.normalized(x, visible, message_passing)
        out: Nodes = {}
        for encoder in (self.lattice, self.hex):
            faces = {node: nodes[node] for node in encoder.inputs}
            features, levels = encoder(faces, seen, message_passing)
            out |= features
            seen = seen | levels
        light = {node: self._light(node, nodes, seen) for node in self.first_levels}
        return FaceFeatures(out, seen, light)

    def tokens(self, maps: FaceFeatures) -> Tensor:
        """Feature maps -> tokens (B, T, D)."""
        tokens = []
        for node in self.node_types.values():
            pool, visible, weights = self.pools[node], maps.visible.get(node), None
            if self.light_weights:
                kind = "lattice" if node in self.out_shapes else "hex"
                weights = self.light_weights[kind](maps.light[node], pool.num_nodes, visible)
            pooled = pool(maps.features[node], visible, weights)  # [B, 4, 4, C] or [B, C]
            tokens.append(pooled.flatten(1) if node in self.out_shapes else self.hex_projection(pooled))
        return torch.stack(tokens, 1)

    def normalized(
        self, x: Tensor, visible: Tensor | None = None, message_passing: bool = False
    ) -> tuple[Nodes, Nodes]:
        """What the face encoders see: inputs (B * N, 2) and visibility (B * N, 1) by node type of the first level."""
        sensors = self.faces.place.numel()
        if not torch.compiler.is_compiling() and x.shape[1:] != (sensors, 2):
            raise ValueError(f"expected readings (events, {sensors}, 2), found {tuple(x.shape)}")
        npho_valid, time_valid = self.normalizer.validity(x)
        if visible is not None:
            npho_valid, time_valid = npho_valid & visible, time_valid & visible
        values = self.normalizer(x, npho_valid, time_valid)
        nodes, seen = {}, {}
        for node, face in self.inputs.items():
            shown = None if visible is None else self.faces.take(visible, face).to(x.dtype).unsqueeze(1)
            if node in self.grids:
                grid = cast(SpreadTopology, self.grids[node])
                raw, npho_ok, time_ok = (self.faces.take(v, face) for v in (x, npho_valid, time_valid))
                inputs = self.normalizer(*self._spread(grid, (raw, npho_ok, time_ok), message_passing))
                shown = None if shown is None else grid.pool_visible(shown)
            else:
                inputs = self.faces.take(values, face)
            nodes[node] = inputs if shown is None else torch.where(shown > 0, inputs, 0)
            if shown is not None:
                seen[node] = shown
        return nodes, seen

    def _light(self, node: str, nodes: Nodes, seen: Nodes) -> Tensor:
        """Normalised npho (B * N, 1) at the nodes of a last level."""
        first = self.first_levels[node]
        light = nodes[first][:, :1]
        if node not in self.light_levels:
            return light
        return self.light_levels[node](light, seen.get(first)).view(-1, 1)

    def _spread(self, grid: SpreadTopology, readings: Readings, message_passing: bool) -> Readings:
        if not message_passing:
            return self.spread(readings, grid)
        events = readings[0].size(0) // grid.num_source
        size = (events * grid.num_source, events * grid.num_target)
        edges = grid.edge_index(events, readings[0].device)
        return self.spread(readings, edges, edge_weight=grid.edge_weights(events), size=size)
