from __future__ import annotations

import copy
import dataclasses
import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch_geometric.data import Batch
from torch_geometric.explain import Explainer, GNNExplainer
from torch_geometric.loader import DataLoader
from torch_geometric.nn.module_dict import ModuleDict

from xecgnn.data import Events, Readings
from xecgnn.models import (
    DecoderConfig,
    Inpainter,
    InpainterConfig,
    MaskedAutoencoder,
    ModelConfig,
    XECModel,
    build_batch,
    sensor_graph,
)
from xecgnn.models.encoder_graph import EncoderGraph
from xecgnn.nn import NormalizationConfig
from xecgnn.tasks import TasksConfig, build_tasks

SMALL = {"encoder_dim": 128, "hex_dim": 8, "num_heads": 4, "depths": (1, 1), "hex_depth": 1, "num_fusion_layers": 1}


@pytest.fixture
def events(mini) -> Events:
    rng = np.random.default_rng(0)
    shape = 4, mini.num_sensors
    return Events(
        {
            "npho": rng.random(shape) * 1e3,
            "relative_time": rng.random(shape) * 1e-7,
            "emiAng": rng.random((4, 2)),
            "energyTruth": rng.random(4),
            "n_gamma": rng.integers(0, 5, 4),
            "run": np.full(4, 7),
            "event": np.arange(4),
        }
    )


@pytest.fixture(params=["sensors", "encoder"])
def spec(request, mini):
    return sensor_graph(mini) if request.param == "sensors" else EncoderGraph(mini, ModelConfig())


def network(detector, **settings) -> XECModel:
    torch.manual_seed(0)
    config = ModelConfig(**SMALL | {"outer_mode": "split"} | settings)
    model = XECModel(detector, config, NormalizationConfig(), build_tasks(TasksConfig()))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.double().eval()


def assert_same(a, b) -> None:
    """Graphs with the same node types, edge types and columns."""
    assert (a.node_types, a.edge_types) == (b.node_types, b.edge_types)
    for store, other in zip(a.stores, b.stores, strict=True):
        assert set(store.keys()) == set(other.keys())
        for key, value in store.items():
            if isinstance(value, dict):
                assert value.keys() == other[key].keys()
                assert all(torch.equal(value[name], other[key][name]) for name in value)
            else:
                assert torch.equal(value, other[key]), (store._key, key)


def without(graph, edge, number):
    """A copy of a graph in which one edge is missing."""
    graph = graph.clone()
    keep = torch.arange(graph[edge].edge_index.size(1)) != number
    graph[edge].edge_index = graph[edge].edge_index[:, keep]
    for name in {"edge_type", "edge_attr"} & set(graph[edge].keys()):
        graph[edge][name] = graph[edge][name][keep]
    return graph


def test_it_is_the_batch_that_pyg_would_make_of_its_events(spec, events):
    batch, template = spec.batch(Readings.of(events)), spec.template()
    assert batch.num_graphs == 4
    assert batch.validate()
    singles = batch.to_data_list()
    assert_same(batch, Batch.from_data_list(singles))
    assert_same(batch[2], singles[2])
    for number, single in enumerate(singles):
        for node in spec.detector.faces:
            template[node].x = torch.tensor(
                np.stack([events.npho[number], events.relative_time[number]], -1)[spec.detector.faces[node].sensor_ids]
            )
        template.y = {name: values[number : number + 1] for name, values in batch.y.items()}
        template.run, template.event = batch.run[number : number + 1], batch.event[number : number + 1]
        for edge in spec.event_tables(Readings.of(events)):  # these differ from event to event: a template has none
            assert torch.allclose(single[edge[2]].pos, single[edge[0]].pos[single[edge].edge_index[0]].mean(0))
            template[edge[2]].pos = single[edge[2]].pos
            del single[edge]
        assert_same(single, template)
    assert [graph.event.item() for graph in batch[1:3]] == [1, 2]


def test_nodes_know_their_sensor_and_place(spec, mini, events):
    batch = spec.batch(Readings.of(events))
    for name, face in mini.faces.items():
        np.testing.assert_array_equal(batch[name].x.view(4, -1, 2)[..., 0], events.npho[:, face.sensor_ids])
        assert batch[name].sensor_id.view(4, -1)[3].tolist() == face.sensor_ids.tolist()
        np.testing.assert_allclose(batch[name].pos[: len(face)], mini.position[face.sensor_ids], rtol=1e-5, atol=1e-4)
    for node, size in spec.nodes.items():
        assert batch[node].num_nodes == 4 * size
        assert batch[node].batch.tolist() == [event for event in range(4) for _ in range(size)]
        assert batch[node].pos.isfinite().all()
    if "inner_1" in spec.nodes:
        middle = spec.template()["inner_1"].pos.view(*spec.shapes["inner_1"], 3)[4, 3]
        source = spec.template()["inner"].pos.view(*spec.shapes["inner"], 3)[3:7, 2:6].flatten(0, 1)
        assert torch.allclose(middle, source.mean(0), atol=1e-4)


