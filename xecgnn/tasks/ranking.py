"""Which of two values of a metric is the better one, as far as the name of the metric says."""

from __future__ import annotations

from typing import Literal

__all__ = ["SIGNED", "direction", "is_ranked", "penalty"]

SIGNED = ("_bias", "_skew")  # best where they are closest to zero


def direction(metric: str) -> Literal["min", "max"]:
    """Whether a metric (no signed one) should be small, as losses, widths and resolutions, or large, as an accuracy."""
    return "max" if metric.endswith("accuracy") else "min"


def penalty(metric: str, value: float) -> float:
    """What should be small: losses, widths, resolutions; the size of a bias or skewness; minus an accuracy."""
    if direction(metric) == "max":
        return -value
    return abs(value) if metric.endswith(SIGNED) else value


def is_ranked(metric: str) -> bool:
    """Whether a run can be better or worse in a metric."""
    return metric == "loss_mean" or metric.startswith("val_") or metric.endswith(("_bias", "_rms", "_skew"))
