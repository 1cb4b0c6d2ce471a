"""What xecgnn-validate looks at: predictions, sigmas and truth of files, matched event by event."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xecgnn.data.config import ReaderConfig
from xecgnn.data.events import Events
from xecgnn.data.reader import TreeReader
from xecgnn.evaluation.limits import limit_predictions
from xecgnn.evaluation.measures import usable_events
from xecgnn.evaluation.predictions import NETWORK, baseline_branch
from xecgnn.names import IDENTIFIERS, MODEL_HASH, TARGETS, TREE, is_valid
from xecgnn.provenance import file_hash
from xecgnn.schema import KINDS, prediction_of, sigma_of
from xecgnn.tasks.registry import named_tasks
from xecgnn.tasks.task import Task

__all__ = ["PredictedSample", "drawable_tasks", "load_sample", "read_predictions"]

log = logging.getLogger(__name__)


class PredictedSample:
    """E events: the predictions of one file, of a second one, and of other reconstructions, beside the truth.

    Attributes:
        events: all columns of the file but readings.
        tasks: those that the first file has predictions for.
        predictions: {task: {title: (E, width)}} in physical units, the file itself first; classes as (E, classes) of
            0 and 1. Invalid values are NaN; a title without any valid value is left out.
        sigmas: {task: {title: (E, width)}} where predicted.
        truth: {branch: (E,) or (E, width)}.
        facts: numbers of events, of duplicates, of invalid predictions.
    """

    def __init__(self, events: Events) -> None:
        self.events = events
        self.tasks = named_tasks([name for name, branch in TARGETS.items() if prediction_of(branch) in events])
        self.predictions: dict[str, dict[str, np.ndarray]] = {name: {} for name in self.tasks}
        self.sigmas: dict[str, dict[str, np.ndarray]] = {name: {} for name in self.tasks}
        self.truth = {name: events[name] for name in events.fields if events.schema[name].kind == "truth"}
        self.facts: dict[str, Any] = {"events": len(events), "invalid": {}}

    def add(self, title: str, task: Task, values: np.ndarray, sigma: np.ndarray | None = None) -> None:
        """Add predictions of a task, as columns hold them."""
        values = values.reshape(len(values), -1).astype(np.float64)
        if values.shape[1] != task.width:
            raise ValueError(f"{title}: {values.shape[1]} values predicted for {task.branch}, expected {task.width}")
        values = np.where(is_valid(values), values, np.nan)  # NaN stays NaN
        if not task.axes:
            known = (values >= 0) & (values < task.num_outputs)
            values = np.where(known, np.arange(task.num_outputs) == values, np.nan)
        invalid = int((~np.isfinite(values).all(1)).sum())
        if invalid:
            where = f"{invalid} of {len(values)} events" + (": left out" if invalid == len(values) else "")
            log.warning("%s: no valid prediction of %s in %s", title, task.branch, where)
        self.facts["invalid"].setdefault(task.name, {})[title] = invalid
        if invalid < len(values):
            self.predictions[task.name][title] = values
            if sigma is not None:
                self.sigmas[task.name][title] = sigma.reshape(len(values), -1).astype(np.float64)


def load_sample(
    path: Path, compare: Path | None = None, reference: Sequence[str] = (), tree: str = TREE
) -> PredictedSample:
    """Read files that `xecgnn-infer` or a training wrote, with the baselines and limits that are in the first.

    Args:
        path: the file.
        compare: a second one; only events (run, event) that both have are kept, the first of each where it is repeated.
        reference: `TRUTH=BRANCH` for a branch of `path` with another reconstruction of a truth branch, in its unit; or
            a prefix that makes such branches of the names of truth branches.
        tree: name of the tree.

    Raises:
        FileNotFoundError, ValueError: no such file, unreadable, without predictions or without common events.
    """
    events = _read(path, tree)
    references = _references(reference, events, path)
    facts: dict[str, Any] = {"input": str(path), "events_in_input": len(events)}
    with TreeReader(path, ReaderConfig(tree=tree)) as reader:
        facts |= {"input_sha256": file_hash(path), "model_hash": reader.text(MODEL_HASH)}
    facts["duplicates"] = {str(path): _duplicates(events)}
    files = {NETWORK: events}
    if compare is not None:
        if compare.resolve() == path.resolve():
            raise ValueError(f"{path}: compared with itself")
        other = _read(compare, tree)
        facts["duplicates"] |= {str(compare): _duplicates(other)}
        facts["compared_with"] = str(compare)
        events, other = _matched(events, other, path, compare)
        first, second = (file.stem.removeprefix("validation_results_") for file in (path, compare))
        files = {first: events, second: other} if first != second else {str(path): events, str(compare): other}
    sample = PredictedSample(events)
    sample.facts |= facts
    for task in sample.tasks.values():
        for title, found in files.items():
            if prediction_of(task.branch) in found:
                sigma = found.columns.get(sigma_of(task.branch))
                sample.add(title, task, found[prediction_of(task.branch)], sigma)
            else:
                log.warning("%s has no pred_%s: not compared", title, task.branch)
        if task.branch in references:
            sample.add(references[task.branch], task, events[references[task.branch]])
        if sample.predictions[task.name]:  # else there is nothing for these to stand beside
            for title in task.baselines:
                if (branch := baseline_branch(title, task)) in events:
                    sample.add(title, task, events[branch])
            for title, values in limit_predictions(task, events):
                sample.add(title, task, values)
    return sample


def read_predictions(path: Path) -> PredictedSample:
    """The network's predictions at the end of a training, baselines and limits, as far as the file has them."""
    if not path.is_file():
        raise FileNotFoundError(f"no {path}: the training has not come to its end, there are no predictions to draw")
    return load_sample(path)