def test_edges_join_sensors_of_one_event_with_their_tap(mini, events):
    batch = build_batch(mini, events)
    for source, relation, target in batch.edge_types:
        store = batch[source, relation, target]
        row, col = store.edge_index
        assert torch.equal(batch[source].batch[row], batch[target].batch[col])
        if relation == "seam":
            wanted = mini.seams()[source, target]
        else:
            wanted = mini.edge_index(source, relation)
            assert torch.equal(store.edge_type.view(4, -1)[3], torch.as_tensor(mini.edge_type(source, relation)))
        last = store.edge_index.view(2, 4, -1)[:, 3] - torch.tensor([[batch[source].ptr[3]], [batch[target].ptr[3]]])
        np.testing.assert_array_equal(last.numpy(), wanted)
    assert sum(relation == "seam" for _, relation, _ in batch.edge_types) == len(mini.seams()) == 24


def test_it_travels(spec, events, tmp_path):
    batch = spec.batch(Readings.of(events))
    assert_same(pickle.loads(pickle.dumps(batch)), batch)
    torch.save(batch, tmp_path / "batch.pt")
    assert_same(torch.load(tmp_path / "batch.pt", weights_only=False), batch)
    moved = copy.copy(batch).to("meta")
    assert moved["inner"].x.is_meta
    assert moved.y["angle"].is_meta
    assert not batch["inner"].x.is_meta
    assert moved.num_graphs == 4
    restored = pickle.loads(pickle.dumps(spec))
    assert_same(restored.batch(Readings.of(events)), batch)


def test_no_memory_is_shared_with_the_events_or_the_graph(spec, mini, events):
    readings = Readings.of(events)
    batch, before, template = spec.batch(readings), readings.x.clone(), spec.template()
    for graph in (batch, template):
        for store in graph.edge_stores:
            store.edge_index.zero_()
    for name in mini.faces:
        batch[name].x.zero_()
    assert torch.equal(readings.x, before)
    assert all(store.edge_index.any() for store in spec.batch(readings).edge_stores)


def test_wrong_events(mini, events):
    with pytest.raises(ValueError, match="no column 'relative_time'; columns: npho"):
        build_batch(mini, Events({"npho": events.npho}))
    with pytest.raises(ValueError, match="readings of 3 sensors, detector 'mini' has 212"):
        build_batch(mini, Events({"npho": np.zeros((1, 3)), "relative_time": np.zeros((1, 3))}))
    spec = sensor_graph(mini)
    with pytest.raises(ValueError, match=r"hex joins 24 nodes of 'inner', which has 96|joins \d+ nodes of 'inner'"):
        spec.add("inner", "hex", "inner", spec.relations["us", "lattice", "us"])
    assert repr(spec).startswith("GraphSpec(mini: 212 nodes, ")


def test_batches_of_pygs_own_loader_give_the_same_outputs(mini, mini_events):
    model = network(mini)
    readings = Readings(Readings.of(mini_events[:6]).x.double())
    expected = model.raw_outputs(readings)["angle"]
    batch = model.backbone.spec.batch(readings)
    assert torch.allclose(model.raw_outputs(batch)["angle"], expected, atol=1e-10)
    parts = [model.raw_outputs(part)["angle"] for part in DataLoader(batch.to_data_list(), batch_size=4)]
    assert [len(part) for part in parts] == [4, 2]
    assert torch.allclose(torch.cat(parts), expected, atol=1e-10)
    assert torch.allclose(model.raw_outputs(batch.to_data_list()[3])["angle"], expected[3:4], atol=1e-10)


RELATIONS = [
    ("outer", "spread", "outer_0"), ("inner", "stem", "inner_1"), ("outer_0", "stem", "outer_1"),
    ("us_1", "window", "us_1"), ("inner_1", "down", "inner_2"), ("inner_2", "window", "inner_2"), ("top", "hex", "top"),
]  # fmt: skip


@pytest.mark.parametrize("edge", RELATIONS, ids="-".join)
def test_an_edge_less_is_another_answer_and_that_of_the_tables_without_it(mini, mini_events, edge):
    model, readings = network(mini), Readings(Readings.of(mini_events[:2]).x.double())
    spec, before = model.backbone.spec, model.raw_outputs(readings)["angle"]
    number = spec.relations[edge].edge_type.numel() // 2
    single = without(spec.template(), edge, number)
    graphs = [without(graph, edge, number) for graph in spec.batch(readings).to_data_list()]
    found = model.raw_outputs(Batch.from_data_list(graphs))["angle"]
    assert (found - before).abs().max() > 1e-9
    model.backbone.tables = ModuleDict(spec.dense(single)).double()
    assert torch.allclose(model.raw_outputs(readings)["angle"], found, rtol=0, atol=1e-12)


