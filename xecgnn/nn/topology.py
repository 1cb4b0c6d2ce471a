"""Static connections between the nodes of two levels, the same for every event.

One `Topology` has two forms with the same meaning: tables for the dense execution (conv2d, gathers), and an
`edge_index` with taps for message passing. Sizes: B events, N nodes and E edges of an event, K taps, C channels.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xecgnn.names import EdgeType

__all__ = ["HexTopology", "LatticeTopology", "SpreadTopology", "Topology", "layer_arguments"]

Shape = tuple[int, int]  # rows, columns


class Topology(nn.Module):
    """Edges from `num_source` to `num_target` nodes of one event, each with a tap below `num_taps`.

    A module, so that its tables follow the model to a device; they are rebuilt from the detector, not saved.
    """

    num_source: int
    num_target: int
    num_taps: int
    layout: Hashable  # the same for topologies with the same edges

    def event_edges(self) -> tuple[Tensor, Tensor]:
        """Edges of one event: `edge_index` (2, E), row 0 source and row 1 target, and the tap of each edge (E,)."""
        raise NotImplementedError

    def pool_visible(self, visible: Tensor) -> Tensor:
        """Visibility of the targets, (B * num_target, 1), from the sources': 1 where any source is visible."""
        raise NotImplementedError

    def edge_index(self, batch_size: int = 1, device: torch.device | str | None = None) -> Tensor:
        """`edge_index` (2, B * E) of a batch of events, numbered event after event."""
        edges, _ = self.event_edges()
        event = torch.arange(batch_size, device=device).view(-1, 1, 1)
        offset = event * torch.tensor([[self.num_source], [self.num_target]], device=device)  # [B, 2, 1]
        return (edges.to(device) + offset).transpose(0, 1).flatten(1)

    def edge_type(self, batch_size: int = 1, device: torch.device | str | None = None) -> Tensor:
        """Taps (B * E,) in the order of `edge_index`."""
        return self.event_edges()[1].to(device).repeat(batch_size)


