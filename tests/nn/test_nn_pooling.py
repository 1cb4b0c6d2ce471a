from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from xecgnn.nn import GridPool, MeanPool


@pytest.mark.parametrize("shape", [(46, 21), (11, 7), (2, 1)])
def test_grid_pool_equals_torch(shape):
    image = torch.randn(3, 5, *shape)
    flat = image.permute(0, 2, 3, 1).reshape(-1, 5)
    average = F.adaptive_avg_pool2d(image, 4).permute(0, 2, 3, 1)
    bilinear = F.interpolate(image, (4, 4), mode="bilinear").permute(0, 2, 3, 1)
    assert torch.allclose(GridPool(shape, "average")(flat), average, atol=1e-6)
    assert torch.allclose(GridPool(shape, "bilinear")(flat), bilinear, atol=1e-6)


@pytest.mark.parametrize("pooling", ["average", "bilinear"])
def test_hidden_nodes_do_not_count(pooling):
    pool = GridPool((8, 4), pooling)
    visible = torch.ones(8, 4)
    visible[:2] = 0  # the first row of grid cells is empty
    visible[5, 1] = 0
    x = torch.full((32, 3), 2.0)
    hidden = visible.view(-1, 1) == 0
    out = pool(torch.where(hidden, 1e6, x), visible.view(-1, 1))
    assert torch.equal(out[0, 1:], torch.full((3, 4, 3), 2.0))
    assert not out[0, 0].any()


def test_mean_pool():
    x = torch.tensor([[1.0], [3.0], [5.0], [7.0]])
    pool = MeanPool(2)
    assert pool(x).tolist() == [[2.0], [6.0]]
    assert pool(x, torch.tensor([[1.0], [0.0], [0.0], [0.0]])).tolist() == [[1.0], [0.0]]
