from __future__ import annotations

import math

import pytest
import torch

from xecgnn.config import TasksConfig
from xecgnn.detector import Detector
from xecgnn.directions import angles_to_vector
from xecgnn.nn.spot import Spot, SpotFinder
from xecgnn.tasks.registry import build_tasks

UNITS = {"timing": 1e-9}


def spots(detector: Detector) -> Spot:
    finder = SpotFinder(detector, 3)
    node = torch.tensor([10, 37, 80])
    return Spot(node, finder.position[node], finder.uvw[node], finder.frame[node], torch.tensor([1e-9, 2e-9, -3e-9]))


def task_of(name: str, spot: Spot, **settings):
    """A task whose targets are off the guess by +-0.3 of its unit, as often to either side."""
    task = build_tasks(TasksConfig(**{"angle": {"enabled": False}, name: {"enabled": True, **settings}}))[name]
    guess, off = task.guess(spot), 0.3 * UNITS.get(name, 1.0)
    task.fit_scaling(torch.cat([guess + off, guess - off]), guess.repeat(2, 1))
    return task


@pytest.mark.parametrize(
    ("name", "settings"),
    [("angle", {}), ("angle", {"loss_fn": "vmf"}), ("angle", {"loss_fn": "gaussian_nll"}), ("angleVec", {}),
     ("angleVec", {"loss_fn": "cosine"})],
)  # fmt: skip
def test_a_head_that_says_nothing_gives_the_normal(mini: Detector, name: str, settings: dict[str, str]) -> None:
    spot = spots(mini)
    task = task_of(name, spot, **settings)
    raw = torch.zeros(3, task.num_outputs)
    vector = task.to_vector(task.decode(task.from_spot(raw, spot))[name])
    assert torch.allclose(vector, spot.frame[:, 0], atol=1e-5)


def test_vectors_are_turned_with_the_frame(mini: Detector) -> None:
    spot = spots(mini)
    task = task_of("angle", spot, loss_fn="vmf")
    raw = torch.tensor([[0.5, 0.3, -0.7]]).expand(3, 3)
    turned = task.from_spot(raw, spot)
    expected = torch.stack([frame.T @ torch.tensor([1.5, 0.3, -0.7]) for frame in spot.frame])
    assert torch.allclose(turned, expected, atol=1e-6)


def test_place_and_time_are_those_of_the_spot(mini: Detector) -> None:
    spot = spots(mini)
    for name, guess in (("uvwFI", spot.uvw), ("centroid", spot.position), ("timing", spot.time.unsqueeze(1))):
        task = task_of(name, spot)
        decoded = task.decode(task.from_spot(torch.zeros(3, task.num_outputs), spot))[name]
        assert torch.allclose(decoded, guess, atol=1e-4), name


def test_a_centroid_is_off_the_spot_along_its_frame(mini: Detector) -> None:
    spot = spots(mini)
    task = task_of("centroid", spot)
    decoded = task.decode(task.from_spot(torch.tensor([[2.0, 1.0, -1.0]]).expand(3, 3), spot))["centroid"]
    along = torch.stack([frame @ off for frame, off in zip(spot.frame, decoded - spot.position, strict=True)])
    assert torch.allclose(along, torch.tensor([0.6, 0.3, -0.3]).expand(3, 3), atol=1e-4)


def test_short_precision_does_not_round_the_guess(mini: Detector) -> None:
    spot = spots(mini)
    task = task_of("angle", spot)
    decoded = task.decode(task.from_spot(torch.zeros(3, 2, dtype=torch.bfloat16), spot))["angle"]
    assert torch.allclose(angles_to_vector(decoded), spot.frame[:, 0], atol=1e-5)


@pytest.mark.parametrize("name", ["angle", "uvwFI", "timing"])
def test_the_scale_is_how_far_targets_are_off_the_guess(mini: Detector, name: str) -> None:
    spot = spots(mini)
    task, off = task_of(name, spot), 0.3 * UNITS.get(name, 1.0)
    assert torch.allclose(task.std, torch.full((task.width,), off), rtol=1e-4)
    assert torch.allclose(task.mean / off, torch.zeros(task.width), atol=1e-4)
    decoded = task.decode(task.from_spot(torch.ones(3, task.num_outputs), spot))[name]
    assert torch.allclose((decoded - task.guess(spot)) / off, torch.ones(3, task.width), atol=1e-3)


def test_phi_is_off_the_guess_by_the_shorter_way() -> None:
    task = build_tasks(TasksConfig())["angle"]
    guess = torch.tensor([[1.5, math.pi - 0.1]]).repeat(2, 1)
    task.fit_scaling(torch.tensor([[1.5, -math.pi + 0.1], [1.5, math.pi - 0.3]]), guess)
    assert task.mean[1] == pytest.approx(0.0, abs=1e-6)
    assert task.std[1] == pytest.approx(0.2, rel=1e-5)
