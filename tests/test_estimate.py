"""Intervals hold what they promise, whatever is estimated."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import norm

from xecgnn.estimate import Estimate, correlation, fraction, mean, quantile, rms, skewness, tail

Rng = np.random.Generator

WIDTH = norm.ppf(0.84)  # 68 % quantile of |x| for a normal x
# kind -> estimate of one toy sample, and the truth
KINDS: dict[str, tuple[Callable[[Rng], Estimate], float]] = {
    "68 % quantile": (lambda rng: quantile(rng.exponential(size=200)), -np.log(0.32)),
    "median": (lambda rng: quantile(rng.exponential(size=200), p=0.5), np.log(2)),
    "width": (lambda rng: quantile(np.abs(rng.normal(size=200)) / WIDTH), 1.0),
    "mean": (lambda rng: mean(rng.exponential(size=200)), 1.0),
    "bias": (lambda rng: mean(rng.normal(0.3, 2, size=200)), 0.3),
    "rms": (lambda rng: rms(rng.normal(5, 2, size=200)), 2.0),
    "rms of a skewed sample": (lambda rng: rms(rng.gamma(4, size=400)), 2.0),
    "skewness": (lambda rng: skewness(rng.normal(5, 2, size=400)), 0.0),
    "skewness of a skewed sample": (lambda rng: skewness(rng.gamma(30, size=400)), 2 / np.sqrt(30)),
    "fraction": (lambda rng: fraction(rng.random(200) < 0.3), 30.0),
    "small fraction": (lambda rng: fraction(rng.random(300) < 0.02), 2.0),
    "tail": (lambda rng: tail(rng.normal(size=3000)), 200 * norm.sf(3 * WIDTH)),
    "correlation": (lambda rng: correlation(*_correlated(rng, 0.7)), 0.7),
    "no correlation": (lambda rng: correlation(*_correlated(rng, 0.0)), 0.0),
}


def _correlated(rng: Rng, rho: float) -> tuple[np.ndarray, np.ndarray]:
    x, noise = rng.normal(size=(2, 200))
    return 3 * x + 1, rho * x + np.sqrt(1 - rho**2) * noise


@pytest.mark.parametrize("kind", KINDS)
def test_intervals_cover_the_truth_in_68_percent_of_samples(kind: str) -> None:
    estimate, truth = KINDS[kind]
    rng = np.random.default_rng(1)
    toys = [estimate(rng) for _ in range(200)]
    assert all(toy.low <= toy.value <= toy.high for toy in toys)
    assert np.mean([toy.low <= truth <= toy.high for toy in toys]) == pytest.approx(0.68, abs=0.07)


def test_a_paired_difference_covers_the_truth_and_is_sharper() -> None:
    rng, inside, sharper = np.random.default_rng(2), 0, 0
    for _ in range(200):
        shared, one, other = rng.normal(size=(3, 300))
        first, second = rms(shared + 0.5 * one), rms(shared + 0.6 * other)
        difference = second.minus(first)
        inside += difference.low < np.sqrt(1.36) - np.sqrt(1.25) < difference.high
        sharper += difference.error < np.hypot(first.error, second.error)
    assert inside / 200 == pytest.approx(0.68, abs=0.07)
    assert sharper > 190
    with pytest.raises(ValueError, match="two estimates of the same entries, found 300 and 4"):
        first.minus(mean(np.ones(4)))


@pytest.mark.parametrize("kind", [mean, rms, skewness, quantile, fraction, tail, lambda x: correlation(x, x)])
@pytest.mark.parametrize("values", [[], [np.nan, 1.0, 2.0]])
def test_nothing_and_nan_are_nan_without_a_warning(
    kind: Callable[[np.ndarray], Estimate], values: list[float], recwarn: pytest.WarningsRecorder
) -> None:
    found = kind(np.array(values))
    assert found.n == len(values)
    assert np.isnan(found.value) or kind in (fraction, tail)
    assert not recwarn.list


def test_mean_interval_is_the_standard_error() -> None:
    found = mean(np.array([1.0, 2.0, 3.0, 4.0]), "cm")
    error = np.sqrt(5 / 12)
    assert (found.value, found.low, found.high) == pytest.approx((2.5, 2.5 - error, 2.5 + error))
    assert (found.n, found.unit, found.error) == (4, "cm", pytest.approx(error))


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate.symmetric(52.8341, 0.0123, 9), "52.834 ± 0.012"),
        (Estimate.symmetric(-1234.5, 120, 9), "-1234 ± 120"),
        (Estimate.symmetric(0.0, 0.0, 9), "0"),
        (Estimate(np.nan, np.nan, np.nan, 0), "nan"),
    ],
)
def test_as_text_two_digits_of_the_error(estimate: Estimate, text: str) -> None:
    assert str(estimate) == text


def test_for_json_nan_is_none() -> None:
    assert Estimate(1.0, float("nan"), 2.0, 3, "ps").as_dict() == {
        "value": 1.0, "low": None, "high": 2.0, "n": 3, "unit": "ps",
    }  # fmt: skip
