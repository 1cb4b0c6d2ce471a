"""The graph that the encoder runs on: the sensors, and what the layouts of the faces add."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from xecgnn.data.batch import Readings
from xecgnn.detector import Detector
from xecgnn.models.config import ModelConfig
from xecgnn.models.encoder import LAYOUTS
from xecgnn.models.graph import GraphSpec
from xecgnn.names import HEX, SPOT, SPREAD, EdgeType, is_valid
from xecgnn.nn.spot import SpotFinder
from xecgnn.nn.topology import EventTable, Shape, Topology

__all__ = ["EncoderGraph"]


class EncoderGraph(GraphSpec):
    """Relations `spread`, `stem`, `window`, `down` of lattices, `hex` of hexagonal faces, those of further layouts.

    Attributes:
        layouts: layout -> node types of the first levels that it reads.
        inputs: node type of each first level -> its face; a face in the mode `split` has two.
        tokens: token name -> node types from its first level to its last, in token order.
        shapes: rows and columns of the lattices among the node types.
        spot: finds the sensors that the relation `spot` joins to the node `spot`, other ones in each event; or None.

    Args:
        detector: faces and sensors.
        config: the layouts of faces that are read in another one than their own, and settings of the layouts.

    Raises:
        ValueError: a face or a layout that there is not, or that do not fit.
    """

    def __init__(self, detector: Detector, config: ModelConfig) -> None:
        super().__init__(detector)
        self.layouts: dict[str, list[str]] = {}
        self.inputs: dict[str, str] = {}
        self.tokens: dict[str, tuple[str, ...]] = {}
        self.shapes: dict[str, Shape] = {}
        self.spot = SpotFinder(detector, config.spot.window) if config.spot.window else None
        if self.spot:
            self.nodes[SPOT] = 1
        for name in config.layouts.keys() - detector.faces.keys():
            raise ValueError(f"model.layouts: no face {name!r}; faces of {detector.name}: {', '.join(detector.faces)}")
        for name, face in detector.faces.items():
            layout = config.layouts.get(name, face.layout)
            for token, levels in LAYOUTS[layout].extend(self, face, config).items():
                self.layouts.setdefault(layout, []).append(levels[0])
                self.inputs[levels[0]], self.tokens[token] = name, levels

    def event_tables(self, readings: Readings) -> dict[EdgeType, EventTable]:
        """The sensors around the spot."""
        if self.spot is None:
            return {}
        npho = readings.x[:, self.detector.faces[self.spot.face].sensor_ids, 0]
        light = torch.where(is_valid(npho), npho, 0).clamp(min=0)
        return {self.spot.edge: self.spot.to(npho.device).table(self.spot.node(light))}

    @property
    def lattices(self) -> dict[str, Shape]:
        """Rows and columns of the lattices of the first level."""
        return {node: self.shapes[node] for node in self.layouts.get("lattice", [])}

    @property
    def hexes(self) -> list[str]:
        """Hexagonal faces."""
        return self.layouts.get("hex", [])

    @property
    def hex_taps(self) -> int:
        """Largest number of neighbours on a hexagonal face, itself included."""
        return max((self.relations[node, HEX, node].num_taps for node in self.hexes), default=1)

    @property
    def token_centers(self) -> NDArray[np.float64]:
        """(T, 3) mean position of the sensors behind each token, cm."""
        centers = []
        for node, face in self.inputs.items():
            sensors = self.detector.faces[face].sensor_ids
            if node != face:
                sensors = sensors[self.relations[face, SPREAD, node].edge_index[0].unique().numpy()]
            centers.append(self.detector.position[sensors].mean(0))
        return np.stack(centers)

    def add_windows(self, node: str, relation: str, shape: Shape, kernel: int) -> None:
        """Neighbourhoods of kernel x kernel nodes inside a lattice."""
        self.shapes[node] = shape
        self.add(node, relation, node, Topology.windows(shape, (kernel, kernel), padding=kernel // 2))
