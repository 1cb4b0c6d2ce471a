"""Proof that a model file gives what the network gives: onnxruntime against PyTorch on the same events."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from xecgnn.data.batch import Readings
from xecgnn.data.events import Events
from xecgnn.export.raw_model import RawModel
from xecgnn.export.runtime import open_session
from xecgnn.names import INVALID_VALUE, NPHO, RELATIVE_TIME, is_valid
from xecgnn.table import Table

__all__ = ["BATCHES", "TOLERANCE", "damaged", "verify"]

BATCHES = (1, 2, 7)
TOLERANCE = 1e-4  # largest |difference| / spread of an output over the events
# Where an output hardly varies, its spread counts as this part of its size: below 1e-6 of a value is rounding.
SMALLEST_SPREAD = 0.01
REFERENCE_BATCH = 32

Array = NDArray[np.floating]
Outputs = dict[str, Array]  # (E, values)


def verify(path: str | Path, raw: RawModel, events: Events) -> str:
    """Compare a file with the network that it was written from, at each of BATCHES; returns the table.

    Args:
        path: the file.
        raw: the network, with the inputs and outputs of the file.
        events: at least two, as read; half of them are damaged first, see `damaged`.

    Raises:
        ValueError: an output differs by more than TOLERANCE, or is not finite; the text has the table.
    """
    if len(events) < 2:
        raise ValueError(f"a comparison needs at least two events, found {len(events)}")
    session = open_session(path)
    events = damaged(events)
    expected = _expected(raw, events)
    dead = ~is_valid(events.npho).any(1)  # an event like no other must not widen the spread
    spread = {name: _spread(values[~dead]) for name, values in expected.items()}
    deviations: dict[str, list[float]] = {name: [] for name in expected}
    for batch in BATCHES:
        found = _found(session, raw, events, batch)
        for name, ratios in deviations.items():
            ratios.append(_deviation(found[name], expected[name], spread[name]))
    table = Table(["output", "unit", "spread", *(f"batch {batch}" for batch in BATCHES)])
    for name, ratios in deviations.items():
        table.add(name, raw.units[name], f"{np.median(spread[name]):.3g}", *(f"{ratio:.1e}" for ratio in ratios))
    title = f"Largest |onnxruntime - PyTorch| / spread over {len(events)} events, {len(events) // 2} of them damaged:"
    text = f"{title}\n{table.text()}"
    wrong = [name for name, ratios in deviations.items() if not max(ratios) <= TOLERANCE]
    if wrong:
        raise ValueError(f"{', '.join(wrong)}: the file differs from the network by more than {TOLERANCE:g}\n{text}")
    return text


def damaged(events: Events) -> Events:
    """npho and relative_time with bad readings of every kind in every second event, all sensors of the second one."""
    rng = np.random.default_rng(0)
    npho, time = events.npho.copy(), events.relative_time.copy()
    for row in range(1, len(npho), 2):
        npho[row, rng.random(npho.shape[1]) < 0.03] = INVALID_VALUE  # dead: neither
        npho[row, rng.random(npho.shape[1]) < 0.01] = np.nan
        time[row, ~is_valid(npho[row])] = INVALID_VALUE
        time[row, rng.random(npho.shape[1]) < 0.01] = np.nan  # light without a time
        time[row, rng.random(npho.shape[1]) < 0.01] = INVALID_VALUE
    npho[1], time[1] = INVALID_VALUE, np.nan
    return Events({NPHO: npho, RELATIVE_TIME: time})


def _expected(raw: RawModel, events: Events) -> Outputs:
    parts = []
    with torch.inference_mode():
        for part in _batches(events, REFERENCE_BATCH):
            parts.append(raw.outputs(Readings.of(part).x))
    columns = zip(*parts, strict=True)
    return {name: _rows(torch.cat(p).numpy()) for name, p in zip(raw.output_names, columns, strict=True)}


def _found(session: Any, raw: RawModel, events: Events, batch: int) -> Outputs:
    parts = []
    for part in _batches(events, batch):
        readings = (torch.from_numpy(part[name].copy()) for name in (NPHO, RELATIVE_TIME))
        inputs = [values.numpy() for values in raw.inputs(*readings)]
        parts.append(session.run(list(raw.output_names), dict(zip(raw.input_names, inputs, strict=True))))
    columns = zip(*parts, strict=True)
    return {name: _rows(np.concatenate(p)) for name, p in zip(raw.output_names, columns, strict=True)}


def _spread(values: Array) -> Array:
    """Standard deviation of each value over the events (E, values)."""
    return np.maximum(values.std(0, dtype=np.float64), SMALLEST_SPREAD * np.abs(values).max(0))


def _deviation(found: Array, expected: Array, spread: Array) -> float:
    """Largest |difference| / spread; infinite where an output is not finite, or always 0 and now not."""
    difference = np.abs(found.astype(np.float64) - expected)
    ratio = np.divide(difference, spread, out=np.full_like(difference, np.inf), where=spread > 0)
    return float(np.where(np.isfinite(difference), np.where(difference == 0, 0, ratio), np.inf).max())


def _batches(events: Events, size: int) -> Iterator[Events]:
    return (events[start : start + size] for start in range(0, len(events), size))


def _rows(values: Array) -> Array:
    return values.reshape(len(values), -1)