def drawable_tasks(sample: PredictedSample, tasks: Mapping[str, Task]) -> Iterator[tuple[str, Task]]:
    """Tasks with predictions and truth; there is a line in the log for each of the others."""
    path = sample.facts["input"]
    for name, task in tasks.items():
        if name not in sample.tasks:
            log.warning("%s has no %s: %s is not drawn", path, prediction_of(task.branch), name)
        elif NETWORK not in sample.predictions[name]:
            continue  # the log has it
        elif task.branch not in sample.truth:
            log.warning("%s has no %s: %s is not drawn", path, task.branch, name)
        else:
            if not usable_events(task, sample.predictions[name], sample.truth[task.branch]).any():
                log.warning("%s has no event with %s and all predictions of it", path, task.branch)
            yield name, task


def _read(path: Path, tree: str) -> Events:
    """All columns of a file but readings."""
    events = Events.read(path, [kind for kind in KINDS if kind != "reading"], tree=tree)
    known = [prediction_of(branch) for branch in TARGETS.values()]
    if not set(events.fields) & set(known):
        raise ValueError(f"{path}: no predictions ({', '.join(known)}); branches: {', '.join(events.fields)}")
    return events


def _matched(first: Events, second: Events, path: Path, compare: Path) -> tuple[Events, Events]:
    """The events (run, event) that both have, in the same order."""
    for file, events in ((path, first), (compare, second)):
        if not set(IDENTIFIERS) <= set(events.fields):
            fields = ", ".join(events.fields)
            raise ValueError(f"{file}: no run and event, by which events are matched; branches: {fields}")
    first, second = (events[~events.repeated()] for events in (first, second))
    rows, other_rows = first.match(second)
    if not len(rows):
        raise ValueError(f"{path} and {compare} have no event (run, event) in common")
    return first[rows], second[other_rows]


def _references(entries: Sequence[str], events: Events, path: Path) -> dict[str, str]:
    """{truth branch: branch of the other reconstruction}, from `TRUTH=BRANCH` and prefixes."""
    predicted = [branch for branch in TARGETS.values() if prediction_of(branch) in events]
    found: dict[str, str] = {}
    for entry in entries:
        branch, sign, name = entry.partition("=")
        pairs = {branch: name} if sign else {b: entry + b for b in predicted if entry + b in events}
        if not pairs:
            raise ValueError(f"reference {entry!r}: {path} has none of {', '.join(entry + b for b in predicted)}")
        for branch, name in pairs.items():
            if branch not in predicted:
                raise ValueError(f"reference {entry!r}: {branch!r} is not predicted; predicted: {', '.join(predicted)}")
            if name not in events:
                fields = ", ".join(events.fields)
                raise ValueError(f"reference {entry!r}: no branch {name!r} in {path}; branches: {fields}")
        found |= pairs
    return found


def _duplicates(events: Events) -> int | None:
    """Events (run, event) that are there again; None where they cannot be told apart."""
    return int(events.repeated().sum()) if set(IDENTIFIERS) <= set(events.fields) else None
