"""Stacks of `HeteroConv` layers: one set of weights for all faces of a kind."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.nn import HeteroConv
from torch_geometric.nn.module_dict import ModuleDict

from xecgnn.names import HEX, LATTICE, EdgeType
from xecgnn.nn.block import Block, Resample
from xecgnn.nn.hex_conv import HexConv
from xecgnn.nn.lattice_conv import LatticeConv
from xecgnn.nn.topology import HexTopology, LatticeTopology, Topology, layer_arguments

__all__ = ["FaceEncoder", "HexEncoder", "LatticeEncoder", "level_name"]

Nodes = dict[str, Tensor]  # by node type

STEM, DOWNSAMPLE = 4, 2  # kernel sizes; the stem has stride 1 and padding 1
WINDOW = 7  # side of the depthwise window
GRID = 4  # a lattice token is a GRID x GRID map


def level_name(node: str, level: int) -> str:
    """Node type of a deeper level: inner -> inner_1, and outer_0 -> outer_1."""
    return f"{node.removesuffix('_0')}_{level}"


class FaceEncoder(nn.Module):
    """Runs `layers` over the faces; each layer shares its weights among them.

    Subclasses add the layers in order. In the dense execution faces of one layout go through together, the events of
    one after those of the other: fewer and larger operations.

    Args:
        inputs: node types of the first level.
    """

    def __init__(self, inputs: Iterable[str]) -> None:
        super().__init__()
        self.inputs = tuple(inputs)
        self.levels = {node: [node] for node in self.inputs}  # node types of a face, from the first level to the last
        self.layouts: dict[str, tuple[Hashable, ...]] = dict.fromkeys(self.inputs, ())
        self.layers = nn.ModuleList()
        self.topologies = ModuleDict()

    def add_layer(self, layer: nn.Module, topologies: Mapping[EdgeType, Topology]) -> None:
        """Appends a layer that acts along these edges."""
        with warnings.catch_warnings():  # a level that only feeds the next one is what we want
            warnings.filterwarnings("ignore", message="There exist node types")
            self.layers.append(HeteroConv(dict.fromkeys(topologies, layer)))
        self.topologies.update(topologies)
        for node, levels in self.levels.items():
            for source, _, target in topologies:
                if source == levels[-1]:
                    self.layouts[node] += (topologies[source, _, target].layout,)
                    levels += [target] * (target != source)
                    break

    def forward(self, x: Nodes, visible: Nodes | None = None, message_passing: bool = False) -> tuple[Nodes, Nodes]:
        """Features (B * N, C) of the first level -> features of the last level, and the visibility of all levels.

        Args:
            x: features of each node type of the first level.
            visible: (B * N, 1) of 0 and 1 for each of them; hidden nodes influence nothing. None: all are visible.
            message_passing: run over `edge_index` tensors instead of the dense form; the same numbers, slower.
        """
        topologies = dict(self.topologies.items())
        levels = {node: visible[node] for node in self.inputs} if visible else {}
        for (source, _, target), topology in topologies.items():  # in the order of the layers
            if source in levels and target not in levels:
                levels[target] = topology.pool_visible(levels[source])
        if message_passing:
            return self._run(x, levels, self._message_arguments(x)), levels
        alike: dict[Hashable, list[str]] = {}
        for node, layout in self.layouts.items():
            alike.setdefault(layout or node, []).append(node)
        faces = list(alike.values())
        first = {node for face, *_ in faces for node in self.levels[face]}
        arguments = layer_arguments({edge: t for edge, t in topologies.items() if edge[0] in first})
        x = self._run(self._stacked(x, faces), self._stacked(levels, faces), arguments)
        return self._unstacked(x, faces), levels

    def _run(self, x: Nodes, levels: Nodes, arguments: dict[str, dict[EdgeType, Any]]) -> Nodes:
        for layer in self.layers:
            out = layer(x, **arguments, visible_dict=levels)
            if len(out) != len(x):  # HeteroConv skips what has no edges without a word
                raise RuntimeError(f"{', '.join(x)} went into a layer, only {', '.join(out)} came out")
            x = out
        return x

    def _stacked(self, x: Nodes, alike: list[list[str]]) -> Nodes:
        """Nodes of faces that are alike, one face after the other, under the node type of the first."""
        columns = [nodes for faces in alike for nodes in zip(*(self.levels[face] for face in faces), strict=True)]
        return {n: torch.cat([x[n], *(x[m] for m in more)]) if more else x[n] for n, *more in columns if n in x}

    def _unstacked(self, x: Nodes, alike: list[list[str]]) -> Nodes:
        """Inverse of `_stacked` for nodes of the last level."""
        parts: Nodes = {}
        for faces in alike:
            last = [self.levels[face][-1] for face in faces]
            parts |= zip(last, x[last[0]].unflatten(0, (len(last), -1)), strict=True)
        return {levels[-1]: parts[levels[-1]] for levels in self.levels.values()}

    def _message_arguments(self, x: dict[str, Tensor]) -> dict[str, dict[EdgeType, Any]]:
        topologies = dict(self.topologies.items())
        (source, _, _), topology = next(iter(topologies.items()))
        return layer_arguments(topologies, x[source].size(0) // topology.num_source, x[source].device)


class LatticeEncoder(FaceEncoder):
    """ConvNeXt V2: stem 4 x 4 -> blocks -> downsampling 2 x 2 to twice the width -> blocks.

    Args:
        shapes: rows and columns of each lattice, by node type.
        width: channels of the first stage.
        depths: blocks of the two stages.
        drop_path: drop-path probability of the last block, growing linearly from 0 at the first.
    """

    def __init__(
        self, shapes: Mapping[str, tuple[int, int]], width: int, depths: tuple[int, int], drop_path: float = 0.0
    ) -> None:
        super().__init__(shapes)
        rates = torch.linspace(0, drop_path, sum(depths)).tolist()
        stem = {node: LatticeTopology(shape, (STEM, STEM), padding=1) for node, shape in shapes.items()}
        down = {n: LatticeTopology(t.target_shape, (DOWNSAMPLE,) * 2, DOWNSAMPLE) for n, t in stem.items()}
        self.out_shapes = {level_name(node, 2): t.target_shape for node, t in down.items()}
        self.add_layer(
            Resample(2, width, STEM, norm_first=False),
            {(node, LATTICE, level_name(node, 1)): t for node, t in stem.items()},
        )
        self._add_blocks(1, width, stem, rates[: depths[0]])
        self.add_layer(
            Resample(width, 2 * width, DOWNSAMPLE, norm_first=True),
            {(level_name(node, 1), LATTICE, level_name(node, 2)): t for node, t in down.items()},
        )
        self._add_blocks(2, 2 * width, down, rates[depths[0] :])

    def _add_blocks(self, level: int, dim: int, before: Mapping[str, LatticeTopology], rates: list[float]) -> None:
        windows: dict[EdgeType, Topology] = {}
        for node, topology in before.items():
            name = level_name(node, level)
            windows[name, LATTICE, name] = LatticeTopology(topology.target_shape, (WINDOW,) * 2, padding=WINDOW // 2)
        for p in rates:
            self.add_layer(Block(LatticeConv(dim, dim, WINDOW, groups=dim), dim, p), windows)


class HexEncoder(FaceEncoder):
    """HexNeXt: Linear -> LayerNorm -> GELU at each node, then blocks whose mixer is graph attention.

    Args:
        neighbors: (N, K) table of each face, see `HexTopology`.
        dim: channels.
        depth: blocks.
        drop_path: drop-path probability of the last block, growing linearly from 0 at the first.
    """

    def __init__(self, neighbors: Mapping[str, np.ndarray], dim: int, depth: int, drop_path: float = 0.0) -> None:
        super().__init__(neighbors)
        self.stem = nn.Sequential(nn.Linear(2, dim), nn.LayerNorm(dim, eps=1e-6), nn.GELU())
        edges: dict[EdgeType, Topology] = {(n, HEX, n): HexTopology(table) for n, table in neighbors.items()}
        taps = max((t.num_taps for t in edges.values()), default=1)
        for p in torch.linspace(0, drop_path, depth).tolist():
            self.add_layer(Block(HexConv(dim, taps), dim, p), edges)

    def forward(self, x: Nodes, visible: Nodes | None = None, message_passing: bool = False) -> tuple[Nodes, Nodes]:
        nodes = {name: self.stem(values) for name, values in x.items()}
        if visible:
            nodes = {name: values * visible[name] for name, values in nodes.items()}
        return super().forward(nodes, visible, message_passing)
