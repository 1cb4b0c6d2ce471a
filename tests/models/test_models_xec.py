from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from xecgnn.data import Readings
from xecgnn.models import ModelConfig, XECModel
from xecgnn.nn import NormalizationConfig
from xecgnn.nn.spot import Spot

BATCH = 3


class Scaled(nn.Module):
    """A task as the model sees it."""

    num_outputs = 2

    def decode(self, raw: Tensor) -> dict[str, Tensor]:
        return {"angle": raw * 2, "angle_sigma": raw.exp()}

    def from_spot(self, raw: Tensor, spot: Spot) -> Tensor:
        return raw + spot.uvw[:, :2]


def build(detector, **settings) -> XECModel:
    torch.manual_seed(0)
    config = ModelConfig(**{"encoder_dim": 64, "hex_dim": 16, "num_heads": 4} | settings)
    model = XECModel(detector, config, NormalizationConfig(), nn.ModuleDict({"angle": Scaled()}))
    with torch.no_grad():
        for parameter in model.backbone.encoder.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))  # the zeros of GRN and of biases hide nothing
    return model.eval()


def readings(detector, batch=BATCH, dtype=torch.float32) -> Readings:
    """Raw readings with a tenth of dead sensors."""
    torch.manual_seed(1)
    x = torch.rand(batch, detector.num_sensors, 2, dtype=dtype) * torch.tensor([3000.0, 2e-7], dtype=dtype)
    x[torch.rand(x.shape[:2]) < 0.1] = 1e10
    return Readings(x)


@pytest.mark.parametrize("mode", ["finegrid", "split"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)], ids=["f32", "f64"])
def test_message_passing_equals_dense(mini, mode, dtype, tolerance):
    model = build(mini, outer_mode=mode).to(dtype)
    x = readings(mini, dtype=dtype)
    dense, messages = model.raw_outputs(x)["angle"], model.raw_outputs(model.backbone.spec.batch(x))["angle"]
    assert dense.std(0).min() > 1e-3
    assert (dense - messages).abs().max() < tolerance


def test_message_passing_equals_dense_on_meg2(meg2):
    model = build(meg2, encoder_dim=32).double()
    x = readings(meg2, 1, torch.float64)
    difference = model(x)["angle"] - model(model.backbone.spec.batch(x))["angle"]
    assert difference.abs().max() < 1e-10


def test_event_alone_equals_event_in_a_batch(mini):
    model, x = build(mini).double(), readings(mini, dtype=torch.float64)
    together = model(x)["angle"]
    for event in range(BATCH):
        alone = Readings(x.x[event : event + 1])
        assert torch.allclose(model(alone)["angle"][0], together[event], atol=1e-12)


def test_forward_decodes_into_physical_units(mini):
    model, x = build(mini), readings(mini)
    raw, out = model.raw_outputs(x)["angle"], model(x)
    assert torch.equal(out["angle"], raw * 2)
    assert torch.equal(out["angle_sigma"], raw.exp())


def test_reads_a_batch_of_events(mini, mini_events):
    model, batch = build(mini), Readings.of(mini_events[:5])
    out = model(batch)["angle"]
    assert out.shape == (5, 2)
    for other in (Readings(batch.x), batch.to("cpu")):
        assert torch.equal(out, model(other)["angle"])


def test_an_edge_to_the_spot_less_is_the_window_without_this_sensor(mini):
    model, batch = build(mini).double(), readings(mini, dtype=torch.float64)
    edge = model.spot.finder.edge
    graph = model.backbone.spec.batch(batch)
    whole, number = model(graph)["angle"], graph[edge].edge_index.size(1) // 2
    keep = torch.arange(graph[edge].edge_index.size(1)) != number
    event, tap = int(graph[edge].edge_index[1, number]), int(graph[edge].edge_type[number])
    graph[edge].edge_index, graph[edge].edge_type = graph[edge].edge_index[:, keep], graph[edge].edge_type[keep]
    less = model(graph)["angle"]
    assert (less - whole).abs().amax(1).gt(1e-6).tolist() == [i == event for i in range(BATCH)]

    def without(table):
        present = table.present.clone()
        present[event, 0, tap] = False
        return replace(table, present=present)

    table = model.spot.finder.table
    model.spot.finder.table = lambda node: without(table(node))
    assert torch.allclose(model(batch)["angle"], less, atol=1e-10)


def test_seeds_have_no_spot(mini):
    model = build(mini, spot={"window": 0})
    assert model.spot is None
    assert model(readings(mini))["angle"].shape == (BATCH, 2)


@pytest.mark.parametrize("mode", ["finegrid", "split"])
def test_tokens(mini, mode):
    backbone = build(mini, outer_mode=mode).backbone
    names = ["inner", "us", "ds", "outer"] + ["outer_dense"] * (mode == "split") + ["top", "bottom"]
    assert list(backbone.spec.tokens) == names
    assert backbone(readings(mini)).shape == (BATCH, len(names), 64)
    assert backbone.spec.token_centers.shape == (len(names), 3)


