"""Physics baselines: what a few lines of arithmetic reach, so that every number of a network stands beside one.

A kind of baseline is a function of a task and a look at a training sample, (task, light, target, names of light
features), that returns what predicts the target from light. See `LightSummary` for the features; targets (E, width) are
finite, in physical units.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray

from xecgnn.evaluation.baselines.light import Light
from xecgnn.tasks.direction import DirectionTask
from xecgnn.tasks.task import Task

__all__ = ["Baseline", "fit_baselines"]

Array = NDArray[np.float64]
Predict = Callable[[Light], Array]


class Baseline(NamedTuple):
    """A fitted baseline.

    Attributes:
        task: whose target it predicts.
        predict: light of E events -> predictions in physical units, shaped as the task's `decode` gives them.
    """

    task: Task
    predict: Predict


def mean_direction(task: Task, light: Light, target: Array) -> Predict:
    """The mean direction of the training sample, for every event."""
    mean = cast(DirectionTask, task).to_vector(torch.as_tensor(target)).numpy().mean(0)
    return lambda light: _from_vector(task, np.tile(mean / np.linalg.norm(mean), (number_of_events(light), 1)))


def along(task: Task, light: Light, target: Array, feature: str) -> Predict:
    """Along a feature (B, 3): `normal`, the normal of the inner surface at the light spot; `point`, the line from the
    centre of the target (0, 0, 0) to the interaction. The mean direction where there is no light.
    """
    fallback = mean_direction(task, light, target)

    def predict(light: Light) -> Array:
        seen = np.linalg.norm(light[feature], axis=-1, keepdims=True) > 0.5  # 0 or NaN without light
        return np.where(seen, _from_vector(task, light[feature]), fallback(light))

    return predict


def linear(task: Task, light: Light, target: Array, *features: str) -> Predict:
    """Least squares on the named features and a constant; the mean target where a feature is missing."""

    def columns(light: Light) -> Array:
        events = number_of_events(light)
        return np.column_stack([np.ones(events), *(light[name].reshape(events, -1) for name in features)])

    x, mean = columns(light), target.mean(0)
    usable = np.isfinite(x).all(1)
    if not usable.any():
        return lambda light: np.tile(mean, (number_of_events(light), 1))
    # Columns of unit size around zero, or times of 1e-9 s would be lost.
    scale = np.where(x[usable].std(0) > 0, x[usable].std(0), 1.0)
    center = np.where(np.arange(x.shape[1]) > 0, x[usable].mean(0), 0.0)
    coefficients = np.linalg.lstsq((x[usable] - center) / scale, target[usable], rcond=None)[0]

    def predict(light: Light) -> Array:
        x = columns(light)
        usable = np.isfinite(x).all(1, keepdims=True)
        return np.where(usable, (np.where(usable, x, 0.0) - center) / scale @ coefficients, mean)

    return predict


def class_frequency(task: Task, light: Light, target: Array) -> Predict:
    """The frequencies of the classes in the training sample, for every event: always bets on the most frequent."""
    counts = np.bincount(target.astype(np.int64).ravel(), minlength=task.num_outputs)
    return lambda light: np.tile(counts / counts.sum(), (number_of_events(light), 1))


KINDS: dict[str, Callable[..., Predict]] = {
    "mean_direction": mean_direction,
    "along": along,
    "linear": linear,
    "class_frequency": class_frequency,
}


def fit_baselines(
    tasks: Mapping[str, Task], light: Light, targets: Mapping[str, np.ndarray]
) -> dict[str, dict[str, Baseline]]:
    """The baselines of each task, fitted: {task: {title: baseline}}.

    Args:
        tasks: the tasks by name.
        light: features of E training events.
        targets: {task: (E, width) or (E,)} in physical units; events without the target are left out.

    Raises:
        ValueError: a task has no usable target in the sample.
    """
    fitted: dict[str, dict[str, Baseline]] = {}
    for name, task in tasks.items():
        target = np.asarray(targets[name], dtype=np.float64).reshape(number_of_events(light), -1)
        usable = task.valid(torch.tensor(target)).numpy()
        if not usable.any():
            raise ValueError(f"task {name}: no usable target among {len(target)} training events")
        sample = {feature: values[usable] for feature, values in light.items()}
        fitted[name] = {
            title: Baseline(task, KINDS[kind](task, sample, target[usable], *features))
            for title, (kind, *features) in task.baselines.items()
        }
    return fitted


def number_of_events(light: Light) -> int:
    return len(next(iter(light.values())))


def _from_vector(task: Task, vector: Array) -> Array:
    """Directions (E, 3) as values of the task (E, width)."""
    return cast(DirectionTask, task).from_vector(torch.as_tensor(vector)).numpy()
