"""From the normalised readings of each face to one token per face, by a class for each layout: ours, or of a plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from xecgnn.detector import Face
from xecgnn.models.config import ModelConfig
from xecgnn.nn.face_encoder import Edges, Nodes
from xecgnn.registry import Registry

if TYPE_CHECKING:
    from xecgnn.models.encoder_graph import EncoderGraph

__all__ = ["LAYOUTS", "Encoder", "Inputs", "Layout", "Nodes"]


class Inputs(NamedTuple):
    """Events as the layers see them."""

    nodes: Nodes  # (B * N, 2) normalised readings of the first levels, zero at hidden nodes
    visible: Nodes  # (B * N, 1) of all levels, 0 or 1; empty if nothing is hidden
    edges: Edges


class Layout(nn.Module):
    """Encoder of all faces of a layout, which share its weights. A subclass gives `forward`, and `extend` for edges.

    Args:
        nodes: node types of the first levels that it reads.
        spec: the graph of the network, with all relations.
        config: sizes; a token has `encoder_dim` numbers.
    """

    def __init__(self, nodes: list[str], spec: EncoderGraph, config: ModelConfig) -> None:
        super().__init__()
        self.nodes = nodes

    @classmethod
    def extend(cls, spec: EncoderGraph, face: Face, config: ModelConfig) -> dict[str, tuple[str, ...]]:
        """Adds to the graph, by `spec.add`, what the encoder needs of a face: relations, and node types of its own.

        Returns:
            Token name -> node types from its first level to its last. A first level is the face itself, whose nodes
            are the sensors, or one that they are joined to by a relation `spread`.
        """
        return {face.name: (face.name,)}

    def forward(self, inputs: Inputs) -> Nodes:
        """Tokens (B, D) by node type of the first level."""
        raise NotImplementedError


LAYOUTS: Registry[type[Layout]] = Registry("layout", dict.fromkeys(("lattice", "hex"), "xecgnn.models.layouts"))


class Encoder(nn.ModuleDict):
    """The encoders of the layouts, by name.

    Args:
        spec: node types and tokens.
        config: sizes.
    """

    def __init__(self, spec: EncoderGraph, config: ModelConfig) -> None:
        super().__init__({name: LAYOUTS[name](nodes, spec, config) for name, nodes in spec.layouts.items()})
        self.inputs = tuple(spec.inputs)

    def forward(self, inputs: Inputs) -> Tensor:
        """Tokens (B, T, D)."""
        tokens: Nodes = {}
        for layout in self.values():
            tokens |= layout(inputs)
        return torch.stack([tokens[node] for node in self.inputs], 1)
