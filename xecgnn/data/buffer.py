"""A fixed number of events in memory: filled in portions, emptied in any order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from xecgnn.arrays import Rows
from xecgnn.data.batch import Readings
from xecgnn.names import FEATURES, TARGETS
from xecgnn.schema import Column

__all__ = ["EventBuffer"]


class EventBuffer:
    """Rows of events; ``reserve`` and ``fill`` use free rows, ``take`` frees them again.

    Readings lie interleaved as (capacity, num_sensors, 2), the layout of ``x``: taking an event is a plain copy.

    Args:
        capacity: Number of events.
        num_sensors: S.
        columns: Scalar and vector columns kept beside the readings.
        targets: Task -> column that is its target.
    """

    def __init__(
        self, capacity: int, num_sensors: int, columns: Sequence[Column], targets: Mapping[str, str] = TARGETS
    ) -> None:
        self._targets = targets
        self._x = np.empty((capacity, num_sensors, len(FEATURES)), np.float32)
        self._types = {column.name: column.dtype for column in columns}
        self._columns: dict[str, np.ndarray] = {}
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
            return
        if name not in self._columns:  # the files alone know the width and type of one that is declared without
            shape = len(self._x), *values.shape[1:]
            self._columns[name] = np.empty(shape, self._types[name] or values.dtype.newbyteorder("="))
        self._columns[name][rows] = values

    def take(self, rows: Rows) -> Readings:
        """Copy events out and free their rows."""
        columns = {name: values[rows] for name, values in self._columns.items()}
        batch = Readings.with_labels(self._x[rows], columns, self._targets)
        self.free(rows)
        return batch

    def free(self, rows: Rows) -> None:
        """Give rows back unread."""
        self._free = np.concatenate([self._free, rows])
