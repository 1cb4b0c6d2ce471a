"""Find single events in files, with the prediction for each: by entry, by run and event, or the worst ones."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xecgnn.data.config import ReaderConfig
from xecgnn.data.events import Events
from xecgnn.data.files import Paths, find_files
from xecgnn.data.match import event_pairs
from xecgnn.data.reader import TreeReader
from xecgnn.evaluation.display.layers import EXTRA, valid_readings
from xecgnn.evaluation.display.photon import badness
from xecgnn.names import FEATURES, IDENTIFIERS, NPHO, RELATIVE_TIME, TARGETS
from xecgnn.schema import KINDS

__all__ = ["EventLookup"]

log = logging.getLogger(__name__)

SAID = ("prediction", "sigma", "mask", "other")  # kinds of columns that a network adds to an event


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
        self._as_written = ReaderConfig(tree=self.config.tree)  # predictions: our files have angles in rad
        self.predictions, self._pairs = predictions, dict[Path, NDArray[np.int64]]()
        self._predicted = self._event_pairs(predictions) if predictions else np.empty((0, 2), dtype=np.int64)
        self._name = str(self.files[0]) if len(self.files) == 1 else f"{len(self.files)} files"

    def by_entry(self, entry: int) -> Events:
        """The event at an entry, counted over all files from 0: a table of one."""
        total = 0
        for path in self.files:
            with TreeReader(path, self.config) as reader:
                first, total = total, total + reader.num_entries
            if first <= entry < total:
                return self._event(path, entry - first)
        raise ValueError(f"no event {entry}: {self._name} has {total} events, 0 to {total - 1}")

    def by_id(self, run: int, event: int) -> Events:
        """The first event with this run and event number."""
        runs: set[int] = set()
        for path in self.files:
            pairs = self._event_pairs(path)
            for row in np.flatnonzero((pairs == (run, event)).all(1)):
                return self._event(path, int(row))
            runs |= set(pairs[:, 0].tolist())
        known = ", ".join(map(str, sorted(runs)[:5])) + (", ..." if len(runs) > 5 else "")
        raise ValueError(f"no run {run}, event {event} in {self._name}; runs: {known}")

    def worst(self, count: int) -> list[Events]:
        """The `count` events of the predictions with the largest `badness`, the worst first."""
        if self.predictions is None:
            raise ValueError("the worst events are found in predictions, and none are given")
        kinds = ("truth", "identifier", "prediction", "other")
        values = badness(Events.read(self.predictions, kinds, config=self._as_written))
        order = np.argsort(-values, kind="stable")  # NaN comes last
        chosen = order[np.isfinite(values[order])][:count]
        if not len(chosen):
            raise ValueError(f"{self.predictions}: no event has a finite loss or error")
        return [self.by_id(*pair) for pair in self._predicted[chosen].tolist()]

    def _event(self, path: Path, entry: int) -> Events:
        """One event of a data file, with the prediction for it."""
        event = self._read(path, entry, self.config, NPHO)
        if RELATIVE_TIME not in event:
            event = event.with_columns({RELATIVE_TIME: np.full((1, self.num_sensors), np.nan)})
        event = self._with_prediction(event)
        name = ", ".join(f"{name} {event[name][0]}" for name in IDENTIFIERS if name in event) or f"entry {entry}"
        for feature in FEATURES:
            if not np.isfinite(valid_readings(event[feature])).any():
                log.warning("%s, %s: no sensor has a valid %s", path, name, feature)
        if not any(branch in event and np.isfinite(event[branch]).all() for branch in TARGETS.values()):
            log.warning("%s, %s: no truth", path, name)
        return event

    def _with_prediction(self, event: Events) -> Events:
        """What the predictions have for an event is added, truth included where it lacks it."""
        if self.predictions is None:
            return event
        if not all(name in event for name in IDENTIFIERS):
            log.warning("%s is left out: the data do not say which run and event they are", self.predictions)
            return event
        pair = [int(event[name][0]) for name in IDENTIFIERS]
        for row in np.flatnonzero((self._predicted == pair).all(1)):
            found = self._read(self.predictions, int(row), self._as_written)
            added = [n for n in found.fields if n not in event or found.schema[n].kind in SAID]
            return event.with_columns({name: found[name] for name in added})
        log.warning("%s has no prediction for run %d, event %d", self.predictions, *pair)
        return event

    def _read(self, path: Path, entry: int, config: ReaderConfig, *needed: str) -> Events:
        """All columns of one event."""
        event = Events.read(path, [*needed, *KINDS], entry, entry + 1, num_sensors=self.num_sensors, config=config)
        for name in (*FEATURES, *EXTRA):
            if name in event and np.size(event[name]) != self.num_sensors:
                found = f"branch {name!r} has {np.size(event[name])} sensors"
                raise ValueError(f"{path}: {found}, the detector has {self.num_sensors}")
        return event

    def _event_pairs(self, path: Path) -> NDArray[np.int64]:
        """(run, event) of a file, (E, 2)."""
        if path not in self._pairs:
            with TreeReader(path, self.config) as reader:
                present = [name for name in IDENTIFIERS if name in reader.stored]
                if len(present) < len(IDENTIFIERS):
                    raise ValueError(f"{path}: no branches {' and '.join(IDENTIFIERS)} to find an event by")
                self._pairs[path] = event_pairs(reader.read(present))
        return self._pairs[path]
