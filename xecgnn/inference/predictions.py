"""Predictions of a trained network for a stream of events."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import cast

import numpy as np
import torch

from xecgnn.data.events import Events
from xecgnn.inference.predictor import Predictor
from xecgnn.inference.stream import in_batches
from xecgnn.names import FEATURES, TARGETS, UNKNOWN_CLASS, is_valid
from xecgnn.tasks.config import TasksConfig
from xecgnn.tasks.registry import build_tasks
from xecgnn.tasks.task import Task

__all__ = ["predict", "predicted_tasks"]


def predict(predictor: Predictor, events: Iterable[Events], batch: int | None = None) -> Generator[Events]:
    """Add predictions to events: columns pred_<truth> and, where the network predicts them, sigma_<truth>.

    Nothing is kept: of a stream of events only those of a few batches are in memory. An event without any valid npho is
    predicted as NaN (class -1).

    Args:
        predictor: a network, for example that of `load_predictor`.
        events: with npho and relative_time, by sensor id.
        batch: events per call of the network (None: 8 on a CPU, 128 on a GPU).

    Returns:
        All events in their order, in batches.
    """
    tasks = predicted_tasks(predictor)

    def add(some: Events) -> Events:
        npho, time = (np.ascontiguousarray(some[name]) for name in FEATURES)
        outputs = {name: torch.from_numpy(values) for name, values in predictor.predict(npho, time).items()}
        predicted = {name: values for task in tasks for name, values in task.columns(outputs).items()}
        empty = ~is_valid(npho).any(1)
        for values in predicted.values():
            values[empty] = np.nan if values.dtype.kind == "f" else UNKNOWN_CLASS
        return some.with_columns(predicted)

    return in_batches(add, events, batch, predictor.on_gpu)


def predicted_tasks(predictor: Predictor, title: object = "the network") -> list[Task]:
    """The tasks of a network.

    Raises:
        ValueError: it gives something else.
    """
    names = [name.removesuffix("_sigma") for name in predictor.output_names]
    others = [name for name in names if name not in TARGETS]
    if others:
        raise ValueError(f"{title}: gives {others[0]!r}, no prediction of {', '.join(TARGETS)}")
    built = build_tasks(TasksConfig(**{name: {"enabled": name in names} for name in TARGETS}))
    return [cast("Task", task) for task in built.values()]
