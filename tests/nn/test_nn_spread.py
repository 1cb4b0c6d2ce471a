from __future__ import annotations

import numpy as np
import pytest
import torch

from xecgnn.models import ModelConfig
from xecgnn.models.layouts import face_grids
from xecgnn.nn import Spread, Table, Topology

BATCH = 2
MODES = [{"outer_fine_pool": (1, 1)}, {"outer_fine_pool": (3, 3)}, {"outer_mode": "split"}]


@pytest.fixture(params=["mini", "meg2"])
def outer(request):
    return request.getfixturevalue(request.param).faces["outer"]


def readings(face):
    x = torch.rand(BATCH * len(face), 2, dtype=torch.float64)
    return x, torch.rand(len(x)) < 0.8, torch.rand(len(x)) < 0.6


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_npho_is_conserved_and_messages_agree(outer, mode):
    x, npho_valid, time_valid = readings(outer)
    name, (topology, _) = next(iter(face_grids(outer, ModelConfig(**mode)).items()))
    assert name == "outer"
    dense = Spread()((x, npho_valid, time_valid), Table(topology))
    total = torch.where(npho_valid, x[:, 0], 0).view(BATCH, -1).sum(1)
    assert torch.allclose(dense[0][:, 0].view(BATCH, -1).sum(1), total)
    size = (BATCH * topology.num_source, BATCH * topology.num_target)
    batch = topology.repeat(BATCH)
    messages = Spread()((x, npho_valid, time_valid), batch.edge_index, batch.edge_attr, size)
    assert torch.allclose(messages[0], dense[0], atol=1e-12)
    assert torch.equal(messages[1], dense[1])
    assert torch.equal(messages[2], dense[2])


def test_fine_grid_paints_the_sensors(outer):
    """Unpooled, a cell holds the reading of the one sensor above it: npho divided by its area, time copied."""
    x, npho_valid, time_valid = readings(outer)
    ((topology, _),) = face_grids(outer, ModelConfig(outer_fine_pool=(1, 1))).values()
    painted, npho_ok, time_ok = Spread()((x, npho_valid, time_valid), Table(topology))
    rows, cols = outer.shape
    expected = np.full((BATCH, rows, cols, 2), np.nan)
    for sensor, (r0, r1, c0, c1) in enumerate(outer.cells):
        value = x.view(BATCH, -1, 2)[:, sensor].numpy() / [(r1 - r0) * (c1 - c0), 1]
        expected[:, r0:r1, c0:c1] = value[:, None, None]
    expected = torch.as_tensor(expected.reshape(-1, 2))
    assert torch.allclose(painted[npho_ok, 0], expected[npho_ok, 0])
    assert torch.allclose(painted[time_ok, 1], expected[time_ok, 1])
    assert not painted[~npho_ok, 0].any()


def test_split_keeps_the_sensors(outer):
    x, *_ = readings(outer)
    usable = torch.ones(len(x), dtype=torch.bool)
    (coarse, shape), (dense, dense_shape) = face_grids(outer, ModelConfig(outer_mode="split")).values()
    assert (shape, dense_shape) == (outer.coarse_shape, outer.block.shape)
    inside = Spread()((x, usable, usable), Table(dense))[0].view(BATCH, -1, 2)
    assert torch.allclose(inside, x.view(BATCH, -1, 2)[:, outer.block.local_ids])
    outside = np.setdiff1d(np.arange(len(outer)), outer.block.local_ids)
    values = Spread()((x, usable, usable), Table(coarse))[0]
    for reading in x.view(BATCH, -1, 2)[:, outside].flatten(0, 1):
        assert (values - reading).abs().sum(1).min() < 1e-12


def test_invalid_and_hidden_sensors():
    """Two sensors above one cell: the cell takes what is valid and is invalid only without any."""
    cells = np.array([[0, 1, 0, 1], [0, 1, 1, 3]])
    topology = Topology.overlaps(cells, np.array([[0, 1, 0, 3]]))
    x = torch.tensor([[4.0, 1.0], [float("nan"), 1e10]], requires_grad=True)
    yes, no = torch.tensor([True, False]), torch.tensor([False, False])
    out, npho_valid, time_valid = Spread()((x, yes, yes), Table(topology))
    assert out.tolist() == [[4.0, 1.0]]
    assert npho_valid.all()
    assert time_valid.all()
    out.sum().backward()
    assert x.grad.isfinite().all()
    out, npho_valid, time_valid = Spread()((x, no, no), Table(topology))
    assert not npho_valid.any()
    assert not time_valid.any()
    assert out.isfinite().all()
    both = torch.tensor([[4.0, 1.0], [2.0, 4.0]])
    assert Spread()((both, ~no, ~no), Table(topology))[0].tolist() == [[6.0, 3.0]]  # 1 x 1 + 2 x 4 over 3 cells
    assert Table(topology).pool_visible(torch.tensor([[0.0], [1.0], [0.0], [0.0]])).tolist() == [[1.0], [0.0]]


def test_uncovered_cell_is_an_error():
    with pytest.raises(ValueError, match="1 of 1 cells"):
        Topology.overlaps(np.array([[0, 1, 0, 1]]), np.array([[2, 3, 0, 1]]))
