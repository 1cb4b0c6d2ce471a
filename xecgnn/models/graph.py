"""Each event as a heterogeneous graph: node types, relations with their edges, and the edges as static gathers."""

from __future__ import annotations

from copyreg import __newobj__  # type: ignore[attr-defined]
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import Batch, HeteroData, storage
from torch_geometric.utils import scatter

from xecgnn.data.batch import Readings
from xecgnn.data.events import Events
from xecgnn.detector import Detector
from xecgnn.names import SEAM, EdgeType
from xecgnn.nn.topology import EventTable, Table, Topology

__all__ = ["GraphSpec", "build_batch", "sensor_graph"]


class GraphSpec:
    """What every event of a detector is as a graph: the faces are node types, their nodes the sensors.

    Attributes:
        nodes: nodes of an event, by node type.
        relations: edge type -> edges of one event.

    Args:
        detector: its faces; further node types and the relations come by `add`.
    """

    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        self.nodes = {name: len(face) for name, face in detector.faces.items()}
        self.relations: dict[EdgeType, Topology] = {}

    def add(self, source: str, relation: str, target: str, topology: Topology) -> None:
        """Adds a relation, and its target as a node type where that is new.

        Raises:
            ValueError: the source or the target has another number of nodes.
        """
        for node, size in ((source, topology.num_source), (target, topology.num_target)):
            if self.nodes.setdefault(node, size) != size:
                raise ValueError(f"{relation} joins {size} nodes of {node!r}, which has {self.nodes[node]}")
        self.relations[source, relation, target] = topology

    @cached_property
    def positions(self) -> dict[str, Tensor]:
        """Place (N, 3) in cm of the nodes of each type: of the sensors, and else the mean over the nodes behind; NaN of
        nodes that nothing is joined to.
        """
        found = {
            name: torch.as_tensor(self.detector.position[face.sensor_ids], dtype=torch.float32)
            for name, face in self.detector.faces.items()
        }
        for (source, _, target), topology in self.relations.items():
            if target not in found and source in found:
                behind, number = topology.edge_index, topology.num_target
                found[target] = scatter(found[source][behind[0]], behind[1], 0, number, "mean")
        return {node: found.get(node, torch.full((size, 3), torch.nan)) for node, size in self.nodes.items()}

    def template(self) -> HeteroData:
        """One event without readings: `pos` (N, 3) in cm of all nodes, `sensor_id` (N,) of sensors; `edge_index`,
        `edge_type`, `edge_attr` of the relations. A copy, free to be changed.
        """
        graph = HeteroData()
        for node, position in self.positions.items():
            graph[node].pos = position.clone()
            if node in self.detector.faces:
                graph[node].sensor_id = torch.tensor(self.detector.faces[node].sensor_ids)
        for edge, topology in self.relations.items():
            for name, values in _columns(topology).items():
                graph[edge][name] = values.clone()
        return graph

    def batch(self, readings: Readings) -> HeteroData:
        """B events on the device of their readings, as `Batch.from_data_list` would join B templates.

        Returns:
            A batch with what a template has and, for each face, `x` (B * N, 2) raw (npho, relative_time); `y`
            {task: (B, ...)}; `run`, `event` (B,) where known.

        Raises:
            ValueError: readings of another number of sensors.
        """
        if (found := readings.x.size(1)) != self.detector.num_sensors:
            name, wanted = self.detector.name, self.detector.num_sensors
            raise ValueError(f"readings of {found} sensors, detector {name!r} has {wanted}")
        events, device = len(readings), readings.x.device
        batch = _EqualGraphs(events)
        for node, size in self.nodes.items():
            columns = {"pos": self.positions[node].to(device).repeat(events, 1)}
            if node in self.detector.faces:
                ids = torch.as_tensor(self.detector.faces[node].sensor_ids, device=device)
                columns |= {"sensor_id": ids.repeat(events), "x": readings.x.index_select(1, ids).flatten(0, 1)}
            batch.put(node, columns, size)
            store = batch.graph[node]
            store.batch = torch.arange(events, device=device).repeat_interleave(size)
            store.ptr = torch.arange(events + 1, device=device) * size
        for edge, topology in self.relations.items():
            columns, size = _columns(topology.repeat(events, device)), topology.edge_type.numel()
            batch.put(edge, columns, size, self._steps(edge))
        for edge, table in self.event_tables(readings).items():
            index, taps = table.edges(self.nodes[edge[0]])
            sizes = table.present.flatten(1).sum(1).cpu()
            batch.put(edge, {"edge_index": index, "edge_type": taps}, sizes, self._steps(edge))
            behind = batch.graph[edge[0]].pos[index[0]]
            batch.graph[edge[2]].pos = scatter(behind, index[1], 0, events * self.nodes[edge[2]], "mean")
        return batch.finished(readings)

    def event_tables(self, readings: Readings) -> dict[EdgeType, EventTable]:
        """Relations whose edges differ from event to event; a subclass may have some."""
        return {}

    def _steps(self, edge: EdgeType) -> Tensor:
        """From one graph to the next in `edge_index` (2, 1)."""
        return torch.tensor([[self.nodes[edge[0]]], [self.nodes[edge[2]]]])

    def dense(self, graph: HeteroData) -> dict[EdgeType, Table]:
        """The edges of one event as tables, by relation; a relation whose edges are all windows of a lattice slides.

        Raises:
            ValueError: two edges of one target have the same tap.
        """
        stores = {edge: graph[edge] for edge in self.relations}
        return {
            edge: Table(topology.with_edges(s.edge_index, s.edge_type, s.get("edge_attr")))
            for (edge, topology), s in zip(self.relations.items(), stores.values(), strict=True)
        }

    def __repr__(self) -> str:
        edges = sum(topology.edge_type.numel() for topology in self.relations.values())
        return f"GraphSpec({self.detector.name}: {sum(self.nodes.values())} nodes, {edges} edges)"


