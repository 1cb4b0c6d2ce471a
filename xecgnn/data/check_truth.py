"""Truth that cannot be meant: a writer's constant for "unknown" that is none of ours."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["constant_problems", "constants_outside", "without_constants"]

SHARE = 1e-3  # of the events, from which on a value that comes back is a constant
FAR = 10.0  # interquartile ranges outside the bulk
BULK = 20  # values that do not come back, from which on they are the bulk; with fewer, lines are


def constants_outside(values: NDArray[np.generic]) -> dict[float, int]:
    """Values (E,) or (E, width) that come back, far outside the bulk of their component: value -> number of events.

    The bulk are the values that do not come back, so that it does not matter how many events have the constant; where
    there are hardly any, as of photons from lines, all values, and their size is a width too.
    """
    found: dict[float, int] = {}
    for component in np.atleast_2d(values.T):
        known = component[np.isfinite(component)].astype(np.float64)
        different, counts = np.unique(known, return_counts=True)
        often = counts >= max(2, SHARE * len(values))
        bulk = np.repeat(different[~often], counts[~often])
        width = 0.0
        if len(bulk) < BULK:
            bulk, width = known, float(np.median(np.abs(known))) if len(known) else 0.0
        if often.any():
            low, high = np.quantile(bulk, (0.25, 0.75))
            margin = FAR * max(high - low, width)
            far = often & ((different < low - margin) | (different > high + margin))
            for value, count in zip(different[far].tolist(), counts[far].tolist(), strict=True):
                found[value] = max(found.get(value, 0), count)
    return found


def without_constants(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """The same values, NaN where they are such a constant (whole numbers stay)."""
    constants = list(constants_outside(values)) if values.dtype.kind == "f" else []
    return np.where(np.isin(values, constants), np.nan, values) if constants else values


def constant_problems(name: str, values: NDArray[np.generic]) -> Iterator[str]:
    """A line for each such constant in a truth branch of all events."""
    for value, number in constants_outside(values).items():
        where = f"{name} is {value:g} in {number} of {len(values)} events"
        yield f"{where}, far outside all others: unknown truth is NaN or 1e10, and these would be trained on"
