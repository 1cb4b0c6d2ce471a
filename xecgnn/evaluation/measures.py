"""Numbers with their statistical errors, and the error of the difference of two that were measured on the same events.

Each measure keeps its influence function: how much each event moves it. The standard deviation of the influences over
sqrt(events) is the standard error; that of the difference of two influences is the error of a paired comparison, in
which the fluctuations that both share cancel (asymptotic: it equals what a paired bootstrap gives).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import norm

from xecgnn.evaluation.panels import Method
from xecgnn.evaluation.profiles import build_methods, usable_events
from xecgnn.evaluation.sample import PredictedSample
from xecgnn.evaluation.statistics import TAIL, in_tail, quantile_with_error
from xecgnn.tasks.axes import Axis
from xecgnn.tasks.metrics import QUANTILE
from xecgnn.tasks.task import Task

__all__ = ["Measure", "TaskMeasures", "measure", "measure_pull", "measure_residuals", "pull_axes", "pulls"]

Array = NDArray[np.float64]
GAUSSIAN_WIDTH = float(norm.ppf((1 + QUANTILE) / 2))  # 68 % quantile of |x| for a normal x, 0.994
GAUSSIAN_TAIL = 200 * float(norm.sf(TAIL * GAUSSIAN_WIDTH))  # %, 0.285


class Measure(NamedTuple):
    """A value with its 68 % interval, its unit, and the influence (E,) of each event on it."""

    value: float
    low: float
    high: float
    unit: str
    influence: Array

    @property
    def error(self) -> float:
        """Half of the interval."""
        return (self.high - self.low) / 2

    def minus(self, other: Measure) -> tuple[float, float]:
        """Difference to a measure on the same events, with its standard error."""
        return self.value - other.value, _standard_error(self.influence - other.influence)


Measures = dict[str, Measure]


class TaskMeasures(NamedTuple):
    """The numbers of one task, {title: {key: measure}} each; `events` entered `residuals`."""

    events: int
    values: Mapping[str, Measures]
    residuals: Mapping[str, Measures]
    differences: Mapping[str, Measures]  # of further predictions to the first, without truth
    pulls: Mapping[str, Mapping[str, Measures]]  # {title: {quantity: ...}}


def measure(sample: PredictedSample, task: Task) -> TaskMeasures:
    """All numbers of a task. Residuals are those of the events for which truth and every prediction are known."""
    predictions, truth = sample.predictions[task.name], sample.truth.get(task.branch)
    first = next(iter(predictions.values()), np.empty(0))
    values: dict[str, Measures] = {}
    differences: dict[str, Measures] = {}
    for title, predicted in predictions.items() if task.axes else ():
        finite = np.isfinite(predicted).all(1)
        values[title] = {}
        for axis, shown in zip(task.axes, task.shown(torch.tensor(predicted[finite])).numpy().T, strict=True):
            values[title] |= {f"{axis.name}_mean": _mean(shown, axis.unit), f"{axis.name}_std": _rms(shown, axis.unit)}
        both = finite & np.isfinite(first).all(1)
        if predicted is not first and both.any():
            differences |= _measure_errors(task, {title: predicted[both]}, first[both])
    if truth is None or not predictions or not (known := usable_events(task, predictions, truth)).any():
        return TaskMeasures(0, values, {}, differences, {})
    pulled = {}
    for title, sigma in sample.sigmas[task.name].items():
        columns = zip(pull_axes(task), pulls(task, predictions[title], sigma, truth)[0].T, strict=True)
        pulled[title] = {axis.name: measure_pull(column) for axis, column in columns if len(column)}
    errors = _measure_errors(task, {title: found[known] for title, found in predictions.items()}, truth[known])
    return TaskMeasures(int(known.sum()), values, errors, differences, pulled)


def _measure_errors(task: Task, predictions: Mapping[str, NDArray], truth: NDArray) -> dict[str, Measures]:
    """Of usable events; of classes, the share of events whose likeliest one is the true one."""
    target = torch.tensor(truth).reshape(len(truth), -1).double()
    if not task.axes:
        true = target[:, 0].numpy()
        return {title: {"accuracy": _share(values.argmax(1) == true)} for title, values in predictions.items()}
    return {m.title: measure_residuals(task, m) for m in build_methods(task, predictions, target)}


def measure_residuals(task: Task, method: Method) -> Measures:
    """Resolutions of a task, then width, bias and tail of each quantity, over E events; `tail` is a share in %."""
    measures = {key: _quantile(method.errors[:, i], unit) for i, (key, unit) in enumerate(task.resolutions.items())}
    for column, axis in enumerate(task.axes):
        residual = method.residuals[:, column]
        width = _quantile(np.abs(residual), axis.unit)
        if task.resolutions.get(f"{axis.name}_resolution_68") != axis.unit:
            measures[f"{axis.name}_width_68"] = width
        measures[f"{axis.name}_bias"] = _mean(residual, axis.unit)
        measures[f"{axis.name}_rms"] = _rms(residual, axis.unit)
        measures[f"{axis.name}_tail"] = _share(in_tail(residual))
    return measures


def pull_axes(task: Task) -> tuple[Axis, ...]:
    """What the sigmas of a task belong to: its axes, or the bare values where it is shown by others (unit vectors)."""
    if len(task.axes) == task.width:
        return task.axes
    return tuple(Axis(f"{task.branch}_{i}", f"{task.branch}[{i}]", "1", 1.0) for i in range(task.width))


def pulls(task: Task, prediction: NDArray, sigma: NDArray, target: NDArray) -> tuple[Array, Array, Array]:
    """(predicted - true) / sigma of the events that have it (rows finite, sigma > 0), residual and sigma: (n, width).

    Residual and sigma are in the units of `pull_axes`.
    """
    scale = np.array([axis.scale for axis in pull_axes(task)])
    target = target.reshape(prediction.shape).astype(np.float64)
    residual = (prediction - target) * scale
    if len(task.axes) == task.width:
        residual = task.residuals(torch.tensor(prediction), torch.tensor(target)).numpy()
    usable = np.isfinite(residual).all(1) & np.isfinite(sigma).all(1) & (sigma > 0).all(1)
    residual, shown = residual[usable], sigma[usable] * scale
    return residual / shown, residual, shown


def measure_pull(pull: Array) -> Measures:
    """Pulls (E,): mean (expected 0), width from the 68 % quantile (1), shares within 1 and 2 sigma (68.3, 95.4 %)."""
    size = np.abs(pull)
    return {
        "mean": _mean(pull, ""),
        "width": _quantile(size / GAUSSIAN_WIDTH, ""),
        "coverage_1sigma": _share(size < 1),
        "coverage_2sigma": _share(size < 2),
    }


def _quantile(values: Array, unit: str) -> Measure:
    value, low, high = quantile_with_error(values)
    slope = float((high - low) / 2 * np.sqrt(len(values) / (QUANTILE * (1 - QUANTILE))))  # 1 / density at the quantile
    return Measure(value, low, high, unit, np.where(values > value, slope, 0.0))


def _mean(values: Array, unit: str) -> Measure:
    return _symmetric(values.mean(), unit, values)


def _rms(values: Array, unit: str) -> Measure:
    square: Array = np.square(values - values.mean())
    rms = float(np.sqrt(square.mean()))
    return _symmetric(rms, unit, square / (2 * rms or 1.0))


def _symmetric(value: float, unit: str, influence: Array) -> Measure:
    error = _standard_error(influence)
    return Measure(value, value - error, value + error, unit, influence)


def _share(hit: NDArray[np.bool_]) -> Measure:
    """In %, with the interval of Wilson (1927), which is right near 0 and 100 % too."""
    n, p = len(hit), hit.mean()
    center, half = (p + 0.5 / n) / (1 + 1 / n), np.sqrt(p * (1 - p) / n + 0.25 / n**2) / (1 + 1 / n)
    return Measure(100 * p, 100 * (center - half), 100 * (center + half), "%", np.where(hit, 100.0, 0.0))


def _standard_error(influence: Array) -> float:
    """Of the measure that these events (E,) make; NaN for a single one."""
    return float(influence.std(ddof=1) / np.sqrt(len(influence))) if len(influence) > 1 else np.nan
