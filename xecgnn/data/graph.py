"""Events as one heterogeneous graph: a node type per face, relations between sensors, targets by task.

All events share one topology, so a batch is built from (B, N, 2) arrays and static edges, without a loop over events.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Batch, HeteroData

from xecgnn.data.batch import Readings
from xecgnn.data.events import Events
from xecgnn.detector import Detector
from xecgnn.names import SEAM, EdgeType

__all__ = ["build_batch"]


def build_batch(detector: Detector, events: Events, edges: bool = True) -> HeteroData:
    """B events as one PyG batch of heterogeneous graphs.

    Args:
        detector: Faces and edges.
        events: npho and relative_time (B, num_sensors); truth and identification where present.
        edges: Add the relations: ``lattice`` or ``hex`` inside each face (``edge_type`` = tap, self edges included) and
            ``seam`` between faces that touch. A network that brings its own topology needs none.

    Returns:
        A :class:`torch_geometric.data.Batch` of HeteroData: per face ``x`` (B * N, 2) float32, raw (npho,
        relative_time), ``batch``, ``ptr``; ``y`` = {task: (B, width) float32, n_gamma (B,) int64}; ``run``, ``event``
        (B,) int64.

    Raises:
        ValueError: ``events`` lack a reading or belong to a detector with another number of sensors.
    """
    readings = Readings.of(events)
    if (found := readings.x.size(1)) != detector.num_sensors:
        raise ValueError(f"npho has {found} sensors, detector {detector.name!r} has {detector.num_sensors}")
    features = {name: readings.x[:, torch.as_tensor(face.sensor_ids)] for name, face in detector.faces.items()}
    return assemble_batch(features, readings.y, readings.identifiers, _static_edges(detector) if edges else {})


def assemble_batch(
    features: Mapping[str, Tensor],
    y: Mapping[str, Tensor],
    identifiers: Mapping[str, Tensor],
    edges: Mapping[EdgeType, Mapping[str, Tensor]] | None = None,
) -> HeteroData:
    """Put parts of a batch together as ``Batch.from_data_list`` would.

    Args:
        features: Face -> (B, N, 2) float32.
        y: Task -> (B, ...).
        identifiers: Name -> (B,).
        edges: Relation -> {edge_index (2, num_edges), edge_type (num_edges,)} of a single event.
    """
    num_graphs = len(next(iter(features.values())))
    batch = Batch(_base_cls=HeteroData)
    per_event = torch.arange(num_graphs + 1)
    slices: dict[Any, Any] = {}
    increments: dict[Any, Any] = {}
    for face, x in features.items():
        num_nodes = x.size(1)
        batch[face].x = x.flatten(0, 1)  # [B*N, 2]
        batch[face].batch, batch[face].ptr = _batch_and_ptr(num_graphs, num_nodes)
        slices[face], increments[face] = {"x": per_event * num_nodes}, {"x": None}
    for relation, single in (edges or {}).items():
        sizes = torch.tensor([features[relation[0]].size(1), features[relation[2]].size(1)])
        offsets = per_event[:-1, None, None] * sizes[:, None]  # [B, 2, 1]
        num_edges = single["edge_index"].size(1)
        store = batch[relation]
        store.edge_index = (single["edge_index"] + offsets).transpose(0, 1).flatten(1)  # [2, B*E]
        slices[relation] = dict.fromkeys(single, per_event * num_edges)
        increments[relation] = {name: offsets if name == "edge_index" else None for name in single}
        if "edge_type" in single:
            store.edge_type = single["edge_type"].repeat(num_graphs)
    batch.y = dict(y)
    slices["y"], increments["y"] = dict.fromkeys(y, per_event), dict.fromkeys(y)
    for name, values in identifiers.items():
        batch[name] = values
        slices[name], increments[name] = per_event, None
    batch._num_graphs, batch._slice_dict, batch._inc_dict = num_graphs, slices, increments
    return batch


@lru_cache(maxsize=8)
def _static_edges(detector: Detector) -> dict[EdgeType, dict[str, Tensor]]:
    """Relations of one event."""
    edges: dict[EdgeType, dict[str, Tensor]] = {}
    for name, face in detector.faces.items():
        edges[name, face.layout, name] = {
            "edge_index": torch.as_tensor(detector.edge_index(name, face.layout)),
            "edge_type": torch.as_tensor(detector.edge_type(name, face.layout)),
        }
    for (source, target), index in detector.seams().items():
        edges[source, SEAM, target] = {"edge_index": torch.as_tensor(np.ascontiguousarray(index))}
    return edges


@lru_cache(maxsize=64)
def _batch_and_ptr(num_graphs: int, num_nodes: int) -> tuple[Tensor, Tensor]:
    """Event of each node (B*N,) and first node of each event (B+1,). Shared by batches of one size: 8 bytes a node."""
    return torch.arange(num_graphs).repeat_interleave(num_nodes), torch.arange(num_graphs + 1) * num_nodes
