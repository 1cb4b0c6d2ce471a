from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from xecgnn.nn import GRN, Block, DropPath, HexConv, LatticeConv, Table, Topology

NODES, DIM = 30, 8


def randomised(module: nn.Module) -> nn.Module:
    """Parameters of order one, so that no term of a formula hides behind a zero."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module.double()


@pytest.fixture(params=["lattice", "hex"])
def block(request, mini):
    if request.param == "lattice":
        topology = Topology.windows((6, 5), (7, 7), padding=3)
        return randomised(Block(LatticeConv(DIM, DIM, 7, groups=DIM), DIM)), topology
    return randomised(Block(HexConv(DIM), DIM)), Topology.neighbors(mini.faces["top"].neighbors)


def formula(grn: GRN, x: torch.Tensor, visible: torch.Tensor | None = None) -> torch.Tensor:
    """Of the paper, per event."""
    x = (x if visible is None else x * visible).view(-1, NODES, x.size(-1))
    norm = x.square().sum(1, keepdim=True).sqrt()
    return (grn.weight * (x * norm / (norm.mean(-1, keepdim=True) + 1e-6)) + grn.bias + x).flatten(0, 1)


@pytest.mark.parametrize("masked", [False, True])
def test_grn_is_the_papers_formula_with_the_linear_layer_behind_it(masked: bool):
    grn, linear = randomised(GRN(DIM)), randomised(nn.Linear(DIM, 5))
    x = torch.randn(3 * NODES, DIM, dtype=torch.float64)
    visible = (torch.rand(3 * NODES, 1) < 0.6).double() if masked else None
    assert torch.allclose(grn(x, linear, NODES, visible), linear(formula(grn, x, visible)), atol=1e-12)


class Projected(nn.Module):
    """GRN and the layer behind it, on events of five nodes."""

    def __init__(self) -> None:
        super().__init__()
        self.grn, self.linear = GRN(4), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.grn(x, self.linear, 5)


def test_grn_gradient():
    module = randomised(Projected())
    names = [name for name, _ in module.named_parameters()]
    x = torch.randn(2 * 5, 4, dtype=torch.float64, requires_grad=True)

    def call(x, *parameters):
        return torch.func.functional_call(module, dict(zip(names, parameters, strict=True)), (x,))

    assert torch.autograd.gradcheck(call, (x, *module.parameters()))
    dead = torch.zeros(2 * 5, 4, dtype=torch.float64, requires_grad=True)
    slopes = torch.autograd.grad(module(dead).sum(), [dead, *module.parameters()])
    assert all(slope.isfinite().all() for slope in slopes)


def test_grn_keeps_the_type_of_autocast():
    x = torch.randn(2 * NODES, DIM)
    linear, grn, last = nn.Linear(DIM, DIM), GRN(DIM), nn.Linear(DIM, DIM)
    with torch.autocast("cpu", torch.bfloat16):
        h = linear(x)
        out = grn(h, last, NODES)
    assert out.dtype == torch.bfloat16
    out.sum().backward()
    assert linear.weight.grad.isfinite().all()
    assert last.weight.grad.dtype == torch.float32
    assert (out.float() - last(formula(grn, linear(x)))).abs().max() < 0.05


def test_block_does_not_see_other_events(block):
    layer, topology = block
    x = torch.randn(3 * topology.num_target, DIM, dtype=torch.float64)
    table, nodes = Table(topology), topology.num_target
    together = layer(x, table, nodes).view(3, -1)
    for event, values in enumerate(x.view(3, -1, DIM)):
        assert torch.allclose(layer(values, table, nodes).flatten(), together[event], atol=1e-12)


def test_masked_block_is_the_block_on_the_visible_subgraph(block):
    layer, topology = block
    visible = torch.rand(topology.num_target) < 0.6
    x = torch.randn(topology.num_target, DIM, dtype=torch.float64)
    mask = visible.double().unsqueeze(1)
    table, nodes = Table(topology), topology.num_target
    masked = layer(x, table, nodes, visible=mask)

    edges, taps = topology.edge_index, topology.edge_type
    keep = visible[edges].all(0)
    number = visible.cumsum(0) - 1
    expected = layer(x[visible], number[edges[:, keep]], int(visible.sum()), taps[keep])
    assert torch.allclose(masked[visible], expected, atol=1e-12)
    assert not masked[~visible].any()
    x[~visible] += 1e6
    assert torch.equal(layer(x, table, nodes, visible=mask), masked)


def test_drop_path_drops_whole_events():
    drop = DropPath(0.5)
    x = torch.ones(200 * 3, 2)
    out = drop(x, 3).view(200, -1)
    assert set(out.unique().tolist()) == {0.0, 2.0}
    assert (out == out[:, :1]).all()
    assert drop.eval()(x, 3) is x


def test_block_equals_the_bare_formula():
    block = randomised(Block(LatticeConv(DIM, DIM, 7, groups=DIM), DIM))
    image = torch.randn(2, DIM, 6, 5, dtype=torch.float64)
    h = F.conv2d(image, block.mixer.weight, block.mixer.bias, padding=3, groups=DIM).permute(0, 2, 3, 1)
    h = F.gelu(block.expand(block.norm(h)))
    norm = h.square().sum((1, 2), keepdim=True).sqrt()
    h = h + block.grn.weight * h * norm / (norm.mean(-1, keepdim=True) + 1e-6) + block.grn.bias
    flat = image.permute(0, 2, 3, 1)
    out = block(flat.reshape(-1, DIM), Table(Topology.windows((6, 5), (7, 7), padding=3)), 30)
    assert torch.allclose(out, (flat + block.project(h)).reshape(-1, DIM), atol=1e-12)
