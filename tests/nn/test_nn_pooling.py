from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from xecgnn.nn import GridPool, MeanPool
from xecgnn.nn.pooling import LightWeights


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


def test_light_weights_follow_the_light():
    weights = LightWeights()
    light = torch.randn(2 * 6, 1)
    w = weights(light, 6).detach()
    assert torch.allclose(w.view(2, 6, 4).sum(1), torch.ones(2, 4))
    assert torch.allclose(w[:, 0], torch.full((12,), 1 / 6))  # sharpness 0: the average
    ratio = (w[:, 2] / w[:, 1] / torch.exp(light[:, 0])).view(2, 6)
    assert torch.allclose(ratio, ratio[:, :1].expand(2, 6), rtol=1e-4)  # exp(2 l) over exp(l)
    brightest = light.view(2, 6).argmax(1)
    assert torch.equal(w.view(2, 6, 4)[..., 3].argmax(1), brightest)


def test_hidden_nodes_have_no_light_weight():
    weights, light = LightWeights(), torch.randn(6, 1)
    visible = torch.tensor([[1.0], [1.0], [0.0], [1.0], [0.0], [1.0]])
    shown = weights(light, 6, visible)
    assert torch.equal(shown, weights(torch.where(visible > 0, light, 1e6), 6, visible))
    assert not shown[visible[:, 0] == 0].any()
    assert not weights(light, 6, torch.zeros(6, 1)).any()  # and never NaN


def test_pooling_with_weights_sums_over_the_face():
    """A constant feature stays what it is; the brightest node alone decides where the weights are sharp."""
    pool, mean = GridPool((8, 4)), MeanPool(32)
    light = torch.full((32, 1), -50.0)
    light[13] = 50.0
    x = torch.randn(32, 8)
    w = LightWeights()(light, 32)
    assert torch.allclose(mean(x, weights=w)[0, 2:], x[13, 2:])
    grid = pool(x, weights=w)
    assert grid.shape == (1, 4, 4, 8)
    assert torch.allclose(grid.mean((1, 2))[0, 2:], 2 * x[13, 2:], rtol=1e-5)  # shares of the cells, and the face
    average = pool(x)[..., :2]
    assert torch.allclose(grid[..., :2], average + average.mean((1, 2), keepdim=True), atol=1e-6)
