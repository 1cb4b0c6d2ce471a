from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from xecgnn.nn import LatticeConv, Table, Topology
from xecgnn.nn.face_encoder import Edges

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
BATCH = 2
# in, out, kernel, stride, padding, groups: stem, depthwise window, downsampling, grouped
LAYERS = [(2, 8, 4, 1, 1, 1), (8, 8, 7, 1, 3, 8), (8, 16, 2, 2, 0, 1), (8, 12, 3, 1, 1, 4)]


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("layer", LAYERS, ids=["stem", "depthwise", "downsample", "grouped"])
def test_message_passing_and_dense_equal_conv2d(layer, dtype):
    inside, outside, kernel, stride, padding, groups = layer
    topology = Topology.windows((11, 8), (kernel, kernel), stride, padding)
    reference = nn.Conv2d(inside, outside, kernel, stride, padding, groups=groups).to(dtype)
    conv = LatticeConv(inside, outside, kernel, groups).to(dtype)
    conv.load_state_dict(reference.state_dict())
    image = torch.randn(BATCH, inside, 11, 8, dtype=dtype)
    flat = image.permute(0, 2, 3, 1).reshape(-1, inside)

    expected = reference(image)
    assert expected.shape[2:] == topology.window.target_shape
    expected = expected.permute(0, 2, 3, 1).reshape(-1, outside)
    size = (BATCH * topology.num_source, BATCH * topology.num_target)
    batch, gathered = topology.repeat(BATCH), Table(dataclasses.replace(topology, window=None))
    edges, taps = batch.edge_index, batch.edge_type
    shuffled = torch.randperm(taps.numel())
    for out in (
        conv(flat, Table(topology)),
        conv(flat, gathered),
        conv(flat, edges, taps, size),
        conv(flat, edges[:, shuffled], taps[shuffled], size),
    ):
        assert (out - expected).abs().max() < TOLERANCE[dtype]


def test_gradients_agree():
    topology = Topology.windows((6, 5), (4, 4), padding=1)
    conv = LatticeConv(2, 4, 4).double()
    x = torch.randn(BATCH * 30, 2, dtype=torch.float64, requires_grad=True)
    size = (BATCH * topology.num_source, BATCH * topology.num_target)
    inputs = [x, conv.weight, conv.bias]
    dense = torch.autograd.grad(conv(x, Table(topology)).sin().sum(), inputs)
    batch = topology.repeat(BATCH)
    messages = torch.autograd.grad(conv(x, batch.edge_index, batch.edge_type, size).sin().sum(), inputs)
    for a, b in zip(dense, messages, strict=True):
        assert torch.allclose(a, b, atol=1e-10)


def test_window_of_unit_lattice_is_the_detectors_neighbourhood(mini):
    face = mini.faces["inner"]
    topology = Topology.windows(face.shape, (3, 3), padding=1)
    edge_index, tap = topology.edge_index, topology.edge_type
    ours = set(zip(*edge_index.tolist(), tap.tolist(), strict=True))
    theirs = set(zip(*face.edge_index.tolist(), face.edge_type.tolist(), strict=True))
    assert ours == theirs


def test_pooled_node_is_visible_where_any_input_is():
    topology = Topology.windows((6, 5), (4, 4), padding=1)
    visible = (torch.rand(BATCH * 30, 1, dtype=torch.float64) < 0.05).double()
    window = F.conv2d(visible.view(BATCH, 1, 6, 5), torch.ones(1, 1, 4, 4, dtype=torch.float64), padding=1)
    expected = (window.reshape(-1, 1) > 0).double()
    assert torch.equal(Table(topology).pool_visible(visible), expected)
    assert torch.equal(Table(dataclasses.replace(topology, window=None)).pool_visible(visible), expected)
    edges = Edges({("a", "stem", "b"): topology.repeat(BATCH).edge_index})
    assert torch.equal(edges.pool_visible(("a", "stem", "b"), visible, len(expected)), expected)


def test_errors_name_what_was_found():
    with pytest.raises(ValueError, match=r"\(2, 2\).*\(4, 4\)"):
        Topology.windows((2, 2), (4, 4))
    with pytest.raises(ValueError, match=r"9 taps.*\(7, 7\)"):
        LatticeConv(1, 1, 7)(torch.zeros(9, 1), Table(Topology.windows((3, 3), (3, 3), padding=1)))
    twice = Topology(torch.tensor([[0, 1], [0, 0]]), torch.tensor([1, 1]), 2, 1, 3)
    with pytest.raises(ValueError, match="two edges of one target have the same tap"):
        Table(twice)


def test_repr():
    assert repr(LatticeConv(8, 8, 7, groups=8)) == "LatticeConv(8, 8, kernel=(7, 7), groups=8)"
    topology = Topology.windows((93, 44), (4, 4), padding=1)
    assert repr(topology) == "Topology(4092 -> 3956 nodes, 62220 edges)"
    assert repr(Table(topology)) == "Table(4092 -> 3956 nodes, kernel (4, 4))"
