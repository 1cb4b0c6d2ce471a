"""What a display says of the photon: where it was, where it came from, how far off the prediction is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from xecgnn.detector import angles_to_direction
from xecgnn.estimate import QUANTILE
from xecgnn.names import IDENTIFIERS, LOSS, TARGETS
from xecgnn.table import number
from xecgnn.tasks.axes import AXES
from xecgnn.tasks.registry import TASKS
from xecgnn.tasks.task import Task

__all__ = ["PREDICTED", "Photon", "badness", "describe", "known"]

Array = NDArray[np.float64]

PREDICTED = "pred_"  # before the name of the truth branch


class Photon(NamedTuple):
    """A photon as far as it is known; None where it is not."""

    point: ArrayLike | None = None  # (3,) u, v, w of the first interaction [cm]
    direction: ArrayLike | None = None  # (3,) unit vector of the emission
    origin: ArrayLike | None = None  # (3,) x, y, z of the emission [cm]

    @classmethod
    def from_columns(cls, columns: Mapping[str, NDArray], prefix: str = "") -> Photon:
        """From the branches of one event, (width,) each; values that are not finite count as absent."""
        point, angles, vector, origin = (
            _finite(columns.get(prefix + branch)) for branch in ("uvwTruth", "emiAng", "emiVec", "xyzVTX")
        )
        return cls(point, vector if angles is None else angles_to_direction(*angles), origin)


def known(truth: Photon | None, prediction: Photon | None) -> dict[str, Photon]:
    """Those of which there is something to draw, by name."""
    photons = {"truth": truth, "prediction": prediction}
    return {name: p for name, p in photons.items() if p and not (p.point is None and p.direction is None)}


def describe(columns: Mapping[str, NDArray]) -> str:
    """Title of one event from its branches: run, event, energy; in a second line, where predicted, errors and loss."""
    words = [f"{name} {int(columns[name])}" for name in IDENTIFIERS if name in columns]
    (axis,) = AXES["energyTruth"]
    energies = [("true", columns.get("energyTruth")), ("predicted", columns.get(PREDICTED + "energyTruth"))]
    known = [(word, _finite(value)) for word, value in energies]
    words += [f"{word} {axis.symbol} = {number(axis.scale * e[0])} {axis.unit}" for word, e in known if e is not None]
    errors: dict[str, float] = {}  # tasks for the same quantity give one entry
    for task, predicted, true in _compared(columns):
        residuals = task.errors(predicted, true) if task.joint_error else task.residuals(predicted, true)
        for shown, value in zip([task.joint_error] if task.joint_error else task.axes, residuals[0], strict=True):
            errors[f"{'' if task.joint_error else 'Δ'}{shown.symbol} = {{}} {shown.unit}"] = float(value)
    loss = _finite(columns.get(LOSS))
    texts = [text.format(number(value)) for text, value in errors.items() if np.isfinite(value)]
    texts += [] if loss is None else [f"loss = {number(loss[0])}"]
    return ", ".join(words) + ("\nprediction:  " + ",  ".join(texts) if texts else "")


def badness(columns: Mapping[str, NDArray]) -> Array:
    """By what the worst of E events are found, (E,): the loss where there is one, else the errors of all tasks.

    Errors are added in units of the sample's resolution (68 % quantile); NaN where an event has no truth.

    Raises:
        ValueError: Neither is there.
    """
    if LOSS in columns:
        return np.asarray(columns[LOSS], dtype=np.float64)
    errors = [np.abs(task.errors(predicted, true).numpy()) for task, predicted, true in _compared(columns)]
    if not errors:
        raise ValueError(f"no event can be called worst: no branch {LOSS!r}, and no prediction beside its truth")
    return sum(np.mean(e / np.nanquantile(e, QUANTILE, axis=0).clip(1e-12), axis=1) for e in errors)


def _compared(columns: Mapping[str, NDArray]) -> Iterator[tuple[type[Task], torch.Tensor, torch.Tensor]]:
    """Tasks that have truth and prediction, both (E, width); E = 1 for the branches of a single event."""
    for name, task in TASKS.items():
        branches = PREDICTED + TARGETS[name], TARGETS[name]
        if task.axes and all(branch in columns for branch in branches):
            arrays = (np.asarray(columns[branch], dtype=np.float64).reshape(-1, task.width) for branch in branches)
            yield task, *map(torch.from_numpy, arrays)  # type: ignore[misc]


def _finite(values: NDArray | None) -> Array | None:
    """(width,) values, None where one is missing."""
    array = np.atleast_1d(np.asarray(np.nan if values is None else values, dtype=np.float64))
    return array if np.isfinite(array).all() else None