@pytest.mark.parametrize("position", ["learnable", "sinusoidal", "geometric"])
def test_every_parameter_gets_a_finite_gradient_with_a_dead_face(mini, position):
    model = build(mini, position_embedding=position, drop_path_rate=0.1).train()
    x = readings(mini)
    x.x[:, mini.faces["top"].sensor_ids] = 1e10
    x.x[:, mini.faces["us"].sensor_ids] = float("nan")
    model(x)["angle"].square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any() or name.endswith("self_attn.in_proj_bias"), name


@pytest.mark.parametrize("pooling", ["light", "average", "bilinear"])
@pytest.mark.parametrize("mode", ["finegrid", "split"])
def test_hidden_sensors_influence_nothing(mini, mode, pooling):
    model = build(mini, outer_mode=mode, token_pooling=pooling).double()
    x = readings(mini, dtype=torch.float64).x
    visible = torch.rand(x.shape[:2]) < 0.4
    visible[:, mini.faces["bottom"].sensor_ids] = False  # a face that is hidden as a whole
    backbone = model.backbone
    tokens = backbone(Readings(x), visible)
    assert not torch.allclose(tokens, backbone(Readings(x)), atol=1e-3)
    changed = torch.where(visible.unsqueeze(-1), x, x + 1e6)
    assert torch.equal(backbone(Readings(changed), visible), tokens)
    unreadable = torch.where(visible.unsqueeze(-1), x, torch.nan)
    assert torch.equal(backbone(Readings(unreadable), visible), tokens)
    assert torch.allclose(backbone(backbone.spec.batch(Readings(x)), visible), tokens, atol=1e-10)
    everything = torch.ones_like(visible)
    shown = backbone(Readings(x), everything)
    assert torch.allclose(shown, backbone(Readings(x)), atol=1e-6)  # the matrices of pools are float32


def test_masked_face_is_the_face_on_its_visible_subgraph(mini):
    """All layers of a face on the graph without hidden nodes = the dense execution with a mask."""
    backbone = build(mini).double().backbone
    encoder, relations = backbone.encoder["lattice"].stack, backbone.spec.relations
    visible = torch.zeros(12, 8)
    visible[:5, :4] = 1  # a corner: hidden nodes remain at every level
    visible = visible.view(-1, 1).double()
    values = torch.full((1, mini.num_sensors, 2), 1e10, dtype=torch.float64)
    values[0, mini.faces["inner"].sensor_ids] = torch.rand(96, 2, dtype=torch.float64) * torch.tensor([3000.0, 1e-7])
    mask = torch.ones(1, mini.num_sensors, dtype=torch.bool)
    mask[0, mini.faces["inner"].sensor_ids] = visible.flatten() > 0
    inputs = backbone.inputs(Readings(values), mask)
    levels = {node: inputs.visible[node] for node in ("inner", "inner_1", "inner_2")}
    features = encoder({node: inputs.nodes[node] for node in backbone.spec.lattices}, inputs.edges, inputs.visible)
    shown = {node: levels[node].flatten() > 0 for node in levels}
    assert not shown["inner_2"].all()

    x = inputs.nodes["inner"][shown["inner"]]
    for layer in encoder.layers:
        ((edge, conv),) = [(edge, conv) for edge, conv in layer.convs.items() if edge[0].startswith("inner")]
        source, _, target = edge
        edges, taps = relations[edge].edge_index, relations[edge].edge_type
        keep = shown[source][edges[0]] & shown[target][edges[1]]
        number = [shown[node].cumsum(0) - 1 for node in (source, target)]
        edges = torch.stack([number[0][edges[0, keep]], number[1][edges[1, keep]]])
        if source == target:
            x = conv(x, edges, len(x), taps[keep])
        else:
            x = conv((x, None), edges, (len(x), int(shown[target].sum())), taps[keep])
    assert torch.allclose(features["inner_2"][shown["inner_2"]], x, atol=1e-10)
    assert not features["inner_2"][~shown["inner_2"]].any()


def test_shared_layers_count_once(meg2):
    """Faces of a kind share one set of weights, so the number of parameters is that of one stack."""
    model = build(meg2, encoder_dim=1024, hex_dim=96, num_heads=8)
    sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    sizes |= {name: sum(p.numel() for p in part.parameters()) for name, part in model.backbone.named_children()}
    assert {name: size for name, size in sizes.items() if size} == {
        "backbone": 25_822_344, "encoder": 621_704, "fusion": 25_200_640, "heads": 1_639_682, "spot": 903_168
    }  # fmt: skip
    assert repr(model) == "XECModel(meg2, 6 tokens of 1024, angle, 28.4 M parameters)"


def test_autocast(mini):
    model, x = build(mini), readings(mini)
    with torch.autocast("cpu", torch.bfloat16):
        out = model.raw_outputs(x)["angle"]
    assert (out.float() - model.raw_outputs(x)["angle"]).abs().max() < 0.1


def test_wrong_input_is_named(mini):
    with pytest.raises(ValueError, match=r"expected readings \(events, 212, 2\), found \(3, 100, 2\)"):
        build(mini)(Readings(torch.zeros(3, 100, 2)))
    with pytest.raises(ValueError, match="no task"):
        XECModel(mini, ModelConfig(), NormalizationConfig(), nn.ModuleDict())
    with pytest.raises(ValueError, match="encoder_dim 96 is not a multiple of num_heads 5"):
        ModelConfig(encoder_dim=96, num_heads=5)
