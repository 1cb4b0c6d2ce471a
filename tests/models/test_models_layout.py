"""A layout of a plugin: its own relation in the graph, its encoder, the same numbers dense and by message passing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from scipy.spatial import cKDTree
from torch import nn

from xecgnn.data import Events, Readings
from xecgnn.detector import Detector, Face
from xecgnn.models import Inpainter, InpainterConfig, Layout, ModelConfig, XECModel
from xecgnn.models.encoder import LAYOUTS, Inputs, Nodes
from xecgnn.models.encoder_graph import EncoderGraph
from xecgnn.nn import HexConv, NormalizationConfig, Topology
from xecgnn.tasks import TasksConfig, build_tasks

SMALL = {"encoder_dim": 128, "hex_dim": 8, "num_heads": 4, "depths": (1, 1), "hex_depth": 1, "num_fusion_layers": 1}


class Nearest(Layout):
    """Attention among each sensor and the three nearest ones, then the mean."""

    def __init__(self, nodes: list[str], spec: EncoderGraph, config: ModelConfig) -> None:
        super().__init__(nodes, spec, config)
        self.sizes = {node: spec.nodes[node] for node in nodes}
        self.stem, self.conv = nn.Linear(2, 8), HexConv(8, 4)
        self.last = nn.Linear(8, config.encoder_dim)

    @classmethod
    def extend(cls, spec: EncoderGraph, face: Face, config: ModelConfig) -> dict[str, tuple[str, ...]]:
        position = spec.detector.position[face.sensor_ids]
        spec.add(face.name, "near", face.name, Topology.neighbors(cKDTree(position).query(position, 4)[1]))
        return super().extend(spec, face, config)

    def forward(self, inputs: Inputs) -> Nodes:
        tokens = {}
        for node, size in self.sizes.items():
            edge = node, "near", node
            visible = inputs.visible.get(node)
            x = self.conv(self.stem(inputs.nodes[node]), inputs.edges.index[edge], inputs.edges.type.get(edge), visible)
            tokens[node] = self.last(x.view(-1, size, 8).mean(1))
        return tokens


@pytest.fixture
def layout() -> Iterator[str]:
    LAYOUTS.register("nearest")(Nearest)
    yield "nearest"
    for entries in (LAYOUTS._entries, LAYOUTS._modules):
        del entries["nearest"]


def test_a_layout_of_ones_own(layout: str, mini: Detector, mini_events: Events) -> None:
    torch.manual_seed(0)
    config = ModelConfig.model_validate(SMALL | {"layouts": {"us": layout, "top": layout}})
    model = XECModel(mini, config, NormalizationConfig(), build_tasks(TasksConfig())).double().eval()
    spec = model.backbone.spec
    assert list(model.backbone.encoder) == ["lattice", layout, "hex"]
    assert [edge for edge in spec.relations if edge[1] == "near"] == [("us", "near", "us"), ("top", "near", "top")]
    batch = Readings.of(mini_events[:3])
    batch.x = batch.x.double()
    graph = spec.batch(batch)
    expected = model(batch)["angle"]
    assert torch.allclose(model(graph)["angle"], expected, atol=1e-10)
    store = graph["us", "near", "us"]
    store.edge_index, store.edge_type = store.edge_index[:, 1:], store.edge_type[1:]
    assert not torch.allclose(model(graph)["angle"][0], expected[0], atol=1e-10)
    assert torch.allclose(model(graph)["angle"][1:], expected[1:], atol=1e-10)


@pytest.mark.parametrize(
    ("layouts", "line"),
    [
        ({"lid": "hex"}, "model.layouts: no face 'lid'; faces of mini: inner, us"),
        ({"us": "hexx"}, "unknown layout 'hexx'; known: lattice, hex"),
        ({"us": "hex"}, "face 'us' has no hexagonal neighbours"),
        ({"top": "lattice"}, "face 'top' is no lattice"),
    ],
)
def test_what_does_not_fit_is_said(mini: Detector, layouts: dict[str, str], line: str) -> None:
    with pytest.raises(ValueError, match=f"^{line}"):
        EncoderGraph(mini, ModelConfig(layouts=layouts))


def test_sensors_of_another_layout_are_not_reconstructed(layout: str, mini: Detector) -> None:
    config = ModelConfig.model_validate(SMALL | {"layouts": {"us": layout}})
    with pytest.raises(ValueError, match=r"^sensors of the layout nearest cannot be reconstructed$"):
        Inpainter(mini, config, NormalizationConfig(), InpainterConfig())
