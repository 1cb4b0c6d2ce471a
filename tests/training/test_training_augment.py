from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from xecgnn.config import TasksConfig
from xecgnn.data import Events, Readings
from xecgnn.detector import Detector
from xecgnn.directions import angles_to_direction
from xecgnn.tasks.direction import DirectionTask
from xecgnn.tasks.registry import build_tasks
from xecgnn.tasks.task import Task
from xecgnn.training.augment import AUGMENTATIONS, Augmentation, Mirror, build_augmentations
from xecgnn.training.config import TrainingConfig

SIGNS = {"y": [1.0, -1.0, 1.0], "z": [1.0, 1.0, -1.0]}
ALL = ("angle", "energy", "timing", "uvwFI", "angleVec", "edep", "centroid", "n_gamma")


def all_tasks() -> nn.ModuleDict:
    return build_tasks(TasksConfig(**{name: {"enabled": True} for name in ALL}))


@pytest.mark.parametrize("name", ["mini", "meg2"])
@pytest.mark.parametrize("axis", ["y", "z"])
def test_mirrored_sensors_stand_at_the_mirrored_places(name: str, axis: str, request: pytest.FixtureRequest) -> None:
    detector: Detector = request.getfixturevalue(name)
    ids = detector.mirrored(axis)
    assert np.allclose(detector.position[ids], detector.position * SIGNS[axis], atol=1e-6)
    assert np.array_equal(ids[ids], np.arange(detector.num_sensors))
    swapped = {"z": ("us", "ds"), "y": ("top", "bottom")}[axis]
    for face in detector.faces:
        other = dict([swapped, swapped[::-1]]).get(face, face)
        assert set(ids[detector.faces[face].sensor_ids]) == set(detector.faces[other].sensor_ids)


def test_survey_does_not_change_who_mirrors_whom(mini: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    position = mini.position.copy()
    position[5, 2] += 1.0
    moved = replace(mini, position=position)
    assert np.array_equal(moved.mirrored("z"), mini.mirrored("z"))
    monkeypatch.setattr(Detector, "from_yaml", lambda text: moved)
    with pytest.raises(ValueError, match=r"detector mini is no mirror image of itself in z: sensor .* within 0.01 cm"):
        mini.mirrored("z")


def test_targets_mirror_as_vectors_do(mini_events: Events, mini: Detector) -> None:
    tasks, batch = all_tasks(), Readings.of(mini_events)
    for axis, signs in SIGNS.items():
        sign = torch.tensor(signs)
        new = {name: tasks[name].mirrored(batch.y[name], axis) for name in ALL if name in batch.y}
        direction = torch.tensor(angles_to_direction(*batch.y["angle"].T.numpy())) * sign
        mirrored = torch.tensor(angles_to_direction(*new["angle"].T.numpy()))
        assert torch.allclose(mirrored.float(), direction.float(), atol=1e-5)
        xyz = torch.tensor(mini.to_xyz(batch.y["uvwFI"].numpy())) * sign
        assert np.allclose(mini.to_xyz(new["uvwFI"].numpy()), xyz, atol=1e-4)
        assert torch.allclose(new["centroid"], batch.y["centroid"] * sign)
        for name in ("energy", "timing"):
            assert torch.equal(new[name], batch.y[name])


def test_mirrors_are_drawn_equally_and_twice_is_nothing(mini: Detector, mini_events: Events) -> None:
    augmentation = Mirror(mini, build_tasks(TasksConfig()), TrainingConfig())
    batch, seen = Readings.of(mini_events[:4]), []
    images = [batch.x]
    for axes in ("y", "z", "yz"):
        x = batch.x
        for axis in axes:
            x = x[:, torch.as_tensor(mini.mirrored(axis))]
        images.append(x)
    generator = torch.Generator().manual_seed(0)
    for _ in range(400):
        x = augmentation(batch, generator).x
        seen.append(next(i for i, image in enumerate(images) if torch.equal(x, image)))
    counts = np.bincount(seen, minlength=4)
    assert (np.abs(counts - 100) < 4 * np.sqrt(75)).all()


def test_augmentations_are_named_in_the_settings(mini: Detector) -> None:
    tasks = build_tasks(TasksConfig())
    config = TrainingConfig(augmentations=["mirror"], channel_dropout=0.2)
    assert [type(a).__name__ for a in build_augmentations(config, mini, tasks)] == ["Mirror", "DropChannels"]
    assert build_augmentations(TrainingConfig(augmentations=[]), mini, tasks) == []
    with pytest.raises(ValueError, match="unknown augmentation 'miror'; known: mirror, drop_channels"):
        build_augmentations(TrainingConfig(augmentations=["miror"]), mini, tasks)


def test_task_that_does_not_say_how_it_is_mirrored_is_named(mini: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = build_tasks(TasksConfig())
    monkeypatch.setattr(DirectionTask, "mirrored", Task.mirrored)
    with pytest.raises(ValueError, match="task angle does not say how it is mirrored"):
        Mirror(mini, tasks, TrainingConfig())


def test_augmentation_of_ones_own(mini: Detector, monkeypatch: pytest.MonkeyPatch, mini_events: Events) -> None:
    monkeypatch.setattr(AUGMENTATIONS, "_modules", dict(AUGMENTATIONS._modules))

    @AUGMENTATIONS.register("brighter")
    class Brighter(Augmentation):
        def __call__(self, readings: Readings, generator: torch.Generator) -> Readings:
            factor = 1 + 0.1 * torch.rand((), generator=generator)
            return Readings(readings.x * torch.stack([factor, torch.ones(())]), readings.y)

    (brighter,) = build_augmentations(TrainingConfig(augmentations=["brighter"]), mini, nn.ModuleDict())
    batch = Readings.of(mini_events[:2])
    assert (brighter(batch, torch.Generator().manual_seed(0)).x[..., 0] != batch.x[..., 0]).any()
