"""Events are the same where run and event number are: pairs, compared as such, whatever their size."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from xecgnn.arrays import Bools, Ints, Rows
from xecgnn.data.columns import cast
from xecgnn.names import IDENTIFIERS

__all__ = ["event_pairs", "match_pairs", "repeated_pairs", "shared_pairs"]

Pairs = Ints  # (E, 2) run, event
SHOWN = 3


def event_pairs(columns: Mapping[str, np.ndarray]) -> Pairs:
    """(run, event) of E events.

    Raises:
        ValueError: One of the two columns is missing, or holds no whole numbers of 64 bits.
    """
    missing = [name for name in IDENTIFIERS if name not in columns]
    if missing:
        raise ValueError(f"no {' and '.join(missing)} to tell events by; columns: {', '.join(columns)}")
    return np.stack([cast(name, columns[name], np.int64) for name in IDENTIFIERS], 1)


def repeated_pairs(pairs: Pairs) -> Bools:
    """(E,) events that were there before."""
    repeated = np.ones(len(pairs), bool)
    repeated[np.unique(_codes(pairs), return_index=True)[1]] = False
    return repeated


def shared_pairs(first: Pairs, second: Pairs) -> Pairs:
    """Pairs (n, 2) that both have, each once, in ascending order."""
    codes = _codes(np.concatenate([first, second]))
    return first[np.intersect1d(codes[: len(first)], codes[len(first) :], return_indices=True)[1]]


def match_pairs(first: Pairs, second: Pairs) -> tuple[Rows, Rows]:
    """Rows of `first`, ascending, and of `second` with the same pair.

    Raises:
        ValueError: A pair is there twice.
    """
    for pairs in (first, second):
        twice = pairs[repeated_pairs(pairs)]
        if len(twice):
            named = ", ".join(f"run {run} event {event}" for run, event in twice[:SHOWN].tolist())
            raise ValueError(f"{len(twice)} events are there again: {named}" + (", ..." if len(twice) > SHOWN else ""))
    codes = _codes(np.concatenate([first, second]))
    _, rows, others = np.intersect1d(codes[: len(first)], codes[len(first) :], return_indices=True)
    order = np.argsort(rows)
    return rows[order], others[order]


def _codes(pairs: Pairs) -> Rows:
    """A number per event, the same where the pairs are, ascending with them."""
    order = np.lexsort(pairs.T[::-1])
    ascending = pairs[order]
    codes = np.zeros(len(pairs), np.intp)
    codes[order[1:]] = np.cumsum((ascending[1:] != ascending[:-1]).any(1))
    return codes
