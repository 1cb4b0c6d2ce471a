from __future__ import annotations

import numpy as np
import pytest
import torch

from xecgnn.nn import HexConv, Table, Topology

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
BATCH = 3


@pytest.fixture(scope="module")
def topology(mini):
    return Topology.neighbors(mini.faces["top"].neighbors)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_message_passing_equals_dense(topology, dtype):
    conv = HexConv(8).to(dtype)
    x = torch.randn(BATCH * topology.num_source, 8, dtype=dtype, requires_grad=True)
    batch = topology.repeat(BATCH)
    edges, taps = batch.edge_index, batch.edge_type
    shuffled = torch.randperm(taps.numel())
    dense = conv(x, Table(topology))
    slope = torch.autograd.grad(dense.sin().sum(), [x, *conv.parameters()])
    for order in (slice(None), shuffled):
        out = conv(x, edges[:, order], taps[order])
        assert (out - dense).abs().max() < TOLERANCE[dtype]
        for a, b in zip(torch.autograd.grad(out.sin().sum(), [x, *conv.parameters()]), slope, strict=True):
            assert (a - b).abs().max() < 10 * TOLERANCE[dtype]


def test_edges_are_the_detectors(mini, topology):
    edge_index, tap = topology.edge_index, topology.edge_type
    face = mini.faces["top"]
    ours = set(zip(*edge_index.tolist(), tap.tolist(), strict=True))
    assert ours == set(zip(*face.edge_index.tolist(), face.edge_type.tolist(), strict=True))


def test_directions_differ(topology):
    """A light spot to the left of a node must not look like one to its right."""
    conv = HexConv(4)
    table = Table(topology)
    node = int(np.argmax(table.present.sum(1)))
    neighbors = table.sources.view_as(table.present)[node]
    outputs = []
    for tap in (1, 2):
        x = torch.zeros(topology.num_source, 4)
        x[neighbors[tap]] = 1
        outputs.append(conv(x, table)[node])
    assert not torch.allclose(*outputs, atol=1e-3)


def test_hidden_nodes_get_no_attention(topology):
    """Dense attention with a mask = message passing on the graph without the hidden nodes."""
    conv = HexConv(8).double()
    x = torch.randn(topology.num_source, 8, dtype=torch.float64)
    visible = torch.rand(topology.num_source) < 0.5
    masked = conv(x, Table(topology), visible=visible.double().unsqueeze(1))
    edges, taps = topology.edge_index, topology.edge_type
    keep = visible[edges[0]]
    expected = conv(x, edges[:, keep], taps[keep])
    assert torch.allclose(masked, expected, atol=1e-12)
    assert torch.allclose(masked, conv(x, edges, taps, visible=visible.double().unsqueeze(1)), atol=1e-12)
    nothing = conv(x, Table(topology), visible=torch.zeros(topology.num_source, 1, dtype=torch.float64))
    assert torch.equal(nothing, conv.bias.expand_as(nothing))


def test_heads_must_divide_channels():
    with pytest.raises(ValueError, match=r"10 channels.*4"):
        HexConv(10)


def test_repr():
    assert repr(HexConv(96)) == "HexConv(96, num_taps=7, heads=4)"
