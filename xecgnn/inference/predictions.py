"""Predictions of a trained network for a stream of events."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from xecgnn.data.batch import Readings
from xecgnn.data.events import Events
from xecgnn.inference.predictor import Judge, Predictor
from xecgnn.inference.stream import in_batches
from xecgnn.names import FEATURES, LOSS, NPHO, TARGETS, UNKNOWN_CLASS, is_valid
from xecgnn.tasks.registry import named_tasks
from xecgnn.tasks.task import Task

__all__ = ["predict", "predicted_tasks"]


def predict(predictor: Predictor, events: Iterable[Events], batch: int | None = None) -> Generator[Events]:
    """Add predictions to events: columns pred_<truth> and, where the network predicts them, sigma_<truth>.

    Nothing is kept: of a stream of events only those of a few batches are in memory. An event without any valid npho is
    predicted as NaN (class -1). A `Judge` adds the loss of each event, and has an answer to every one.

    Args:
        predictor: a network, for example that of `load_predictor`.
        events: with npho and relative_time, by sensor id.
        batch: events per call of the network (None: 8 on a CPU, 128 on a GPU).

    Returns:
        All events in their order, in batches.
    """
    tasks = predicted_tasks(predictor)

    def add(some: Events) -> Events:
        if isinstance(predictor, Judge):
            outputs = predictor.judge(Readings.of(some))
            columns: dict[str, NDArray[Any]] = {LOSS: outputs[LOSS]}
            empty = np.zeros(len(some), bool)
        else:
            outputs = predictor.predict(*(np.ascontiguousarray(some[name]) for name in FEATURES))
            columns, empty = {}, ~is_valid(some[NPHO]).any(1)
        tensors = {name: torch.from_numpy(values) for name, values in outputs.items()}
        for task in tasks:
            for name, values in task.columns(tensors).items():
                values[empty] = np.nan if values.dtype.kind == "f" else UNKNOWN_CLASS
                columns[name] = values
        return some.with_columns(columns)

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
    return list(named_tasks(names).values())
