"""Physics baselines: what a few lines of arithmetic reach, so that every number of a network stands beside one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from xecgnn.evaluation.baselines.light import Light
from xecgnn.tasks.task import Task

__all__ = ["Baseline", "fit_baselines"]

Array = NDArray[np.float64]


class Baseline(ABC):
    """Predicts a task's target from light features (see `LightSummary`), after a look at a training sample.

    Args:
        task: whose target it predicts; converts directions to the target's values.
        features: names of the light features it uses.
    """

    def __init__(self, task: Any, *features: str) -> None:
        self.task = task
        self.features = features

    @abstractmethod
    def fit(self, light: Light, target: Array) -> None:
        """Learn from training events with finite targets (E, width) in physical units."""

    @abstractmethod
    def predict(self, light: Light) -> Array:
        """Predictions for E events in physical units, shaped as the task's `decode` gives them."""

    def from_vector(self, vector: Array) -> Array:
        """Directions (E, 3) as values of the task (E, width)."""
        return self.task.from_vector(torch.as_tensor(vector)).numpy()


class MeanDirection(Baseline):
    """The mean direction of the training sample, for every event."""

    def fit(self, light: Light, target: Array) -> None:
        mean = self.task.to_vector(torch.as_tensor(target)).numpy().mean(0)
        self.direction = mean / np.linalg.norm(mean)

    def predict(self, light: Light) -> Array:
        return self.from_vector(np.tile(self.direction, (number_of_events(light), 1)))


class AlongFeature(Baseline):
    """Along a feature (B, 3): `normal`, the normal of the inner surface at the light spot; `point`, the line from the
    centre of the target (0, 0, 0) to the interaction. The mean direction where there is no light.
    """

    def fit(self, light: Light, target: Array) -> None:
        self.fallback = MeanDirection(self.task)
        self.fallback.fit(light, target)

    def predict(self, light: Light) -> Array:
        (vector,) = (light[name] for name in self.features)
        seen = np.linalg.norm(vector, axis=-1, keepdims=True) > 0.5  # 0 or NaN without light
        return np.where(seen, self.from_vector(vector), self.fallback.predict(light))


class Linear(Baseline):
    """Least squares on the named features and a constant; the mean target where a feature is missing."""

    def fit(self, light: Light, target: Array) -> None:
        self.mean = target.mean(0)
        columns = self._columns(light)
        usable = np.isfinite(columns).all(1)
        self.center, self.scale = np.zeros(columns.shape[1]), np.ones(columns.shape[1])
        if usable.any():
            self.center, spread = columns[usable].mean(0), columns[usable].std(0)
            self.scale = np.where(spread > 0, spread, 1.0)  # columns of unit size, or times of 1e-9 s would be lost
        self.coefficients = np.linalg.lstsq(self._design(columns[usable]), target[usable], rcond=None)[0]

    def predict(self, light: Light) -> Array:
        columns = self._columns(light)
        usable = np.isfinite(columns).all(1, keepdims=True)
        return np.where(usable, self._design(np.where(usable, columns, 0.0)) @ self.coefficients, self.mean)

    def _columns(self, light: Light) -> Array:
        """Features (E, n)."""
        events = number_of_events(light)
        return np.concatenate([np.empty((events, 0)), *(light[name].reshape(events, -1) for name in self.features)], 1)

    def _design(self, columns: Array) -> Array:
        """Matrix of the fit (E, 1 + n)."""
        return np.concatenate([np.ones((len(columns), 1)), (columns - self.center) / self.scale], 1)


class ClassFrequency(Baseline):
    """The frequencies of the classes in the training sample, for every event: always bets on the most frequent."""

    def fit(self, light: Light, target: Array) -> None:
        counts = np.bincount(target.astype(np.int64).ravel(), minlength=self.task.num_outputs)
        self.frequency = counts / counts.sum()

    def predict(self, light: Light) -> Array:
        return np.tile(self.frequency, (number_of_events(light), 1))


def number_of_events(light: Light) -> int:
    return len(next(iter(light.values())))


KINDS: dict[str, type[Baseline]] = {
    "mean_direction": MeanDirection,
    "along": AlongFeature,
    "linear": Linear,
    "class_frequency": ClassFrequency,
}


def fit_baselines(
    tasks: Mapping[str, Task], light: Light, targets: Mapping[str, NDArray]
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
        fitted[name] = {title: KINDS[kind](task, *features) for title, (kind, *features) in task.baselines.items()}
        for baseline in fitted[name].values():
            baseline.fit(sample, target[usable])
    return fitted
