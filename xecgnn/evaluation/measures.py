"""The numbers of a task: residuals of predictions, their resolution, bias and tail, and the pulls of their sigmas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import norm

from xecgnn.estimate import QUANTILE, TAIL, Estimate, fraction, mean, quantile, rms, skewness, tail
from xecgnn.evaluation.limits import uses_truth
from xecgnn.tasks.axes import AXES, Axis
from xecgnn.tasks.task import Task

__all__ = ["Estimates", "Method", "build_methods", "depths", "logged_metrics", "measure", "measure_pull", "paired",
           "pull_axes", "pulls", "usable_events"]  # fmt: skip

Array = NDArray[np.float64]
Estimates = dict[str, Estimate]
GAUSSIAN_WIDTH = float(norm.ppf((1 + QUANTILE) / 2))  # 68 % quantile of |x| for a normal x, 0.994
GAUSSIAN_TAIL = 200 * float(norm.sf(TAIL * GAUSSIAN_WIDTH))  # %, 0.285
DEPTH = 20.0  # mm behind the inner face: near to it single sensors see the shower


class Method(NamedTuple):
    """One way of predicting, and what it got wrong on E events, in shown units."""

    title: str
    shown: Array  # [E, axes]
    residuals: Array  # [E, axes]
    errors: Array  # [E, resolutions]


def usable_events(task: Task, predictions: Mapping[str, np.ndarray], target: np.ndarray) -> NDArray[np.bool_]:
    """Events (E,) whose target is known and whose predictions are all finite."""
    known = task.valid(torch.tensor(target).reshape(len(target), -1)).numpy()
    for values in predictions.values():
        known = known & np.isfinite(values).reshape(len(values), -1).all(1)
    return known


def build_methods(task: Task, predictions: Mapping[str, np.ndarray], target: np.ndarray) -> list[Method]:
    """Residuals and errors of each prediction against the target (E, width) or (E,), float64."""
    true, methods = torch.tensor(target).reshape(-1, task.width).double(), []
    for title, values in predictions.items():
        predicted = torch.tensor(values).double().reshape(true.shape)
        arrays = task.shown(predicted), task.residuals(predicted, true), task.errors(predicted, true)
        methods.append(Method(title, *(array.numpy() for array in arrays)))
    return methods


def measure(task: Task, predictions: Mapping[str, np.ndarray], target: np.ndarray) -> dict[str, Estimates]:
    """Each prediction {title: (E, ...)} of a task against its target, over the events where that is known.

    Resolutions of the task, then width, bias, rms, skewness and tail of each quantity; of classes, the share of events
    whose likeliest one is the true one. NaN where a prediction is.
    """
    known = usable_events(task, {}, target)
    predictions, target = {title: values[known] for title, values in predictions.items()}, target[known]
    if not task.axes:
        return {title: {"accuracy": fraction(p.argmax(1) == target.ravel())} for title, p in predictions.items()}
    return {method.title: _measure_residuals(task, method) for method in build_methods(task, predictions, target)}


def paired(task: Task, predictions: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Title, first and further values (n, width) where both are finite; neither baselines nor limits."""
    for title, values in predictions.items():
        first = next(iter(predictions.values()))
        both = np.isfinite(first).all(1) & np.isfinite(values).all(1)
        if values is not first and title not in task.baselines and not uses_truth(title) and both.any():
            yield title, first[both], values[both]


def depths(truth: Mapping[str, np.ndarray]) -> dict[str, NDArray[np.bool_]]:
    """Events (E,) whose first interaction is above, and below, w = DEPTH; nothing where it is not known."""
    axis = AXES["uvwTruth"][2]
    shown = truth["uvwTruth"][:, 2] * axis.scale if "uvwTruth" in truth else np.empty(0)
    limit = f"{DEPTH:g} {axis.unit}"
    return {f"{axis.name} < {limit}": shown < DEPTH, f"{axis.name} >= {limit}": shown >= DEPTH} if len(shown) else {}


def logged_metrics(task: Task, found: Estimates) -> dict[str, float]:
    """Values by the names under which a training logs them; an accuracy is a share there."""
    if not task.axes:
        return dict.fromkeys(task.metric_units(), found["accuracy"].value / 100)
    return {key: found[key.removeprefix(task.metric_prefix)].value for key in task.metric_units()}


def _measure_residuals(task: Task, method: Method) -> Estimates:
    found = {key: quantile(method.errors[:, i], unit) for i, (key, unit) in enumerate(task.resolutions.items())}
    for axis, residual in zip(task.axes, method.residuals.T, strict=True):
        if task.resolutions.get(f"{axis.name}_resolution_68") != axis.unit:
            found[f"{axis.name}_width_68"] = quantile(np.abs(residual), axis.unit)
        found[f"{axis.name}_bias"], found[f"{axis.name}_rms"] = mean(residual, axis.unit), rms(residual, axis.unit)
        found[f"{axis.name}_skew"], found[f"{axis.name}_tail"] = skewness(residual), tail(residual)
    return found


def pull_axes(task: Task) -> tuple[Axis, ...]:
    """What the sigmas of a task belong to: its axes, or the bare values where it is shown by others (unit vectors)."""
    if len(task.axes) == task.width:
        return task.axes
    return tuple(Axis(f"{task.branch}_{i}", f"{task.branch}[{i}]", "1", 1.0) for i in range(task.width))


def pulls(task: Task, prediction: np.ndarray, sigma: np.ndarray, target: np.ndarray) -> tuple[Array, Array, Array]:
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


def measure_pull(pull: Array) -> Estimates:
    """Pulls (E,): mean (expected 0), width from the 68 % quantile (1), shares within 1 and 2 sigma (68.3, 95.4 %)."""
    size = np.abs(pull)
    within = {f"coverage_{n}sigma": fraction(size < n) for n in (1, 2)}
    return {"mean": mean(pull), "width": quantile(size / GAUSSIAN_WIDTH), **within}
