from __future__ import annotations

import pytest
import torch

from xecgnn.nn import PositionEmbedding

CENTERS = torch.tensor([[-58.0, 0.0, 0.0], [-80.0, 0.0, -43.0], [-80.0, 0.0, 43.0], [-40.0, 80.0, 0.0]])


@pytest.mark.parametrize("kind", ["learnable", "sinusoidal", "geometric"])
def test_tokens_get_different_embeddings(kind):
    position = PositionEmbedding(kind, CENTERS, 64)
    rows = position(torch.zeros(1, 4, 64))[0]
    distance = torch.cdist(rows, rows) + torch.eye(4)
    assert distance.min() > 0.05
    assert len(list(position.parameters())) == (kind == "learnable")


def test_geometric_depends_on_the_place_only():
    order = torch.tensor([2, 0, 3, 1])
    moved = PositionEmbedding("geometric", CENTERS[order], 64).embedding
    assert torch.equal(moved, PositionEmbedding("geometric", CENTERS, 64).embedding[order])
