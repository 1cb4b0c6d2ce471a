from __future__ import annotations

import numpy as np
import pytest
import torch

from xecgnn.config import TasksConfig
from xecgnn.detector import Detector
from xecgnn.directions import angles_to_vector
from xecgnn.nn.spot import Spot, SpotFinder
from xecgnn.tasks.registry import build_tasks


def spots(detector: Detector) -> Spot:
    finder = SpotFinder(detector, 3)
    node = torch.tensor([10, 37, 80])
    return Spot(node, finder.position[node], finder.uvw[node], finder.frame[node], torch.tensor([1e-9, 2e-9, -3e-9]))


def task_of(name: str, **settings):
    task = build_tasks(TasksConfig(**{"angle": {"enabled": False}, name: {"enabled": True, **settings}}))[name]
    if settings.get("loss_fn") not in ("vmf", "cosine"):
        task.fit_scaling(np.random.default_rng(0).normal(1.0, 0.3, (50, task.width)))
    return task


@pytest.mark.parametrize(
    ("name", "settings"),
    [("angle", {}), ("angle", {"loss_fn": "vmf"}), ("angle", {"loss_fn": "gaussian_nll"}), ("angleVec", {}),
     ("angleVec", {"loss_fn": "cosine"})],
)  # fmt: skip
def test_a_head_that_says_nothing_gives_the_normal(mini: Detector, name: str, settings: dict[str, str]) -> None:
    task, spot = task_of(name, **settings), spots(mini)
    raw = torch.zeros(3, task.num_outputs)
    vector = task.to_vector(task.decode(task.from_spot(raw, spot))[name])
    assert torch.allclose(vector, spot.frame[:, 0], atol=1e-5)


def test_vectors_are_turned_with_the_frame(mini: Detector) -> None:
    task, spot = task_of("angle", loss_fn="vmf"), spots(mini)
    raw = torch.tensor([[0.5, 0.3, -0.7]]).expand(3, 3)
    turned = task.from_spot(raw, spot)
    expected = torch.stack([frame.T @ torch.tensor([1.5, 0.3, -0.7]) for frame in spot.frame])
    assert torch.allclose(turned, expected, atol=1e-6)


def test_place_and_time_are_those_of_the_spot(mini: Detector) -> None:
    spot = spots(mini)
    for name, guess in (("uvwFI", spot.uvw), ("timing", spot.time.unsqueeze(1))):
        task = task_of(name)
        decoded = task.decode(task.from_spot(torch.zeros(3, task.num_outputs), spot))[name]
        assert torch.allclose(decoded, guess, atol=1e-4), name


def test_short_precision_does_not_round_the_guess(mini: Detector) -> None:
    task, spot = task_of("angle"), spots(mini)
    decoded = task.decode(task.from_spot(torch.zeros(3, 2, dtype=torch.bfloat16), spot))["angle"]
    assert torch.allclose(angles_to_vector(decoded), spot.frame[:, 0], atol=1e-5)