def test_the_order_of_edges_does_not_matter_and_windows_still_slide(mini):
    spec = EncoderGraph(mini, ModelConfig())
    graph = spec.template()
    for store in graph.edge_stores:
        order = torch.randperm(store.edge_index.size(1))
        for name, values in store.items():
            store[name] = values[:, order] if name == "edge_index" else values[order]
    for edge, table in spec.dense(graph).items():
        assert table.window == spec.relations[edge].window
        assert (table.window is None) == (edge[1] in ("hex", "spread"))


class ByType(nn.Module):
    """The network as PyG's explainers call one: by dictionaries of node and edge types."""

    def __init__(self, model: XECModel, graph) -> None:
        super().__init__()
        self.model, self.graph = model, graph

    def forward(self, x_dict, edge_index_dict) -> torch.Tensor:
        graph = copy.copy(self.graph)
        for node, x in x_dict.items():
            graph[node].x = x
        for edge, edge_index in edge_index_dict.items():
            graph[edge].edge_index = edge_index
        return self.model(graph)["angle"]


def test_pygs_explainer_finds_the_sensors_that_matter(mini, mini_events):
    model = network(mini)
    graph = model.backbone.spec.batch(Readings(Readings.of(mini_events[:1]).x.double()))
    config = {"mode": "regression", "task_level": "graph", "return_type": "raw"}
    algorithm = GNNExplainer(epochs=2)
    explainer = Explainer(
        ByType(model, graph), algorithm, explanation_type="model", node_mask_type="attributes", model_config=config
    )
    explanation = explainer(graph.x_dict, graph.edge_index_dict)
    assert set(explanation.node_mask_dict) == set(mini.faces)
    assert all(mask.isfinite().all() for mask in explanation.node_mask_dict.values())
    assert explanation["inner"].node_mask.any()


@pytest.mark.parametrize("kind", ["autoencoder", "inpainter"])
def test_networks_that_reconstruct_run_on_graphs_too(mini, mini_events, kind):
    torch.manual_seed(0)
    readings = Readings(Readings.of(mini_events[:3]).x.double())
    visible = torch.rand(readings.x.shape[:2]) < 0.7
    networks, common = [], (NormalizationConfig(),)
    for execution in ("dense", "graph"):
        torch.manual_seed(1)
        config = ModelConfig(**SMALL, execution=execution)
        if kind == "autoencoder":
            networks.append(MaskedAutoencoder(mini, config, *common, DecoderConfig(decoder_dim=8)))
        else:
            networks.append(Inpainter(mini, config, *common, InpainterConfig(local_dim=8)))
            nn.init.normal_(networks[-1].heads["lattice"][-1].weight)
            nn.init.normal_(networks[-1].heads["hex"][-1].weight)
    dense, graph = (model.double().eval()(readings, visible) for model in networks)
    assert torch.allclose(dense, graph, atol=1e-9)
    assert torch.equal(networks[0](networks[0].backbone.spec.batch(readings), visible), graph)


def test_missing_relations_are_named(mini, mini_events):
    model = network(mini)
    graph = model.backbone.spec.batch(Readings(Readings.of(mini_events[:1]).x.double()))
    del graph["us_1", "window", "us_1"]
    with pytest.raises(ValueError, match=r"no edges \('us_1', 'window', 'us_1'\)"):
        model(graph)
    with pytest.raises(ValueError, match=r"no edges \('inner', 'stem', 'inner_1'\); `backbone.spec.batch` makes one"):
        model(build_batch(mini, mini_events[:1]))


def test_topologies_of_a_graph_are_its_own(mini):
    spec = EncoderGraph(mini, ModelConfig())
    topology = spec.relations["inner", "stem", "inner_1"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        topology.num_source = 3


def test_a_saved_batch_is_loaded_by_torch_as_it_does_by_default(spec, events, tmp_path):
    graph, template, readings = spec.batch(Readings.of(events)), spec.template(), Readings.of(events)
    torch.save([graph, template, graph[1], readings], tmp_path / "saved.pt")
    found, its_template, single, its_readings = torch.load(tmp_path / "saved.pt")
    assert_same(found, graph)
    assert (its_template.node_types, its_template.edge_types) == (template.node_types, template.edge_types)
    assert_same(single, graph[1])
    assert_same(found[1], single)
    assert torch.equal(its_readings.x, readings.x)
    assert its_readings.y.keys() == readings.y.keys()
