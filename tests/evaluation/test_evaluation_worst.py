from __future__ import annotations

import numpy as np
import pytest

from xecgnn.data import Events
from xecgnn.evaluation.worst import WorstEvents

E = 40


@pytest.mark.parametrize("size", [1, 3, E])
@pytest.mark.parametrize("count", [0, 1, 5, 100])
def test_the_worst_are_those_of_a_sort_of_all(mini_events: Events, size: int, count: int) -> None:
    """Whatever the batches; with ties, and without what is not finite."""
    rng = np.random.default_rng(0)
    loss = rng.integers(0, 8, E).astype(np.float32)  # each value about five times
    loss[rng.permutation(E)[:12]] = np.repeat([np.nan, np.inf, -np.inf], 4)
    angles = rng.normal(size=(E, 2))
    worst = WorstEvents(count)
    for start in range(0, E, size):
        rows = slice(start, min(start + size, E))
        columns = {"loss": loss[rows], "number": np.arange(E)[rows], "angles": angles[rows]}
        worst.add(mini_events[rows].with_columns(columns))
    finite = [row for row in range(E) if np.isfinite(loss[row])]
    expected = sorted(finite, key=lambda row: (-loss[row], row))[:count]
    assert len(worst.events or []) == len(expected) == min(count, E - 12)
    if worst.events:
        np.testing.assert_array_equal(worst.events.number, expected)
        np.testing.assert_array_equal(worst.events.angles, angles[expected])
        for name in ("npho", "relative_time"):
            np.testing.assert_array_equal(worst.events[name], mini_events[name][expected])


def test_of_a_stream_without_losses_nothing_is_kept(mini_events: Events) -> None:
    worst = WorstEvents(5)
    worst.add(mini_events[:4].with_columns({"loss": np.full(4, np.nan)}))
    assert worst.events is None