class LatticeTopology(Topology):
    """Windows of a convolution: target (r, c) is joined to source (r s - p + i, c s - p + j) by tap i k + j.

    Args:
        source_shape: rows and columns of the source lattice.
        kernel: window size k (rows, columns).
        stride: step s of the window.
        padding: rows and columns p beyond the border; a tap there is absent (it reads zero).

    Raises:
        ValueError: if the window is larger than the padded lattice.
    """

    def __init__(self, source_shape: Shape, kernel: Shape, stride: int = 1, padding: int = 0) -> None:
        super().__init__()
        rows, cols = ((n + 2 * padding - k) // stride + 1 for n, k in zip(source_shape, kernel, strict=True))
        if rows < 1 or cols < 1:
            raise ValueError(f"a lattice of {source_shape} with padding {padding} is smaller than its kernel {kernel}")
        self.source_shape, self.target_shape = source_shape, (rows, cols)
        self.kernel, self.stride, self.padding = kernel, stride, padding
        self.num_source, self.num_target = source_shape[0] * source_shape[1], rows * cols
        self.num_taps = kernel[0] * kernel[1]
        self.layout = (source_shape, kernel, stride, padding)

    def event_edges(self) -> tuple[Tensor, Tensor]:
        (rows, cols), (height, width) = self.target_shape, self.source_shape
        r, c, i, j = torch.meshgrid(*(torch.arange(n) for n in (rows, cols, *self.kernel)), indexing="ij")
        y, x = r * self.stride - self.padding + i, c * self.stride - self.padding + j
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        edge_index = torch.stack([y * width + x, r * cols + c])[:, inside]
        return edge_index, (i * self.kernel[1] + j)[inside]

    def pool_visible(self, visible: Tensor) -> Tensor:
        grid = visible.view(-1, 1, *self.source_shape)
        return F.max_pool2d(grid, self.kernel, self.stride, self.padding).reshape(-1, 1)

    def extra_repr(self) -> str:
        return f"{self.source_shape} -> {self.target_shape}, kernel {self.kernel}"


class HexTopology(Topology):
    """Neighbours on a hexagonal face.

    Args:
        neighbors: (N, K) integers, the neighbour of a node at each tap, -1 where there is none; tap 0 is itself.
    """

    neighbors: Tensor  # (N * K,) absent taps point to node 0 and are masked
    present: Tensor  # (N, K) bool

    def __init__(self, neighbors: np.ndarray) -> None:
        super().__init__()
        table = torch.as_tensor(np.asarray(neighbors), dtype=torch.long)
        self.num_source = self.num_target = table.size(0)
        self.num_taps = table.size(1)
        self.layout = (tuple(table.shape), table.numpy().tobytes())
        self.register_buffer("neighbors", table.clamp(min=0).flatten(), persistent=False)
        self.register_buffer("present", table >= 0, persistent=False)

    def gather(self, x: Tensor) -> Tensor:
        """Features of the neighbours: (B * N, C) -> (B, N, K, C). Rows of absent taps are meaningless."""
        nodes = x.view(-1, self.num_source, x.size(-1))
        return nodes.index_select(1, self.neighbors).unflatten(1, (self.num_target, self.num_taps))

    def event_edges(self) -> tuple[Tensor, Tensor]:
        target, tap = self.present.nonzero(as_tuple=True)
        return torch.stack([self.neighbors.view_as(self.present)[target, tap], target]), tap

    def pool_visible(self, visible: Tensor) -> Tensor:
        return visible

    def extra_repr(self) -> str:
        return f"{self.num_source} nodes, {self.num_taps} taps"


class SpreadTopology(Topology):
    """Sensors that cover rectangles of a fine grid, joined to the cells of a target lattice that they overlap.

    Args:
        source_cells: (N, 4) rectangles [row0, row1, col0, col1) of the sensors on the fine grid.
        target_cells: (M, 4) rectangles of the target cells, row-major.
        target_shape: rows and columns of the target lattice, M cells.

    Raises:
        ValueError: if a target cell overlaps no sensor.
    """

    sources: Tensor  # (M * K,) sensor of each target cell and slot
    share: Tensor  # (M, K) fraction of the sensor's area inside the cell; 0 fills the table up
    overlap: Tensor  # (M, K) number of fine cells shared

    def __init__(self, source_cells: np.ndarray, target_cells: np.ndarray, target_shape: Shape) -> None:
        super().__init__()
        self.target_shape = target_shape
        self.num_source, self.num_target = len(source_cells), len(target_cells)
        a, b = np.asarray(source_cells)[None], np.asarray(target_cells)[:, None]
        rows = np.minimum(a[..., 1], b[..., 1]) - np.maximum(a[..., 0], b[..., 0])
        cols = np.minimum(a[..., 3], b[..., 3]) - np.maximum(a[..., 2], b[..., 2])
        overlap = rows.clip(min=0) * cols.clip(min=0)  # [M, N]
        if empty := int((overlap.sum(1) == 0).sum()):
            raise ValueError(f"{empty} of {self.num_target} cells of a {target_shape} lattice overlap no sensor")
        self.num_taps = int((overlap > 0).sum(1).max())
        sources = np.argsort(-overlap, axis=1, kind="stable")[:, : self.num_taps]  # overlapping sensors first
        overlap = np.take_along_axis(overlap, sources, 1)
        area = (a[0, :, 1] - a[0, :, 0]) * (a[0, :, 3] - a[0, :, 2])
        self.register_buffer("sources", torch.as_tensor(sources).flatten(), persistent=False)
        self.register_buffer("share", torch.as_tensor(overlap / area[sources], dtype=torch.float32), persistent=False)
        self.register_buffer("overlap", torch.as_tensor(overlap, dtype=torch.float32), persistent=False)

    def gather(self, x: Tensor) -> Tensor:
        """Values of the sensors behind each cell: (B * N, C) -> (B, M, K, C)."""
        nodes = x.view(-1, self.num_source, x.size(-1))
        return nodes.index_select(1, self.sources).unflatten(1, (self.num_target, self.num_taps))

    def event_edges(self) -> tuple[Tensor, Tensor]:
        target, slot = self.overlap.nonzero(as_tuple=True)
        return torch.stack([self.sources.view_as(self.overlap)[target, slot], target]), slot

    def edge_weights(self, batch_size: int = 1) -> Tensor:
        """(B * E, 2): share and overlap of each edge, in the order of `edge_index`."""
        return torch.stack([self.share, self.overlap], -1)[self.overlap > 0].repeat(batch_size, 1)

    def pool_visible(self, visible: Tensor) -> Tensor:
        return (self.gather(visible).squeeze(-1) * (self.overlap > 0)).amax(-1).view(-1, 1)

    def extra_repr(self) -> str:
        return f"{self.num_source} sensors -> {self.target_shape}"


def layer_arguments(
    topologies: Mapping[EdgeType, Topology], batch_size: int | None = None, device: torch.device | None = None
) -> dict[str, dict[EdgeType, Any]]:
    """Keyword dictionaries of `HeteroConv` for the layers of this package.

    Without `batch_size`, the topologies themselves (dense execution). With it, tensors for message passing: edges and
    taps, the event of each node inside a level, and the numbers of nodes (source, target) between two levels.
    """
    if batch_size is None:
        return {"edges_dict": dict(topologies)}
    inside = {edge: t for edge, t in topologies.items() if edge[0] == edge[2]}
    between = {edge: t for edge, t in topologies.items() if edge[0] != edge[2]}
    events = torch.arange(batch_size, device=device)
    return {
        "edges_dict": {edge: t.edge_index(batch_size, device) for edge, t in topologies.items()},
        "edge_type_dict": {edge: t.edge_type(batch_size, device) for edge, t in topologies.items()},
        "batch_dict": {edge: events.repeat_interleave(t.num_target) for edge, t in inside.items()},
        "size_dict": {edge: (batch_size * t.num_source, batch_size * t.num_target) for edge, t in between.items()},
    }
