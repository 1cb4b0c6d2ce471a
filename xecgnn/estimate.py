"""Numbers with their statistical errors, and the error of the difference of two that were measured on the same events.

Each estimate keeps its influence function: how much each event moves it. The standard deviation of the influences over
sqrt(events) is the standard error; that of the difference of two influences is the error of a paired comparison, in
which the fluctuations that both share cancel (asymptotic: it equals what a paired bootstrap gives).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "QUANTILE", "TAIL", "Estimate", "correlation", "fraction", "mean", "quantile", "ranks", "rms", "skewness", "tail",
]  # fmt: skip

Array = NDArray[np.float64]

QUANTILE = 0.68  # what a resolution is: 68 % quantile of the absolute errors
TAIL = 3.0  # a residual beyond so many 68 % widths is in the tail


@dataclass(frozen=True)
class Estimate:
    """A value with its 68 % interval, the number of entries (events, sensors) that it is of, and its unit.

    `influence` (n,) of each entry, where the estimate is of a sample that is at hand.
    """

    value: float
    low: float
    high: float
    n: int
    unit: str = ""
    influence: Array | None = field(default=None, repr=False, compare=False)

    @classmethod
    def symmetric(cls, value: float, error: float, n: int, unit: str = "", influence: Array | None = None) -> Estimate:
        """With a standard error, value +- error."""
        return cls(float(value), float(value - error), float(value + error), n, unit, influence)

    @property
    def error(self) -> float:
        """Half of the interval."""
        return (self.high - self.low) / 2

    def minus(self, other: Estimate) -> Estimate:
        """Difference to an estimate of the same entries, with the error of a comparison entry by entry.

        Raises:
            ValueError: The influences of one are not at hand, or there are others.
        """
        if self.influence is None or other.influence is None or self.n != other.n:
            raise ValueError(f"a difference needs two estimates of the same entries, found {self.n} and {other.n}")
        return _from_influence(self.value - other.value, self.influence - other.influence, self.unit)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: value, low and high (None where they are not finite), n, unit."""
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        return {k: v if math.isfinite(v) else None for k, v in numbers.items()} | {"n": self.n, "unit": self.unit}

    def __str__(self) -> str:
        """Value ± error: two digits of the error, and the value to the same place."""
        if not math.isfinite(self.error) or self.error <= 0:
            return f"{self.value:.4g}"
        digits = max(0, 1 - math.floor(math.log10(self.error)))
        return f"{self.value:.{digits}f} ± {self.error:.{digits}f}"


def mean(values: Array, unit: str = "") -> Estimate:
    """Mean with its standard error; the bias, where the values (n,) are residuals."""
    return _from_influence(_some(values).mean(), values, unit)


def rms(values: Array, unit: str = "") -> Estimate:
    """Standard deviation of values (n,): the bias is taken out."""
    square: Array = np.square(values - _some(values).mean())
    width = math.sqrt(_some(square).mean())
    return _from_influence(width, square / (2 * width or 1.0), unit)


def skewness(values: Array, unit: str = "") -> Estimate:
    """Third central moment of values (n,) over rms^3; NaN for constant values."""
    z = (values - _some(values).mean()) / (_some(values).std() or math.nan)
    skew = _some(z**3).mean()
    return _from_influence(skew, z**3 - 3 * z - 1.5 * skew * (z**2 - 1), unit)


def quantile(values: Array, unit: str = "", p: float = QUANTILE) -> Estimate:
    """Quantile of values (n,), the 68 % one unless told, the median for p = 0.5; right for any distribution."""
    n = len(values)
    low, value, high = np.quantile(_some(values), ranks(max(n, 1), p)).tolist()
    slope = (high - low) / 2 * math.sqrt(n / (p * (1 - p)))  # 1 / density at the quantile
    return Estimate(value, low, high, n, unit, np.where(values > value, slope, 0.0))


def ranks(n: float, p: float = QUANTILE) -> Array:
    """The ranks of a quantile of n values and of its 68 % interval, as shares of n: n p +- sqrt(n p (1 - p))."""
    half = math.sqrt(p * (1 - p) / n)
    return np.clip([p - half, p, p + half], 0, 1)


def fraction(hits: NDArray[np.bool_]) -> Estimate:
    """Share of the entries (n,) that are hits, in %, with the interval of Wilson (1927), right near 0 and 100 % too."""
    n, p = len(hits), float(_some(hits).mean())
    center, half = (p * n + 0.5) / (n + 1), math.sqrt(p * (1 - p) * n + 0.25) / (n + 1)
    return Estimate(100 * p, 100 * (center - half), 100 * (center + half), n, "%", np.where(hits, 100.0, 0.0))


def tail(residuals: Array) -> Estimate:
    """Share, in %, of the residuals (n,) that are larger than TAIL times the 68 % quantile of their sizes."""
    size = np.abs(residuals)
    return fraction(size > TAIL * np.quantile(_some(size), QUANTILE))


def correlation(x: Array, y: Array) -> Estimate:
    """Linear correlation of x and y (n,), with an interval that stays between -1 and 1 (Fisher's transformation)."""
    x, y = ((v - _some(v).mean()) / (_some(v).std() or math.nan) for v in (x, y))
    r = float(_some(x * y).mean())
    influence = x * y - r / 2 * (x**2 + y**2)
    turn = _standard_error(influence) / (1 - r**2) if abs(r) < 1 else 0.0
    low, high = np.tanh(np.arctanh(np.clip(r, -1 + 1e-12, 1 - 1e-12)) + np.array([-turn, turn])).tolist()
    return Estimate(r, low, high, len(x), "", influence)


def _from_influence(value: float, influence: Array, unit: str) -> Estimate:
    return Estimate.symmetric(value, _standard_error(influence), len(influence), unit, influence)


def _standard_error(influence: Array) -> float:
    """Of the estimate that these entries (n,) make; NaN for a single one."""
    return float(influence.std(ddof=1) / math.sqrt(len(influence))) if len(influence) > 1 else math.nan


def _some(values: np.ndarray) -> np.ndarray:
    """The values; NaN in place of none, so that an estimate of nothing is NaN."""
    return values if len(values) else np.full(1, np.nan)
