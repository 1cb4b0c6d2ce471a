"""Augmentations: what training changes of a batch, so that the network learns what does not matter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from xecgnn.data.batch import Readings
from xecgnn.detector import Detector
from xecgnn.names import INVALID_VALUE
from xecgnn.registry import Registry

if TYPE_CHECKING:
    from xecgnn.tasks.task import Task
    from xecgnn.training.config import TrainingConfig

__all__ = ["AUGMENTATIONS", "Augmentation", "Mirror", "drop_channels"]


class Augmentation:
    """Changes a batch: `augmentation(readings, generator) -> readings`. The batch that comes in is not edited.

    Args:
        detector: whose events these are.
        tasks: what is regressed, by name; none in pretraining and inpainting.
        config: settings of the optimisation.
    """

    def __init__(self, detector: Detector, tasks: nn.ModuleDict, config: TrainingConfig) -> None:
        self.detector, self.tasks, self.config = detector, tasks, config

    def __call__(self, readings: Readings, generator: torch.Generator) -> Readings:
        """The same events, changed; random numbers come from the generator, which lives on the CPU."""
        raise NotImplementedError


AUGMENTATIONS: Registry[type[Augmentation]] = Registry("augmentation")


@AUGMENTATIONS.register("mirror")
class Mirror(Augmentation):
    """One of four mirror images for a whole batch: z -> -z, y -> -y, both or none, each equally likely.

    Raises:
        ValueError: the detector is no mirror image of itself, or a task does not say how it is mirrored.
    """

    def __init__(self, detector: Detector, tasks: nn.ModuleDict, config: TrainingConfig) -> None:
        super().__init__(detector, tasks, config)
        self.sensors = {axis: torch.as_tensor(detector.mirrored(axis)) for axis in ("y", "z")}
        for task in self._tasks.values():
            task.mirrored(torch.zeros(1, task.width), "z")

    @property
    def _tasks(self) -> dict[str, Task]:
        return dict(self.tasks.items())  # type: ignore[arg-type]

    def __call__(self, readings: Readings, generator: torch.Generator) -> Readings:
        chosen = torch.rand(2, generator=generator) < 0.5
        for axis, flip in zip(self.sensors, chosen.tolist(), strict=True):
            if flip:
                y = {name: self._target(name, target, axis) for name, target in readings.y.items()}
                x = readings.x.index_select(1, self.sensors[axis].to(readings.x.device))
                readings = replace(readings, x=x, y=y)
        return readings

    def _target(self, name: str, target: Tensor, axis: str) -> Tensor:
        return self._tasks[name].mirrored(target, axis) if name in self._tasks else target


@AUGMENTATIONS.register("drop_channels")
class DropChannels(Augmentation):
    """Makes a fraction `training.channel_dropout` of the sensors invalid."""

    def __call__(self, readings: Readings, generator: torch.Generator) -> Readings:
        return drop_channels(readings, self.config.channel_dropout, generator)


def drop_channels(readings: Readings, fraction: float, generator: torch.Generator | None = None) -> Readings:
    """A copy of the batch in which a random fraction of the sensors has become invalid."""
    gone = (torch.rand(readings.x.shape[:2], generator=generator) < fraction).to(readings.x.device)
    return replace(readings, x=torch.where(gone.unsqueeze(-1), readings.x.new_tensor(INVALID_VALUE), readings.x))


def build_augmentations(
    config: TrainingConfig, detector: Detector, tasks: nn.ModuleDict
) -> list[Callable[[Readings, torch.Generator], Readings]]:
    """Those that the settings name, in their order; channels are dropped last.

    Raises:
        ValueError: an augmentation that there is not, or that does not fit.
    """
    names = [*config.augmentations, *(["drop_channels"] if config.channel_dropout else [])]
    return [AUGMENTATIONS[name](detector, tasks, config) for name in dict.fromkeys(names)]
