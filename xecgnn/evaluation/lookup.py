"""Find single events in files, with the prediction for each: by entry, by run and event, or the worst ones."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xecgnn.data.config import ReaderConfig
from xecgnn.data.files import Paths, find_files
from xecgnn.data.reader import TreeReader
from xecgnn.evaluation.display.layers import EXTRA, valid_readings
from xecgnn.evaluation.display.photon import LOSS, PREDICTED, badness
from xecgnn.names import BRANCHES, FEATURES, IDENTIFIERS, NPHO, RELATIVE_TIME, SENSOR, TARGETS

__all__ = ["EventLookup"]

log = logging.getLogger(__name__)

Columns = dict[str, NDArray]  # of one event: () for scalars, else (width,)

TRUTH = tuple(name for name, branch in BRANCHES.items() if branch.width != SENSOR and name not in IDENTIFIERS)
JUDGED = (*(PREDICTED + branch for branch in TARGETS.values()), LOSS)  # what a network says of an event


class EventLookup:
    """Events of data files, each with what a file of predictions has for its run and event.

    Args:
        data: files, globs or directories.
        num_sensors: that the data must have.
        config: names of tree and branches, angle unit.
        predictions: file with `run`, `event`, and any of `pred_<truth branch>`, `loss`, and branches of `layers.EXTRA`.

    Raises:
        FileNotFoundError, BadFileError: a file is missing or cannot be read.
        ValueError: the predictions do not say for which run and event they are.
    """

    def __init__(
        self, data: Paths, num_sensors: int, config: ReaderConfig | None = None, predictions: Path | None = None
    ) -> None:
        self.files, self.num_sensors, self.config = find_files(data), num_sensors, config or ReaderConfig()
        self.predictions, self._keys = predictions, dict[Path, NDArray[np.int64]]()
        self._predicted = self._event_keys(predictions) if predictions else np.empty(0, dtype=np.int64)
        self._name = str(self.files[0]) if len(self.files) == 1 else f"{len(self.files)} files"

    def by_entry(self, entry: int) -> Columns:
        """The event at an entry, counted over all files from 0."""
        total = 0
        for path in self.files:
            with TreeReader(path, self.config) as reader:
                if total <= entry < total + reader.num_entries:
                    return self._read(reader, entry - total)
                total += reader.num_entries
        raise ValueError(f"no event {entry}: {self._name} has {total} events, 0 to {total - 1}")

    def by_id(self, run: int, event: int) -> Columns:
        """The first event with this run and event number."""
        runs: set[int] = set()
        for path in self.files:
            keys = self._event_keys(path)
            for row in np.flatnonzero(keys == (run << 32) + event):
                with TreeReader(path, self.config) as reader:
                    return self._read(reader, int(row))
            runs |= set((keys >> 32).tolist())
        known = ", ".join(map(str, sorted(runs)[:5])) + (", ..." if len(runs) > 5 else "")
        raise ValueError(f"no run {run}, event {event} in {self._name}; runs: {known}")

    def worst(self, count: int) -> list[Columns]:
        """The `count` events of the predictions with the largest `badness`, the worst first."""
        if self.predictions is None:
            raise ValueError("the worst events are found in predictions, and none are given")
        with TreeReader(self.predictions, self.config) as reader:
            names = reader.layout()[0].keys() & {*JUDGED, *TRUTH}
            values = badness(reader.load(names))
        order = np.argsort(-values, kind="stable")  # NaN comes last
        chosen = order[np.isfinite(values[order])][:count]
        if not len(chosen):
            raise ValueError(f"{self.predictions}: no event has a finite loss or error")
        return [self.by_id(*divmod(int(key), 1 << 32)) for key in self._predicted[chosen]]

    def _read(self, reader: TreeReader, entry: int) -> Columns:
        """One event of an open data file, with the prediction for it."""
        present = reader.scan([NPHO], self.num_sensors).columns
        reader.scan([name for name in FEATURES if name in present], self.num_sensors)
        names = [name for name in (*FEATURES, *TRUTH, *IDENTIFIERS) if name in present]
        columns = {name: reader.read_column(name, entry, entry + 1)[0] for name in names}
        columns.setdefault(RELATIVE_TIME, np.full(self.num_sensors, np.nan))
        columns |= self._added(reader, entry, JUDGED) | self._prediction(columns)
        event = ", ".join(f"{name} {columns[name]}" for name in IDENTIFIERS if name in columns) or f"entry {entry}"
        for name in FEATURES:
            if not np.isfinite(valid_readings(columns[name])).any():
                log.warning("%s, %s: no sensor has a valid %s", reader.path, event, name)
        if not any(name in columns and np.isfinite(columns[name]).all() for name in TARGETS.values()):
            log.warning("%s, %s: no truth", reader.path, event)
        return columns

    def _prediction(self, columns: Mapping[str, NDArray]) -> Columns:
        """What the predictions have for an event, truth included where the event lacks it."""
        if self.predictions is None:
            return {}
        if not all(name in columns for name in IDENTIFIERS):
            log.warning("%s is left out: the data do not say which run and event they are", self.predictions)
            return {}
        run, event = (int(columns[name]) for name in IDENTIFIERS)
        for row in np.flatnonzero(self._predicted == (run << 32) + event):
            with TreeReader(self.predictions, self.config) as reader:
                return self._added(reader, int(row), (*JUDGED, *(name for name in TRUTH if name not in columns)))
        log.warning("%s has no prediction for run %d, event %d", self.predictions, run, event)
        return {}

    def _added(self, reader: TreeReader, entry: int, names: tuple[str, ...]) -> Columns:
        """One entry of those branches that the file has, and of those per sensor."""
        layout, _ = reader.layout()
        for name in EXTRA:
            if name in layout and layout[name][1] != self.num_sensors:
                found = f"branch {name!r} has {layout[name][1]} sensors"
                raise ValueError(f"{reader.path}: {found}, the detector has {self.num_sensors}")
        columns = reader.load((name for name in (*names, *EXTRA) if name in layout), entry, entry + 1)
        return {name: values[0] for name, values in columns.items()}

    def _event_keys(self, path: Path) -> NDArray[np.int64]:
        """`event_keys` (E,) of a file."""
        if path not in self._keys:
            with TreeReader(path, self.config) as reader:
                self._keys[path] = reader.event_keys()
        if not len(self._keys[path]):
            raise ValueError(f"{path}: no branches {' and '.join(IDENTIFIERS)} to find an event by")
        return self._keys[path]
