from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xecgnn.data import Events
from xecgnn.data.match import repeated_pairs, shared_pairs

# Few, so that some meet; beyond 32 bits, and such that two packed into one number would be mixed up.
NUMBERS = st.sampled_from([0, 1, -1, 2**31, 2**32, 2**32 + 1, 2**63 - 1, -(2**63)])
PAIRS = st.lists(st.tuples(NUMBERS, NUMBERS), max_size=30)


def table(pairs: list[tuple[int, int]]) -> Events:
    run, event = np.array(pairs, np.int64).reshape(-1, 2).T
    return Events({"run": run, "event": event, "row": np.arange(len(pairs))})


@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=30, unique=True), PAIRS)
def test_matched_events_are_those_of_a_loop(first: list[tuple[int, int]], second: list[tuple[int, int]]) -> None:
    a, b = table(first), table(second)
    b = b[~b.repeated()]
    rows, others = a.match(b)
    expected = [(row, second.index(pair)) for row, pair in enumerate(first) if pair in second]
    assert list(zip(a[rows].row.tolist(), b[others].row.tolist(), strict=True)) == expected


@given(PAIRS)
def test_repeated_events_are_those_of_a_loop(pairs: list[tuple[int, int]]) -> None:
    assert table(pairs).repeated().tolist() == [pair in pairs[:row] for row, pair in enumerate(pairs)]
    array = np.array(pairs, np.int64).reshape(-1, 2)
    assert repeated_pairs(array).sum() == len(pairs) - len(set(pairs))
    assert list(map(tuple, shared_pairs(array, array[:5]).tolist())) == sorted(set(pairs[:5]))


def test_duplicates_are_named() -> None:
    once, twice = table([(1, 2), (3, 4)]), table([(1, 2), (3, 2**40), (3, 2**40), (1, 2)])
    for first, second in ((once, twice), (twice, once)):
        with pytest.raises(ValueError, match=rf"2 events are there again: run 3 event {2**40}, run 1 event 2$"):
            first.match(second)
    with pytest.raises(ValueError, match=r"no event to tell events by; columns: run$"):
        once.match(once.select("run"))
