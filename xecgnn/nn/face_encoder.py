"""Stacks of `HeteroConv` layers: one set of weights for all faces of a kind."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.nn import HeteroConv
from torch_geometric.utils import scatter

from xecgnn.names import EdgeType
from xecgnn.nn.topology import Table

__all__ = ["DOWN_KERNEL", "GRID", "STEM_KERNEL", "WINDOW_KERNEL", "Edges", "FaceEncoder", "level_name"]

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
