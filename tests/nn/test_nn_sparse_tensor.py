"""A sparse adjacency whose value is the tap, in place of an edge_index.

`torch.sparse` always; `torch_sparse.SparseTensor` where the extra `pyg` is installed.
"""

from __future__ import annotations

import pytest
import torch

from xecgnn.nn import Block, HexConv, LatticeConv, Table, Topology

BATCH = 2


@pytest.fixture(params=["torch.sparse", "torch_sparse"])
def adjacency(request):
    """Builds the transposed adjacency matrix (targets x sources) of a batch."""
    if request.param == "torch_sparse":
        torch_sparse = pytest.importorskip("torch_sparse", reason="the extra [pyg] is not installed")

    def build(topology):
        batch = topology.repeat(BATCH)
        edges, taps = batch.edge_index, batch.edge_type
        shape = (BATCH * topology.num_target, BATCH * topology.num_source)
        if request.param == "torch.sparse":
            return torch.sparse_coo_tensor(edges.flip(0), taps, shape, check_invariants=True)
        return torch_sparse.SparseTensor(row=edges[1], col=edges[0], value=taps, sparse_sizes=shape)

    return build


@pytest.mark.parametrize("layer", [(2, 8, 4, 1, 1), (8, 8, 7, 3, 8)], ids=["stem", "depthwise"])
def test_lattice_conv(layer, adjacency):
    inside, outside, kernel, padding, groups = layer
    topology = Topology.windows((6, 5), (kernel, kernel), padding=padding)
    conv = LatticeConv(inside, outside, kernel, groups).double()
    x = torch.randn(BATCH * topology.num_source, inside, dtype=torch.float64)
    assert torch.allclose(conv(x, adjacency(topology)), conv(x, Table(topology)), atol=1e-10)


def test_hex_block(mini, adjacency):
    topology = Topology.neighbors(mini.faces["top"].neighbors)
    block = Block(HexConv(8), 8).double()
    x = torch.randn(BATCH * topology.num_source, 8, dtype=torch.float64)
    nodes = topology.num_source
    assert torch.allclose(block(x, adjacency(topology), nodes), block(x, Table(topology), nodes), atol=1e-10)
