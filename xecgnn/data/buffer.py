"""A fixed number of events in memory: filled in portions, emptied in any order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from xecgnn.data.graph import face_runs, labels
from xecgnn.detector import Detector
from xecgnn.names import FEATURES, SCHEMA

__all__ = ["EventBuffer", "Parts"]

Parts: TypeAlias = tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]  # arguments of assemble_batch
Rows: TypeAlias = npt.NDArray[np.intp]


class EventBuffer:
    """Rows of events; ``reserve`` and ``fill`` use free rows, ``take`` frees them again.

    Readings lie interleaved as (capacity, num_sensors, 2), the layout of ``x``: taking an event is a plain copy.

    Args:
        capacity: Number of events.
        detector: Whose faces ``take`` cuts the readings into.
        columns: Scalar and vector columns kept beside the readings.
    """

    def __init__(self, capacity: int, detector: Detector, columns: Sequence[str]) -> None:
        self._x = np.empty((capacity, detector.num_sensors, len(FEATURES)), np.float32)
        self._columns = {name: _empty(name, capacity) for name in columns}
        self._runs = face_runs(detector)
        self._free = np.arange(capacity)

    @property
    def room(self) -> int:
        """Number of free rows."""
        return len(self._free)

    def reserve(self, count: int) -> Rows:
        """Take free rows, to be filled column by column. The caller sees to it that there is room."""
        rows, self._free = self._free[:count], self._free[count:]
        return rows

    def fill(self, rows: Rows, name: str, values: np.ndarray) -> None:
        """Store a column, of any number type and byte order, in these rows."""
        if name in FEATURES:
            self._x[rows, :, FEATURES.index(name)] = values
        else:
            self._columns[name][rows] = values

    def take(self, rows: Rows) -> Parts:
        """Copy events out and free their rows: {face: x (B, N, 2)}, {task: target}, {name: identification}."""
        features = {}
        for face, runs in self._runs.items():
            cuts = [self._x[rows, run] for run in runs]
            features[face] = torch.from_numpy(cuts[0] if len(cuts) == 1 else np.concatenate(cuts, axis=1))
        self.free(rows)
        return features, *labels({name: values[rows] for name, values in self._columns.items()})

    def free(self, rows: Rows) -> None:
        """Give rows back unread."""
        self._free = np.concatenate([self._free, rows])


def _empty(name: str, capacity: int) -> np.ndarray:
    column = SCHEMA[name]
    return np.empty(capacity if column.width == 1 else (capacity, column.width), column.dtype)
