"""Stacks of `HeteroConv` layers: one set of weights for all faces of a kind."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.nn import HeteroConv
from torch_geometric.utils import scatter

from xecgnn.names import DOWN, HEX, STEM, WINDOW, EdgeType
from xecgnn.nn.block import Block, Resample
from xecgnn.nn.hex_conv import HexConv
from xecgnn.nn.lattice_conv import LatticeConv
from xecgnn.nn.topology import Table

__all__ = ["DOWN_KERNEL", "GRID", "STEM_KERNEL", "WINDOW_KERNEL", "Edges", "FaceEncoder", "HexEncoder"]
__all__ += ["LatticeEncoder", "level_name"]

Nodes = dict[str, Tensor]  # by node type

STEM_KERNEL, DOWN_KERNEL = 4, 2  # sides; the stem has stride 1 and padding 1, the downsampling stride 2
WINDOW_KERNEL = 7  # side of the depthwise window
GRID = 4  # a lattice token is a GRID x GRID map


def level_name(node: str, level: int) -> str:
    """Node type of a deeper level: inner -> inner_1, and outer_0 -> outer_1."""
    return f"{node.removesuffix('_0')}_{level}"


@dataclass
class Edges:
    """What the layers act along, by edge type: tables of one event, or the edges of all events of a batch."""

    index: Mapping[EdgeType, Table | Tensor]  # edge_index (2, E) is a tensor
    type: Mapping[EdgeType, Tensor] = field(default_factory=dict)  # (E,) tap; none beside tables
    attr: Mapping[EdgeType, Tensor] = field(default_factory=dict)  # (E, A); none beside tables

    @classmethod
    def of(cls, graph: HeteroData) -> Edges:
        """The edges that are in a graph."""
        columns = "edge_index", "edge_type", "edge_attr"
        return cls(*({e: store[name] for e, store in graph.edge_items() if name in store} for name in columns))

    def pool_visible(self, edge: EdgeType, visible: Tensor, num_target: int) -> Tensor:
        """Visibility (num_target, 1) of the targets from the sources': 1 where any source is visible."""
        edges = self.index[edge]
        if isinstance(edges, Table):
            return edges.pool_visible(visible)
        return scatter(visible[edges[0]], edges[1], 0, num_target, "max")


class FaceEncoder(nn.Module):
    """Layers in order, each with one set of weights for all the edge types that it acts along.

    Args:
        num_nodes: nodes of an event, by node type.
    """

    def __init__(self, num_nodes: Mapping[str, int]) -> None:
        super().__init__()
        self.num_nodes = num_nodes
        self.layers = nn.ModuleList()

    def add_layer(self, layer: nn.Module, edge_types: Iterable[EdgeType]) -> None:
        """Appends a layer that acts along these edges."""
        with warnings.catch_warnings():  # a level that only feeds the next one is what we want
            warnings.filterwarnings("ignore", message="There exist node types")
            self.layers.append(HeteroConv(dict.fromkeys(edge_types, layer)))

    def forward(self, x: Nodes, edges: Edges, visible: Nodes) -> Nodes:
        """Features (B * N, C) of the first level -> features of the last level.

        Args:
            x: features of each node type of the first level.
            edges: those that the layers act along, and others.
            visible: (B * N, 1) of 0 and 1 for the node types of all levels; hidden nodes influence nothing. Empty: all
                are visible.
        """
        arguments = {"edges_dict": edges.index, "edge_type_dict": edges.type, "num_nodes_dict": self.num_nodes}
        for layer in self.layers:
            x = layer(x, **arguments, visible_dict=visible)
        return x


class LatticeEncoder(FaceEncoder):
    """ConvNeXt V2: stem 4 x 4 -> blocks -> downsampling 2 x 2 to twice the width -> blocks.

    Args:
        num_nodes: nodes of an event, by node type.
        lattices: node types of the first level.
        width: channels of the first stage.
        depths: blocks of the two stages.
        drop_path: drop-path probability of the last block, growing linearly from 0 at the first.
    """

    def __init__(
        self,
        num_nodes: Mapping[str, int],
        lattices: Iterable[str],
        width: int,
        depths: tuple[int, int],
        drop_path: float = 0.0,
    ) -> None:
        super().__init__(num_nodes)
        self.inputs = tuple(lattices)
        first, second = ([level_name(node, level) for node in self.inputs] for level in (1, 2))
        rates = torch.linspace(0, drop_path, sum(depths)).tolist()
        stem = ((node, STEM, level) for node, level in zip(self.inputs, first, strict=True))
        down = ((node, DOWN, level) for node, level in zip(first, second, strict=True))
        self.add_layer(Resample(2, width, STEM_KERNEL, norm_first=False), stem)
        self._add_blocks(first, width, rates[: depths[0]])
        self.add_layer(Resample(width, 2 * width, DOWN_KERNEL, norm_first=True), down)
        self._add_blocks(second, 2 * width, rates[depths[0] :])

    def _add_blocks(self, nodes: list[str], dim: int, rates: list[float]) -> None:
        for p in rates:
            block = Block(LatticeConv(dim, dim, WINDOW_KERNEL, groups=dim), dim, p)
            self.add_layer(block, ((node, WINDOW, node) for node in nodes))


class HexEncoder(FaceEncoder):
    """HexNeXt: Linear -> LayerNorm -> GELU at each node, then blocks whose mixer is graph attention.

    Args:
        num_nodes: nodes of an event, by node type.
        faces: node types.
        taps: of the edges.
        dim: channels.
        depth: blocks.
        drop_path: drop-path probability of the last block, growing linearly from 0 at the first.
    """

    def __init__(
        self,
        num_nodes: Mapping[str, int],
        faces: Iterable[str],
        taps: int,
        dim: int,
        depth: int,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__(num_nodes)
        self.inputs = tuple(faces)
        self.stem = nn.Sequential(nn.Linear(2, dim), nn.LayerNorm(dim, eps=1e-6), nn.GELU())
        for p in torch.linspace(0, drop_path, depth).tolist():
            self.add_layer(Block(HexConv(dim, taps), dim, p), ((node, HEX, node) for node in self.inputs))

    def forward(self, x: Nodes, edges: Edges, visible: Nodes) -> Nodes:
        nodes = {name: self.stem(values) for name, values in x.items()}
        if visible:
            nodes = {name: values * visible[name] for name, values in nodes.items()}
        return super().forward(nodes, edges, visible)
