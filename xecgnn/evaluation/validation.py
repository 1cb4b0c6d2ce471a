"""Predictions against truth, another run, another reconstruction: one PDF, one JSON, one Markdown table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from xecgnn.evaluation.measures import (
    GAUSSIAN_TAIL,
    Measure,
    measure_accuracy,
    measure_pull,
    measure_residuals,
    measure_values,
)
from xecgnn.evaluation.pages import write_pages
from xecgnn.evaluation.profiles import build_methods, usable_events
from xecgnn.evaluation.sample import PredictedSample, load_sample
from xecgnn.evaluation.statistics import TAIL
from xecgnn.evaluation.validation_plots import pull_axes, pulls, validation_pages
from xecgnn.names import TREE
from xecgnn.output import check_new, completed
from xecgnn.tasks import Task

__all__ = ["Validation", "validate"]

Measures = Mapping[str, Measure]


class Validation(NamedTuple):
    """What `validate` leaves: the tables as Markdown, and the files it wrote."""

    text: str
    files: list[Path]


class TaskMeasures(NamedTuple):
    """The numbers of one task, {title: {key: measure}} each; `events` entered `residuals`."""

    events: int
    values: Mapping[str, Measures]
    residuals: Mapping[str, Measures]
    differences: Mapping[str, Measures]  # of further predictions to the first, without truth
    pulls: Mapping[str, Mapping[str, Measures]]  # {title: {quantity: ...}}


def validate(
    path: Path,
    folder: Path,
    *,
    compare: Path | None = None,
    reference: Sequence[str] = (),
    tree: str = TREE,
    overwrite: bool = False,
) -> Validation:
    """Write validation.pdf, validation.json and validation.md; arguments as `load_sample`.

    Raises:
        FileExistsError: one of them exists, without `overwrite`.
    """
    files = [folder / f"validation.{ending}" for ending in ("pdf", "json", "md")]
    check_new(*files, overwrite=overwrite, option="--output-dir")
    sample = load_sample(path, compare, reference, tree)
    measured = {name: measure(sample, task) for name, task in sample.tasks.items()}
    text = "\n".join(_markdown(sample, measured)) + "\n"
    pages, numbers, table = files
    with completed(numbers) as numbers_part, completed(table) as table_part:
        numbers_part.write_text(json.dumps(_facts(sample, measured), indent=1) + "\n", encoding="utf-8")
        table_part.write_text(text, encoding="utf-8")
        write_pages(pages, validation_pages(sample))
    return Validation(text, files)


def measure(sample: PredictedSample, task: Task) -> TaskMeasures:
    """All numbers of a task. Residuals are those of the events for which truth and every prediction are known."""
    predictions = sample.predictions[task.name]
    truth = sample.truth.get(task.branch)
    values: dict[str, Measures] = {}
    differences: dict[str, Measures] = {}
    for title, predicted in predictions.items() if task.axes else ():
        finite = np.isfinite(predicted).all(1)
        values[title] = measure_values(task, task.shown(torch.tensor(predicted[finite])).numpy())
        first = next(iter(predictions.values()))
        both = finite & np.isfinite(first).all(1)
        if predicted is not first and both.any():
            (method,) = build_methods(task, {title: predicted[both]}, torch.tensor(first[both]))
            differences[title] = measure_residuals(task, method)
    known = np.zeros(sample.facts["events"], dtype=bool)
    if truth is not None and predictions:
        known = usable_events(task, predictions, truth)
    if truth is None or not known.any():
        return TaskMeasures(0, values, {}, differences, {})
    pulled = {}
    for title, sigma in sample.sigmas[task.name].items():
        columns = zip(pull_axes(task), pulls(task, predictions[title], sigma, truth)[0].T, strict=True)
        pulled[title] = {axis.name: measure_pull(column) for axis, column in columns if len(column)}
    residuals = _measure_residuals(task, {title: v[known] for title, v in predictions.items()}, truth[known])
    return TaskMeasures(int(known.sum()), values, residuals, differences, pulled)


def _measure_residuals(task: Task, predictions: Mapping[str, NDArray], truth: NDArray) -> dict[str, Measures]:
    """Of usable events."""
    target = torch.tensor(truth).reshape(len(truth), -1).double()
    if not task.axes:
        true = target[:, 0].long().numpy()
        return {title: measure_accuracy(values, true) for title, values in predictions.items()}
    return {m.title: measure_residuals(task, m) for m in build_methods(task, predictions, target)}


def _markdown(sample: PredictedSample, measured: Mapping[str, TaskMeasures]) -> Iterator[str]:
    """The tables."""
    facts = sample.facts
    yield f"# {facts['input']}" + (f" and {facts['compared_with']}" if "compared_with" in facts else "")
    yield f"\n{facts['events']} events" + (
        f" in both files, of {facts['events_in_input']}" if "compared_with" in facts else ""
    )
    for file, number in facts["duplicates"].items():
        if number:
            yield f"\n**{number} events (run, event) are in {file} more than once.**"
    yield (
        f"\n± is half of a 68 % interval. Tail: share of residuals beyond {TAIL:g} times their 68 % width, "
        f"{GAUSSIAN_TAIL:.3f} % for a Gaussian. The error of a difference is that of a comparison event by event."
    )
    for name, numbers in measured.items():
        invalid = {title: n for title, n in facts["invalid"].get(name, {}).items() if n}
        yield f"\n## {name}" + ("" if numbers.residuals else " (no event with truth)")
        for title, n in invalid.items():
            yield f"\n{title}: no valid prediction in {n} events."
        if numbers.residuals:
            yield from _table(f"predicted - true, {numbers.events} events", numbers.residuals, compare=True)
        if numbers.pulls:
            rows = [["pull", "method", "mean (0)", "width (1)", "within 1 sigma (68.3 %)", "within 2 sigma (95.4 %)"]]
            for title, columns in numbers.pulls.items():
                rows += [[key, title, *map(_text, found.values())] for key, found in columns.items()]
            yield from _rows(rows)
        if numbers.differences:
            yield from _table(f"difference to {next(iter(numbers.values))}", numbers.differences)
        if numbers.values:
            yield from _table("predictions", numbers.values)


def _table(head: str, columns: Mapping[str, Measures], compare: bool = False) -> Iterator[str]:
    """A row per quantity, a column per method; with `compare` also the difference of each to the first."""
    first, *others = columns
    rows = [[head, *columns, *(f"{title} - {first}" for title in others if compare)]]
    for key, entry in columns[first].items():
        cells = [_text(measures[key]) for measures in columns.values()]
        cells += [_with_error(*columns[title][key].minus(entry)) for title in others if compare]
        rows.append([f"{key} [{entry.unit}]" if entry.unit else key, *cells])
    yield from _rows(rows)


def _rows(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A Markdown table that reads well as plain text too."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    yield ""
    for number, row in enumerate(rows):
        yield "| " + " | ".join(map(str.ljust, row, widths)) + " |"
        if number == 0:
            yield "|" + "|".join("-" * (width + 2) for width in widths) + "|"


def _text(measure: Measure) -> str:
    return _with_error(measure.value, measure.error)


def _with_error(value: float, error: float) -> str:
    """Two digits of the error, and the value to the same place."""
    if not np.isfinite(error) or error <= 0:
        return f"{value:.4g}"
    digits = max(0, 1 - int(np.floor(np.log10(error))))
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def _facts(sample: PredictedSample, measured: Mapping[str, TaskMeasures]) -> dict[str, Any]:
    """Everything for JSON, None in place of NaN; units are those of the tables."""

    def plain(entry: Any) -> Any:
        if isinstance(entry, Measure):
            numbers = {"value": entry.value, "low": entry.low, "high": entry.high}
            return {**{k: float(v) if np.isfinite(v) else None for k, v in numbers.items()}, "unit": entry.unit}
        return {key: plain(value) for key, value in entry.items()}

    tasks = {}
    for name, numbers in measured.items():
        groups = {key: plain(group) for key, group in numbers._asdict().items() if isinstance(group, Mapping) and group}
        tasks[name] = {"events": numbers.events, **groups}
    return {**sample.facts, "tail_widths": TAIL, "gaussian_tail_percent": GAUSSIAN_TAIL, "tasks": tasks}
