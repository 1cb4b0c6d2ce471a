"""The line of the signal in a spectrum: a Gaussian core with an exponential tail to low energies."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import ndtr

from xecgnn.estimate import Estimate
from xecgnn.evaluation.measures import build_methods
from xecgnn.tasks.task import Task

__all__ = ["NEAR", "Peak", "fit_peak", "line_residuals"]

Array = NDArray[np.float64]

NEAR = 1.0  # MeV: events with a true energy so near to the line belong to it
MIN_EVENTS = 100
REACH = 6.0, 4.0  # widths below and above the middle that are fitted
BOUNDS = [(-3.0, 3.0), (-2.5, 2.5), (0.1, 4.0)]  # of middle and ln(sigma) in first guesses, and of the tail's start
MISMATCH = 0.1  # between the distributions of events and fit (Kolmogorov's distance): it does not describe them
HALF = math.sqrt(2 * math.log(2))  # half width of a Gaussian at half of its maximum, in sigma


class Peak(NamedTuple):
    """A fit to the events in a window: exp(-z^2 / 2), below z = -start exp(start (start / 2 + z)); smooth there.

    z = (x - bias) / sigma. Of a pure Gaussian, `start` is at its upper bound.
    """

    bias: Estimate
    sigma: Estimate
    fwhm: Estimate
    start: float
    window: tuple[float, float]

    def numbers(self, name: str, line: float) -> dict[str, Estimate]:
        """By the names of a table: those of a quantity whose line is at `line`; sigma also in % of that."""
        value, low, high = (100 / line * part for part in (self.sigma.value, self.sigma.low, self.sigma.high))
        relative = Estimate(value, low, high, self.sigma.n, "%")
        found = {"bias": self.bias, "sigma": self.sigma, "sigma_relative": relative, "fwhm": self.fwhm}
        return {f"{name}_line_{key}": estimate for key, estimate in found.items()}

    def density(self, x: Array) -> Array:
        """Per unit of x (n,), 1 over the window."""
        parameters = np.array([self.bias.value, math.log(self.sigma.value), self.start])
        return np.exp(_log_density(x, parameters, self.window))


def fit_peak(values: Array, unit: str = "") -> Peak | str:
    """Most likely core and tail (unbinned) of values (n,), with errors from the information; why, where it fails."""
    if len(values) < MIN_EVENTS:
        return f"{len(values)} events, at least {MIN_EVENTS} are needed"
    middle, width = _densest_half(values)
    if width <= 0:
        return "half of the events have one value"
    x = (np.sort(values) - middle) / width
    x = x[(x > -REACH[0]) & (x < REACH[1])]
    window = -REACH[0], REACH[1]

    def log_density(p: Array) -> Array:
        return _log_density(x, p, window)

    def slope(p: Array) -> Array:
        return -_slopes(log_density, p).mean(1)

    starts = ([0.0, 0.0, start] for start in (0.5, 2.0))  # from afar the tail may be taken for the core
    fits = [minimize(lambda p: -log_density(p).mean(), start, jac=slope, bounds=BOUNDS) for start in starts]
    found = min(fits, key=lambda fit: fit.fun)
    at_bound = [min(p - low, high - p) < 1e-3 for p, (low, high) in zip(found.x, BOUNDS, strict=True)]
    if any(at_bound[:2]) or np.abs(_share_below(x, found.x, window) - np.linspace(0, 1, len(x))).max() > MISMATCH:
        return "core and tail do not describe the events"
    free = ~np.array(at_bound)
    scores = _slopes(log_density, found.x)[free]
    covariance = np.linalg.pinv(scores @ scores.T)

    def estimate(function: Callable[[Array], float], shift: float = 0.0) -> Estimate:
        by = _slopes(lambda p: np.array([function(p)]), found.x)[free, 0]
        error = math.sqrt(by @ covariance @ by)
        return Estimate.symmetric(shift + width * function(found.x), width * error, len(x), unit)

    def fwhm(p: Array) -> float:
        left = HALF if p[2] > HALF else p[2] / 2 + math.log(2) / p[2]
        return float(np.exp(p[1]) * (HALF + left))

    return Peak(
        estimate(lambda p: p[0], middle),
        estimate(lambda p: math.exp(p[1])),
        estimate(fwhm),
        float(found.x[2]),
        (middle + width * window[0], middle + width * window[1]),
    )


def line_residuals(task: Task, predictions: Mapping[str, np.ndarray], target: np.ndarray) -> dict[str, Array]:
    """Predicted - true (n,) of each method (E, 1) for the events on the line of the task; nothing without any."""
    near = np.abs(target.ravel() * task.axes[0].scale - task.line) < NEAR if task.line else np.zeros(len(target), bool)
    if not near.any():
        return {}
    methods = build_methods(task, {title: values[near] for title, values in predictions.items()}, target[near])
    return {method.title: method.residuals[:, 0] for method in methods}


def _densest_half(values: Array) -> tuple[float, float]:
    """Mean of the densest half of the values (n,), and sigma of the Gaussian that this would be of."""
    half, ordered = len(values) // 2, np.sort(values)
    first = int(np.argmin(ordered[half:] - ordered[:-half]))
    width = (ordered[first + half] - ordered[first]) / 2 / 0.674
    return float(ordered[first : first + half + 1].mean()), float(width)


def _z(x: Array | float, parameters: Array) -> Array:
    return np.asarray((x - parameters[0]) / np.exp(parameters[1]))


def _area(z: Array, start: float) -> Array:
    """Integral of the unnormalised function of z up to z."""
    tail = np.exp(np.minimum(start * (start / 2 + z), -(start**2) / 2)) / start
    return tail + math.sqrt(2 * math.pi) * np.maximum(ndtr(z) - ndtr(-start), 0)


def _share_below(x: Array, parameters: Array, window: tuple[float, float]) -> Array:
    """Of the fit in its window, the share below x."""
    below, *ends = (_area(_z(value, parameters), parameters[2]) for value in (x, *window))
    return (below - ends[0]) / (ends[1] - ends[0])


def _log_density(x: Array, parameters: Array, window: tuple[float, float]) -> Array:
    (_, log_sigma, start), z = parameters, _z(x, parameters)
    shape = np.where(z > -start, -(z**2) / 2, start * (start / 2 + z))
    low, high = (_area(_z(end, parameters), start) for end in window)
    return shape - log_sigma - np.log(high - low)


def _slopes(function: Callable[[Array], Array], at: Array, step: float = 1e-4) -> Array:
    """Derivatives (parameters, n) of n values by the parameters."""
    return np.array([(function(at + h) - function(at - h)) / (2 * step) for h in step * np.eye(len(at))])
