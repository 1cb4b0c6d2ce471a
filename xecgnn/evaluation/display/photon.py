"""What a display says of the photon: where it was, where it came from, how far off the prediction is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xecgnn.data.events import Events
from xecgnn.detector import angles_to_direction
from xecgnn.estimate import QUANTILE
from xecgnn.names import IDENTIFIERS, LOSS, TARGETS
from xecgnn.schema import prediction_of
from xecgnn.table import number
from xecgnn.tasks.axes import AXES
from xecgnn.tasks.registry import TASKS

if TYPE_CHECKING:  # an event without predictions needs no torch
    from torch import Tensor

    from xecgnn.tasks.task import Task

__all__ = ["Photon", "badness", "describe", "known"]

Array = NDArray[np.float64]


class Photon(NamedTuple):
    """A photon as far as it is known; None where it is not."""

    point: ArrayLike | None = None  # (3,) u, v, w of the first interaction [cm]
    direction: ArrayLike | None = None  # (3,) unit vector of the emission
    origin: ArrayLike | None = None  # (3,) x, y, z of the emission [cm]

    @classmethod
    def of(cls, event: Events, predicted: bool = False) -> Photon:
        """The true or predicted photon of one event (a table of one); values that are not finite count as absent."""
        columns = ("uvwTruth", "emiAng", "emiVec", "xyzVTX")
        names = map(prediction_of, columns) if predicted else columns
        point, angles, vector, origin = (_finite(event, name) for name in names)
        return cls(point, vector if angles is None else angles_to_direction(*angles), origin)


def known(truth: Photon | None, prediction: Photon | None) -> dict[str, Photon]:
    """Those of which there is something to draw, by name."""
    photons = {"truth": truth, "prediction": prediction}
    return {name: p for name, p in photons.items() if p and not (p.point is None and p.direction is None)}


def describe(event: Events) -> str:
    """Title of one event: run, event, energy; in a second line, where predicted, errors and loss."""
    words = [f"{name} {event[name][0]}" for name in IDENTIFIERS if name in event]
    (axis,) = AXES["energyTruth"]
    for word, branch in {"true": "energyTruth", "predicted": prediction_of("energyTruth")}.items():
        if (energy := _finite(event, branch)) is not None:
            words.append(f"{word} {axis.symbol} = {number(axis.scale * energy[0])} {axis.unit}")
    texts = {}  # tasks for the same quantity give one entry
    for task, predicted, true in _compared(event):
        errors = task.errors(predicted, true) if task.joint_error else task.residuals(predicted, true)
        for shown, value in zip([task.joint_error] if task.joint_error else task.axes, errors[0].tolist(), strict=True):
            if np.isfinite(value):
                name = f"{'' if task.joint_error else 'Δ'}{shown.symbol}"
                texts[name] = f"{name} = {number(value)} {shown.unit}"
    if (loss := _finite(event, LOSS)) is not None:
        texts[LOSS] = f"{LOSS} = {number(loss[0])}"
    return ", ".join(words) + ("\nprediction:  " + ",  ".join(texts.values()) if texts else "")


def badness(events: Events) -> Array:
    """By what the worst of E events are found, (E,): the loss where there is one, else the errors of all tasks.

    Errors are added in units of the sample's resolution (68 % quantile); NaN where an event has no truth.

    Raises:
        ValueError: Neither is there.
    """
    if LOSS in events:
        return np.asarray(events[LOSS], dtype=np.float64)
    errors = [np.abs(task.errors(predicted, true).numpy()) for task, predicted, true in _compared(events)]
    if not errors:
        raise ValueError(f"no event can be called worst: no branch {LOSS!r}, and no prediction beside its truth")
    return sum(np.mean(e / np.nanquantile(e, QUANTILE, axis=0).clip(1e-12), axis=1) for e in errors)


def _compared(events: Events) -> Iterator[tuple[type[Task], Tensor, Tensor]]:
    """Tasks that have truth and prediction, both (E, width)."""
    for name, branch in TARGETS.items():
        if branch in events and prediction_of(branch) in events and TASKS[name].axes:
            from torch import from_numpy

            task = TASKS[name]
            predicted, true = (
                events[b].astype(np.float64).reshape(-1, task.width) for b in (prediction_of(branch), branch)
            )
            yield task, from_numpy(predicted), from_numpy(true)


def _finite(event: Events, name: str) -> Array | None:
    """(width,) values, None where one is missing."""
    array = event[name].astype(np.float64).ravel() if name in event else np.array([np.nan])
    return array if np.isfinite(array).all() else None
