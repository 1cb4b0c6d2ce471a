"""What could be reached at all, beside predictions: from the columns that `xecgnn-simulate --limits` writes.

All of it uses the truth, and none is a strict bound (docs/limits.md). A kind is a function of a task and of columns of
events, (E,) or (E, width), that gives predictions of the task.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from xecgnn.data.events import Events
from xecgnn.names import UNKNOWN_CLASS

if TYPE_CHECKING:  # pages ask for `uses_truth`, and an event is drawn without torch
    from xecgnn.tasks.direction import DirectionTask
    from xecgnn.tasks.task import Task

__all__ = ["USES_TRUTH", "limit_predictions", "uses_truth", "with_references"]

log = logging.getLogger(__name__)

Array = NDArray[np.float64]

USES_TRUTH = "uses truth"  # at the end of the title of each


def limit_predictions(task: Task, events: Events) -> Iterator[tuple[str, Array]]:
    """Title and values (E, width) of the limits of a task for whose columns the events have."""
    for title, (kind, *columns) in task.limits.items():
        if all(name in events for name in columns):
            yield f"{title} ({USES_TRUTH})", KINDS[kind](task, *(events[name].astype(np.float64) for name in columns))


def uses_truth(title: str) -> bool:
    """Whether a title is that of a limit."""
    return title.endswith(f"({USES_TRUTH})")


def with_references(events: Events, references: Events) -> Events:
    """Events with the columns that they lack, of the same (run, event) in `references`; NaN where that is not there.

    Where events cannot be told apart, they stay as they are, and a line in the log says so.
    """
    try:
        rows, others = events.match(references)
    except ValueError as error:
        log.warning("no limits beside the predictions: %s", error)
        return events
    columns = {}
    for name in references.fields:
        if name not in events:
            values = references[name]
            unknown = np.nan if values.dtype.kind == "f" else UNKNOWN_CLASS
            columns[name] = np.full((len(events), *values.shape[1:]), unknown, values.dtype)
            columns[name][rows] = values[others]
    return events.with_columns(columns)


def as_it_is(task: Task, values: Array) -> Array:
    """The column itself."""
    return values


def normal(task: Task, values: Array, sigma: Array) -> Array:
    """Values with normal errors of standard deviations `sigma`: an estimate that attains the bound, always the same.

    None without light, where nothing is known but that no energy is there.
    """
    error = np.random.default_rng(0).standard_normal(values.shape)
    return values + np.nan_to_num(sigma) * error


def direction(task: Task, vector: Array) -> Array:
    """Directions (E, 3); where one is missing, the mean of the others."""
    import torch

    known = np.flatnonzero(np.isfinite(vector).all(1))
    vector = np.where(np.isfinite(vector), vector, vector[known].mean(0) if len(known) else np.nan)
    return cast("DirectionTask", task).from_vector(torch.as_tensor(vector)).numpy()


KINDS: dict[str, Callable[..., Array]] = {"as it is": as_it_is, "normal": normal, "direction": direction}
