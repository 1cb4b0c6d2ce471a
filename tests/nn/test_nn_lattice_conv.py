from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from xecgnn.nn import LatticeConv, LatticeTopology

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
BATCH = 2
# in, out, kernel, stride, padding, groups: stem, depthwise window, downsampling, grouped
LAYERS = [(2, 8, 4, 1, 1, 1), (8, 8, 7, 1, 3, 8), (8, 16, 2, 2, 0, 1), (8, 12, 3, 1, 1, 4)]


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("layer", LAYERS, ids=["stem", "depthwise", "downsample", "grouped"])
def test_message_passing_and_dense_equal_conv2d(layer, dtype):
    inside, outside, kernel, stride, padding, groups = layer
    topology = LatticeTopology((11, 8), (kernel, kernel), stride, padding)
    reference = nn.Conv2d(inside, outside, kernel, stride, padding, groups=groups).to(dtype)
    conv = LatticeConv(inside, outside, kernel, groups).to(dtype)
    conv.load_state_dict(reference.state_dict())
    image = torch.randn(BATCH, inside, 11, 8, dtype=dtype)
    flat = image.permute(0, 2, 3, 1).reshape(-1, inside)

    expected = reference(image)
    assert expected.shape[2:] == topology.target_shape
    expected = expected.permute(0, 2, 3, 1).reshape(-1, outside)
    size = (BATCH * topology.num_source, BATCH * topology.num_target)
    edges, taps = topology.edge_index(BATCH), topology.edge_type(BATCH)
    shuffled = torch.randperm(taps.numel())
    for out in (
        conv(flat, topology),
        conv(flat, edges, taps, size),
        conv(flat, edges[:, shuffled], taps[shuffled], size),
    ):
        assert (out - expected).abs().max() < TOLERANCE[dtype]


def test_gradients_agree():
    topology = LatticeTopology((6, 5), (4, 4), padding=1)
    conv = LatticeConv(2, 4, 4).double()
    x = torch.randn(BATCH * 30, 2, dtype=torch.float64, requires_grad=True)
    size = (BATCH * topology.num_source, BATCH * topology.num_target)
    inputs = [x, conv.weight, conv.bias]
    dense = torch.autograd.grad(conv(x, topology).sin().sum(), inputs)
    messages = torch.autograd.grad(
        conv(x, topology.edge_index(BATCH), topology.edge_type(BATCH), size).sin().sum(), inputs
    )
    for a, b in zip(dense, messages, strict=True):
        assert torch.allclose(a, b, atol=1e-10)


def test_window_of_unit_lattice_is_the_detectors_neighbourhood(mini):
    face = mini.faces["inner"]
    edge_index, tap = LatticeTopology(face.shape, (3, 3), padding=1).event_edges()
    ours = set(zip(*edge_index.tolist(), tap.tolist(), strict=True))
    theirs = set(zip(*face.edge_index.tolist(), face.edge_type.tolist(), strict=True))
    assert ours == theirs


def test_pooled_node_is_visible_where_any_input_is():
    topology = LatticeTopology((6, 5), (4, 4), padding=1)
    visible = (torch.rand(BATCH * 30, 1, dtype=torch.float64) < 0.05).double()
    window = F.conv2d(visible.view(BATCH, 1, 6, 5), torch.ones(1, 1, 4, 4, dtype=torch.float64), padding=1)
    assert torch.equal(topology.pool_visible(visible), (window.reshape(-1, 1) > 0).double())


def test_errors_name_what_was_found():
    with pytest.raises(ValueError, match=r"\(2, 2\).*\(4, 4\)"):
        LatticeTopology((2, 2), (4, 4))
    with pytest.raises(ValueError, match=r"\(3, 3\).*\(7, 7\)"):
        LatticeConv(1, 1, 7)(torch.zeros(9, 1), LatticeTopology((3, 3), (3, 3), padding=1))


def test_repr():
    assert repr(LatticeConv(8, 8, 7, groups=8)) == "LatticeConv(8, 8, kernel=(7, 7), groups=8)"
    assert repr(LatticeTopology((93, 44), (4, 4), padding=1)) == (
        "LatticeTopology((93, 44) -> (92, 43), kernel (4, 4))"
    )