def sensor_graph(detector: Detector) -> GraphSpec:
    """The sensors alone: `lattice` or `hex` inside each face (tap = direction, self edges included), `seam` between
    faces that touch (tap = number among those of its target).
    """
    spec = GraphSpec(detector)
    for name, face in detector.faces.items():
        edges, taps = torch.as_tensor(face.edge_index), torch.as_tensor(face.edge_type)
        spec.add(name, face.layout, name, Topology(edges, taps, len(face), len(face), int(taps.max()) + 1))
    for (source, target), index in detector.seams().items():
        number = np.array([np.sum(index[1, :i] == index[1, i]) for i in range(index.shape[1])])
        sizes = spec.nodes[source], spec.nodes[target], int(number.max()) + 1
        edges = torch.as_tensor(np.ascontiguousarray(index))
        spec.add(source, SEAM, target, Topology(edges, torch.as_tensor(number), *sizes))
    return spec


def build_batch(detector: Detector, events: Events) -> HeteroData:
    """Events as one PyG batch of their `sensor_graph`, see `GraphSpec.batch`."""
    return sensor_graph(detector).batch(Readings.of(events))


class EventGraphs(Batch, HeteroData, metaclass=type(type(Batch(_base_cls=HeteroData)))):  # type: ignore
    """A PyG batch, as `Batch.from_data_list` makes it, but one that `torch.load` takes (with `weights_only`)."""

    def __reduce__(self) -> Any:
        return __newobj__, (EventGraphs,), self.__dict__.copy()


# torch.load takes only known classes, and PyG names but a few of its own.
torch.serialization.add_safe_globals([EventGraphs, storage.BaseStorage, storage.NodeStorage, storage.EdgeStorage])


class _EqualGraphs:
    """Fills a PyG batch of graphs that all have the same edges, without a loop over them.

    PyG has no public way to say where the graphs of a batch begin, but to join them one by one: hence the three names
    with an underscore, which are what `Batch.from_data_list` sets.
    """

    def __init__(self, number: int) -> None:
        self.graph: Any = EventGraphs(_base_cls=EventGraphs)
        self.starts = torch.arange(number + 1)
        self.slices: dict[Any, Any] = {}
        self.steps: dict[Any, Any] = {}

    def put(self, key: Any, columns: dict[str, Tensor], size: int | Tensor, steps: Tensor | None = None) -> None:
        """Columns of all graphs, `size` rows of each or (B,) sizes; `steps` (2, 1) between graphs in `edge_index`."""
        for name, values in columns.items():
            self.graph[key][name] = values
        offsets = None if steps is None else self.starts[:-1].view(-1, 1, 1) * steps
        slices = self.starts * size if isinstance(size, int) else F.pad(size.cumsum(0), (1, 0))
        self.slices[key] = dict.fromkeys(columns, slices)
        self.steps[key] = {name: offsets if name == "edge_index" else None for name in columns}

    def finished(self, readings: Readings) -> HeteroData:
        self.graph.y = dict(readings.y)
        self.slices["y"], self.steps["y"] = dict.fromkeys(readings.y, self.starts), dict.fromkeys(readings.y)
        for name, values in readings.identifiers.items():
            self.graph[name], self.slices[name], self.steps[name] = values, self.starts, None
        self.graph._num_graphs = len(self.starts) - 1
        self.graph._slice_dict, self.graph._inc_dict = self.slices, self.steps
        return self.graph


def _columns(topology: Topology) -> dict[str, Tensor]:
    columns = {"edge_index": topology.edge_index, "edge_type": topology.edge_type}
    return columns if topology.edge_attr is None else columns | {"edge_attr": topology.edge_attr}
