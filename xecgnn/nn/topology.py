"""Static connections between the nodes of two levels, the same for every event, and their dense form.

Sizes: B events, N and M nodes of an event at the source and the target, E edges of an event, K taps, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["EventTable", "Shape", "Table", "Topology", "Window"]

Shape = tuple[int, int]  # rows, columns


class Window(NamedTuple):
    """The edges of a convolution: target (r, c) is joined to source (r s - p + i, c s - p + j) by tap i k + j.

    A window that reaches `padding` p beyond the border lacks its taps there (they read zero).
    """

    source_shape: Shape
    kernel: Shape
    stride: int = 1  # s
    padding: int = 0  # p

    @property
    def target_shape(self) -> Shape:
        rows, cols = (
            (n + 2 * self.padding - k) // self.stride + 1 for n, k in zip(self.source_shape, self.kernel, strict=True)
        )
        return rows, cols


@dataclass(frozen=True, eq=False)
class Topology:
    """Edges from `num_source` to `num_target` nodes, each with a tap below `num_taps`. Tensors are not to be edited.

    Attributes:
        edge_index: (2, E), row 0 the source and row 1 the target.
        edge_type: (E,) tap: which of its neighbours the source is to the target.
        edge_attr: (E, A) weights of the edges where they have some.
        window: the convolution whose edges these are, if they are those of one.
    """

    edge_index: Tensor
    edge_type: Tensor
    num_source: int
    num_target: int
    num_taps: int
    edge_attr: Tensor | None = None
    window: Window | None = None

    @classmethod
    def windows(cls, source_shape: Shape, kernel: Shape, stride: int = 1, padding: int = 0) -> Topology:
        """Edges of a convolution, see `Window`.

        Raises:
            ValueError: the window is larger than the padded lattice.
        """
        window = Window(source_shape, kernel, stride, padding)
        (rows, cols), (height, width) = window.target_shape, source_shape
        if min(rows, cols) < 1:
            raise ValueError(f"a lattice of {source_shape} with padding {padding} is smaller than its kernel {kernel}")
        r, c, i, j = torch.meshgrid(*(torch.arange(n) for n in (rows, cols, *kernel)), indexing="ij")
        y, x = r * stride - padding + i, c * stride - padding + j
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        edges = torch.stack([y * width + x, r * cols + c])[:, inside]
        taps = (i * kernel[1] + j)[inside]
        return cls(edges, taps, height * width, rows * cols, kernel[0] * kernel[1], window=window)

    @classmethod
    def neighbors(cls, table: np.ndarray) -> Topology:
        """Edges of a table (N, K): the neighbour of a node at each tap, -1 where there is none."""
        target, tap = np.nonzero(table >= 0)
        edges = torch.as_tensor(np.stack([table[target, tap], target]))
        return cls(edges, torch.as_tensor(tap), len(table), len(table), table.shape[1])

    @classmethod
    def overlaps(cls, source_cells: np.ndarray, target_cells: np.ndarray) -> Topology:
        """Sensors that cover rectangles of a fine grid, joined to the cells of a lattice that they overlap.

        The tap of an edge numbers the sensors of a cell, the one with the largest overlap first; its weights are the
        fraction of the sensor's area inside the cell, and the number of fine cells shared.

        Args:
            source_cells: (N, 4) rectangles [row0, row1, col0, col1) of the sensors on the fine grid.
            target_cells: (M, 4) rectangles of the target cells, row-major.

        Raises:
            ValueError: a target cell overlaps no sensor.
        """
        a, b = np.asarray(source_cells)[None], np.asarray(target_cells)[:, None]
        rows = np.minimum(a[..., 1], b[..., 1]) - np.maximum(a[..., 0], b[..., 0])
        cols = np.minimum(a[..., 3], b[..., 3]) - np.maximum(a[..., 2], b[..., 2])
        overlap = rows.clip(min=0) * cols.clip(min=0)  # [M, N]
        if empty := int((overlap.sum(1) == 0).sum()):
            raise ValueError(f"{empty} of {len(target_cells)} cells of a lattice overlap no sensor")
        number = (overlap > 0).sum(1)
        order = np.argsort(-overlap, axis=1, kind="stable")  # [M, N] overlapping sensors first
        target, tap = np.nonzero(np.arange(number.max()) < number[:, None])
        source = order[target, tap]
        shared = overlap[target, source]
        area = (a[0, :, 1] - a[0, :, 0]) * (a[0, :, 3] - a[0, :, 2])
        weight = torch.as_tensor(np.stack([shared / area[source], shared], 1), dtype=torch.float32)
        edges, taps = torch.as_tensor(np.stack([source, target])), torch.as_tensor(tap)
        return cls(edges, taps, len(source_cells), len(target_cells), int(number.max()), weight)

    def repeat(self, events: int, device: torch.device | str | None = None) -> Topology:
        """The edges of so many events, numbered event after event."""
        sizes = torch.tensor([[self.num_source], [self.num_target]], device=device)
        offset = torch.arange(events, device=device).view(-1, 1, 1) * sizes  # [B, 2, 1]
        edges = (self.edge_index.to(device) + offset).transpose(0, 1).flatten(1)
        taps = self.edge_type.to(device).repeat(events)
        weights = None if self.edge_attr is None else self.edge_attr.to(device).repeat(events, 1)
        return Topology(edges, taps, events * self.num_source, events * self.num_target, self.num_taps, weights)

    def with_edges(self, edge_index: Tensor, edge_type: Tensor, edge_attr: Tensor | None = None) -> Topology:
        """The same nodes with other edges; still those of a convolution if they are the same in any order."""
        window = self.window
        if window and not torch.equal(self._sources(edge_index, edge_type), self._sources()):
            window = None
        sizes = self.num_source, self.num_target, self.num_taps
        return Topology(edge_index, edge_type, *sizes, edge_attr, window)

    def _sources(self, edge_index: Tensor | None = None, edge_type: Tensor | None = None) -> Tensor:
        """The source at each target and tap (M, K), -1 where there is none; of other edges than its own if given."""
        source, target = self.edge_index if edge_index is None else edge_index
        taps = self.edge_type if edge_type is None else edge_type
        place = target * self.num_taps + taps
        if len(place.unique()) < len(place):
            raise ValueError("two edges of one target have the same tap: they have no dense form")
        sources = source.new_full((self.num_target * self.num_taps,), -1)
        return sources.index_copy(0, place, source).view(self.num_target, self.num_taps)

    def __repr__(self) -> str:
        return f"Topology({self.num_source} -> {self.num_target} nodes, {self.edge_type.numel()} edges)"


class Table(nn.Module):
    """Dense form of the edges of one event: a window that slides over a lattice, or a static gather for each tap.

    A module, so that its tables follow the network to a device; they are rebuilt from the graph, not saved.

    Args:
        topology: edges; no two of a target may have the same tap.
    """

    sources: Tensor  # (M * K,) absent taps point to node 0; there is none beside a window
    present: Tensor  # (M, K) bool
    weight: Tensor | None  # (M, K, A), zero at absent taps

    def __init__(self, topology: Topology) -> None:
        super().__init__()
        self.num_source, self.num_target = topology.num_source, topology.num_target
        self.num_taps, self.window = topology.num_taps, topology.window
        if self.window:
            return
        sources = topology._sources()
        weight = None
        if topology.edge_attr is not None:
            weight = topology.edge_attr.new_zeros(*sources.shape, topology.edge_attr.size(1))
            weight[topology.edge_index[1], topology.edge_type] = topology.edge_attr
        self.register_buffer("sources", sources.clamp(min=0).flatten(), persistent=False)
        self.register_buffer("present", sources >= 0, persistent=False)
        self.register_buffer("weight", weight, persistent=False)

    def gather(self, x: Tensor) -> Tensor:
        """Features of the neighbours: (B * N, C) -> (B, M, K, C). Rows of absent taps are meaningless."""
        nodes = x.view(-1, self.num_source, x.size(-1))
        return nodes.index_select(1, self.sources).unflatten(1, (self.num_target, self.num_taps))

    def pool_visible(self, visible: Tensor) -> Tensor:
        """Visibility of the targets (B * M, 1) from the sources': 1 where any source is visible."""
        if self.window:
            grid = visible.view(-1, 1, *self.window.source_shape)
            return F.max_pool2d(grid, self.window.kernel, self.window.stride, self.window.padding).reshape(-1, 1)
        return (self.gather(visible).squeeze(-1) * self.present).amax(-1).view(-1, 1)

    def extra_repr(self) -> str:
        return f"{self.num_source} -> {self.num_target} nodes, " + (
            f"kernel {self.window.kernel}" if self.window else f"{self.num_taps} taps"
        )


@dataclass(frozen=True, eq=False)
class EventTable:
    """Dense form of edges that differ from event to event, to one target in each.

    Attributes:
        sources: (B, K) node of the source at each tap; absent taps point to node 0.
        present: (B, 1, K) bool.
    """

    sources: Tensor
    present: Tensor
    window: ClassVar[None] = None

    @property
    def num_taps(self) -> int:
        return self.sources.size(1)

    def gather(self, x: Tensor) -> Tensor:
        """Features of the neighbours: (B * N, C) -> (B, 1, K, C). Rows of absent taps are meaningless."""
        nodes = x.unflatten(0, (self.sources.size(0), -1))
        return nodes.gather(1, self.sources.unsqueeze(-1).expand(-1, -1, x.size(-1))).unsqueeze(1)

    def edges(self, num_source: int) -> tuple[Tensor, Tensor]:
        """The same as `edge_index` (2, E) of the batch and tap (E,), event by event."""
        event, tap = self.present.squeeze(1).nonzero(as_tuple=True)
        return torch.stack([self.sources[event, tap] + event * num_source, event]), tap
