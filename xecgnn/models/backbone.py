"""What all networks share: raw readings, or the graph of an event, -> tokens of the faces that know of each other."""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.nn.module_dict import ModuleDict

from xecgnn.data.batch import Readings
from xecgnn.models.config import ModelConfig
from xecgnn.models.encoder import Encoder, Inputs
from xecgnn.models.encoder_graph import EncoderGraph
from xecgnn.models.fusion import FusionTransformer
from xecgnn.names import SPREAD, EdgeType
from xecgnn.nn.config import NormalizationConfig
from xecgnn.nn.face_encoder import Edges
from xecgnn.nn.faces import Faces
from xecgnn.nn.normalizer import Normalizer
from xecgnn.nn.spread import Spread

__all__ = ["Backbone", "Batch"]

Batch: TypeAlias = Readings | HeteroData


class Backbone(nn.Module):
    """Normalisation -> face encoders -> Transformer.

    Readings run dense, over `tables`, or with `execution: graph` as the batch of graphs that `spec` makes of them;
    a graph passes messages over its own edges.

    Attributes:
        tables: the edges in their dense form, `spec.dense(spec.template())`.

    Args:
        spec: the graph of an event.
        config: sizes.
        normalization: constants of the readings; they become part of the network.
    """

    def __init__(self, spec: EncoderGraph, config: ModelConfig, normalization: NormalizationConfig) -> None:
        super().__init__()
        self.spec, self.execution = spec, config.execution
        self.faces, self.normalizer, self.spread = Faces(spec.detector), Normalizer(normalization), Spread()
        self.encoder = Encoder(spec, config)
        self.fusion = FusionTransformer(config, spec.token_centers)
        self.tables = ModuleDict(spec.dense(spec.template()))

    def forward(self, batch: Batch, visible: Tensor | None = None) -> Tensor:
        """Fused tokens (B, T, D); arguments as of `inputs`."""
        return self.fused(self.inputs(batch, visible))

    def fused(self, inputs: Inputs) -> Tensor:
        """Fused tokens (B, T, D) of what `inputs` gives."""
        return self.fusion(self.encoder(inputs))

    def inputs(self, batch: Batch, visible: Tensor | None = None) -> Inputs:
        """Normalised readings of all faces with the edges to use.

        Args:
            batch: raw readings, or a batch of graphs as from `spec.batch`.
            visible: (B, S) bool by sensor id, False = hidden from the network (masked); None: nothing is hidden.

        Raises:
            ValueError: another number of sensors, or a graph that lacks a relation.
        """
        x, edges = self._opened(batch)
        npho_valid, time_valid = self.normalizer.validity(x)
        if visible is not None:
            npho_valid, time_valid = npho_valid & visible, time_valid & visible
        raw = x, npho_valid, time_valid
        values, nodes = self.faces.split(self.normalizer(*raw)), {}
        shown = {} if visible is None else self.faces.split(visible.to(x.dtype).unsqueeze(-1))
        for (source, _, target), topology in self.spec.relations.items():
            if shown and source != target:
                number = shown[source].size(0) // topology.num_source * topology.num_target
                shown[target] = edges.pool_visible((source, _, target), shown[source], number)
        for node, face in self.spec.inputs.items():
            nodes[node] = values[face] if node == face else self._spread(raw, face, node, edges)
            if shown:
                nodes[node] = torch.where(shown[node] > 0, nodes[node], 0)
        return Inputs(nodes, shown, edges)

    def readings(self, batch: Batch) -> Tensor:
        """Raw readings (B, S, 2) by sensor id."""
        return batch.x if isinstance(batch, Readings) else self.faces.join(batch.x_dict)

    def opened(self, batch: Batch) -> Batch:
        """The batch as it is executed: readings, or the graphs of them."""
        return self.spec.batch(batch) if isinstance(batch, Readings) and self.execution == "graph" else batch

    def _opened(self, batch: Batch) -> tuple[Tensor, Edges]:
        batch = self.opened(batch)
        if not isinstance(batch, Readings):  # HeteroConv skips what has no edges without a word
            missing = [edge for edge in self.spec.relations if edge not in batch.edge_types]
            if missing:
                raise ValueError(f"the graph has no edges {missing[0]}; `backbone.spec.batch` makes one that has")
        x, sensors = self.readings(batch), self.spec.detector.num_sensors
        if not torch.compiler.is_compiling() and x.shape[1:] != (sensors, 2):
            raise ValueError(f"expected readings (events, {sensors}, 2), found {tuple(x.shape)}")
        return x, Edges(dict(self.tables.items())) if isinstance(batch, Readings) else Edges.of(batch)

    def _spread(self, raw: tuple[Tensor, Tensor, Tensor], face: str, node: str, edges: Edges) -> Tensor:
        """Normalised readings (B * N, 2) of a lattice that the sensors of a face are spread over."""
        columns = [self.faces.take(values, face) for values in raw]
        edge: EdgeType = face, SPREAD, node
        size = columns[0].size(0), raw[0].size(0) * self.spec.nodes[node]
        spread = self.spread((columns[0], columns[1], columns[2]), edges.index[edge], edges.attr.get(edge), size)
        return self.normalizer(*spread)
