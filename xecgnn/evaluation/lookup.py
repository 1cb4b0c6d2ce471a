"""Find single events in files, with the prediction for each: by entry, by run and event, or the worst ones."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xecgnn.data.config import ReaderConfig
from xecgnn.data.events import Events
from xecgnn.data.files import Paths, find_files
from xecgnn.data.match import event_pairs
from xecgnn.data.reader import TreeReader
from xecgnn.evaluation.display.layers import EXTRA, valid_readings
from xecgnn.evaluation.display.photon import PREDICTED, badness
from xecgnn.names import FEATURES, IDENTIFIERS, LOSS, NPHO, RELATIVE_TIME, SCHEMA, TARGETS

__all__ = ["EventLookup"]

log = logging.getLogger(__name__)

Columns = dict[str, NDArray]  # of one event: () for scalars, else (width,)

TRUTH = SCHEMA.names("truth")
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
        self.predictions, self._pairs = predictions, dict[Path, NDArray[np.int64]]()
        self._predicted = self._event_pairs(predictions) if predictions else np.empty((0, 2), dtype=np.int64)
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
            pairs = self._event_pairs(path)
            for row in np.flatnonzero((pairs == (run, event)).all(1)):
                with TreeReader(path, self.config) as reader:
                    return self._read(reader, int(row))
            runs |= set(pairs[:, 0].tolist())
        known = ", ".join(map(str, sorted(runs)[:5])) + (", ..." if len(runs) > 5 else "")
        raise ValueError(f"no run {run}, event {event} in {self._name}; runs: {known}")

    def worst(self, count: int) -> list[Columns]:
        """The `count` events of the predictions with the largest `badness`, the worst first."""
        if self.predictions is None:
            raise ValueError("the worst events are found in predictions, and none are given")
        with TreeReader(self.predictions, self._as_written) as reader:
            names = [name for name in reader.stored if name in {*JUDGED, *TRUTH}]
            values = badness(Events(reader.read(names)).columns)
        order = np.argsort(-values, kind="stable")  # NaN comes last
        chosen = order[np.isfinite(values[order])][:count]
        if not len(chosen):
            raise ValueError(f"{self.predictions}: no event has a finite loss or error")
        return [self.by_id(*pair) for pair in self._predicted[chosen].tolist()]

    def _read(self, reader: TreeReader, entry: int) -> Columns:
        """One event of an open data file, with the prediction for it."""
        present = reader.scan([NPHO], self.num_sensors).columns
        reader.scan([name for name in FEATURES if name in present], self.num_sensors)
        names = [name for name in (*FEATURES, *TRUTH, *IDENTIFIERS) if name in present]
        columns = _row(reader, names, entry)
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
        for row in np.flatnonzero((self._predicted == (run, event)).all(1)):
            with TreeReader(self.predictions, self._as_written) as reader:
                return self._added(reader, int(row), (*JUDGED, *(name for name in TRUTH if name not in columns)))
        log.warning("%s has no prediction for run %d, event %d", self.predictions, run, event)
        return {}

    def _added(self, reader: TreeReader, entry: int, names: tuple[str, ...]) -> Columns:
        """One entry of those branches that the file has, and of those per sensor."""
        for name in EXTRA:
            if name in reader.stored and reader.stored[name].width != self.num_sensors:
                found = f"branch {name!r} has {reader.stored[name].width} sensors"
                raise ValueError(f"{reader.path}: {found}, the detector has {self.num_sensors}")
        return _row(reader, [name for name in (*names, *EXTRA) if name in reader.stored], entry)

    @property
    def _as_written(self) -> ReaderConfig:
        """How predictions are read: our files have angles in rad."""
        return ReaderConfig(tree=self.config.tree)

    def _event_pairs(self, path: Path) -> NDArray[np.int64]:
        """(run, event) of a file, (E, 2)."""
        if path not in self._pairs:
            with TreeReader(path, self.config) as reader:
                present = [name for name in IDENTIFIERS if name in reader.stored]
                if len(present) < len(IDENTIFIERS):
                    raise ValueError(f"{path}: no branches {' and '.join(IDENTIFIERS)} to find an event by")
                self._pairs[path] = event_pairs(reader.read(present))
        return self._pairs[path]


def _row(reader: TreeReader, names: Iterable[str], entry: int) -> Columns:
    """Some columns of one event."""
    columns = reader.read(names, entry, entry + 1)
    return {name: values[0] for name, values in Events(columns).columns.items()} if columns else {}
