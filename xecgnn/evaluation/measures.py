"""Numbers with their statistical errors, and the error of the difference of two that were measured on the same events.

Each measure keeps its influence function: how much each event moves it. The standard deviation of the influences over
sqrt(events) is the standard error; that of the difference of two influences is the error of a paired comparison, in
which the fluctuations that both share cancel (asymptotic: it equals what a paired bootstrap gives).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from xecgnn.evaluation.panels import Method
from xecgnn.evaluation.statistics import TAIL, in_tail, quantile_with_error
from xecgnn.tasks import Task
from xecgnn.tasks.metrics import QUANTILE

__all__ = [
    "GAUSSIAN_TAIL",
    "GAUSSIAN_WIDTH",
    "Measure",
    "measure_accuracy",
    "measure_pull",
    "measure_residuals",
    "measure_values",
]

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


def measure_residuals(task: Task, method: Method) -> dict[str, Measure]:
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


def measure_values(task: Task, shown: Array) -> dict[str, Measure]:
    """Mean and standard deviation of predictions (E, axes)."""
    measures = {}
    for column, axis in enumerate(task.axes):
        measures[f"{axis.name}_mean"] = _mean(shown[:, column], axis.unit)
        measures[f"{axis.name}_std"] = _rms(shown[:, column], axis.unit)
    return measures


def measure_pull(pull: Array) -> dict[str, Measure]:
    """Pulls (E,): mean (expected 0), width from the 68 % quantile (1), shares within 1 and 2 sigma (68.3, 95.4 %)."""
    size = np.abs(pull)
    return {
        "mean": _mean(pull, ""),
        "width": _quantile(size / GAUSSIAN_WIDTH, ""),
        "coverage_1sigma": _share(size < 1),
        "coverage_2sigma": _share(size < 2),
    }


def measure_accuracy(probabilities: Array, true: Array) -> dict[str, Measure]:
    """Share of events (E,) whose likeliest class of (E, classes) is the true one."""
    return {"accuracy": _share(probabilities.argmax(1) == true)}


def _quantile(values: Array, unit: str) -> Measure:
    value, low, high = quantile_with_error(values)
    slope = float((high - low) / 2 * np.sqrt(len(values) / (QUANTILE * (1 - QUANTILE))))  # 1 / density at the quantile
    return Measure(value, low, high, unit, np.where(values > value, slope, 0.0))


def _mean(values: Array, unit: str) -> Measure:
    mean, error = values.mean(), _standard_error(values)
    return Measure(mean, mean - error, mean + error, unit, values)


def _rms(values: Array, unit: str) -> Measure:
    square: Array = np.square(values - values.mean())
    rms = float(np.sqrt(square.mean()))
    influence: Array = square / (2 * rms or 1.0)
    error = _standard_error(influence)
    return Measure(rms, rms - error, rms + error, unit, influence)


def _share(hit: NDArray[np.bool_]) -> Measure:
    """In %, with the interval of Wilson (1927), which is right near 0 and 100 % too."""
    n, p = len(hit), hit.mean()
    center, half = (p + 0.5 / n) / (1 + 1 / n), np.sqrt(p * (1 - p) / n + 0.25 / n**2) / (1 + 1 / n)
    return Measure(100 * p, 100 * (center - half), 100 * (center + half), "%", np.where(hit, 100.0, 0.0))


def _standard_error(influence: Array) -> float:
    """Of the measure that these events (E,) make; NaN for a single one."""
    return float(influence.std(ddof=1) / np.sqrt(len(influence))) if len(influence) > 1 else np.nan
