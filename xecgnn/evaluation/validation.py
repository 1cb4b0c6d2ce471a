"""Predictions against truth, another run, another reconstruction: one PDF, one JSON, one Markdown table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure

from xecgnn.estimate import TAIL, Estimate, mean, rms
from xecgnn.evaluation.artifacts import artifact, make
from xecgnn.evaluation.config import Style
from xecgnn.evaluation.measures import (
    GAUSSIAN_TAIL,
    Estimates,
    depths,
    measure,
    measure_pull,
    paired,
    pull_axes,
    pulls,
    usable_events,
)
from xecgnn.evaluation.pages.page import Content, text_pages
from xecgnn.evaluation.pages.signal import depth_pages
from xecgnn.evaluation.pages.validation import validation_pages
from xecgnn.evaluation.peak import NEAR, fit_peak, line_residuals
from xecgnn.evaluation.sample import PredictedSample, load_sample
from xecgnn.names import MODEL_HASH, TREE
from xecgnn.output import check_new
from xecgnn.provenance import made_by
from xecgnn.table import Table
from xecgnn.tasks.task import Task

__all__ = ["TaskMeasures", "Validation", "measure_sample", "validate"]

SHAPES = ("_rms", "_skew", "_tail")  # not told for each depth
NO = "–"  # no number


class TaskMeasures(NamedTuple):
    """The numbers of one task, {title: {key: estimate}} each; `events` entered `residuals`.

    `depths` has some of these for the events above and below w = 20 mm, `lines` core and tail of the signal's line for
    all and for these events, {part: {title: ...}}; {"failed": why} where there is no fit.
    """

    events: int
    values: Mapping[str, Estimates]
    residuals: Mapping[str, Estimates]
    differences: Mapping[str, Estimates]  # of further predictions to the first, without truth
    pulls: Mapping[str, Mapping[str, Estimates]]  # {title: {quantity: ...}}
    depths: Mapping[str, Mapping[str, Estimates]]
    lines: Mapping[str, Mapping[str, Mapping[str, Estimate | str]]]


class Validation:
    """A sample of predictions with its numbers: what a validation is made of.

    Attributes:
        measures: {task: its numbers}.
        sections: paragraphs and tables.
        text: these as Markdown.
    """

    def __init__(self, sample: PredictedSample) -> None:
        self.sample = sample
        sample.facts["made_by"] = made_by()

    @cached_property
    def measures(self) -> dict[str, TaskMeasures]:
        return {name: measure_sample(self.sample, task) for name, task in self.sample.tasks.items()}

    @cached_property
    def sections(self) -> list[str | Table]:
        return list(_sections(self.sample, self.measures))

    @cached_property
    def text(self) -> str:
        texts = (part.markdown() if isinstance(part, Table) else part for part in self.sections)
        return "\n\n".join(texts) + "\n"


def validate(
    path: Path,
    folder: Path,
    *,
    compare: Path | None = None,
    reference: Sequence[str] = (),
    tree: str = TREE,
    overwrite: bool = False,
    style: Style = "screen",
    panels: bool = False,
) -> tuple[str, list[Path]]:
    """Write validation.pdf, validation.json and validation.md; arguments as `load_sample` and `make`.

    Returns:
        The tables as Markdown, and the files.

    Raises:
        FileExistsError: one of them exists, without `overwrite`.
    """
    files = [folder / f"validation.{ending}" for ending in ("pdf", "json", "md")]
    check_new(*files, overwrite=overwrite, option="--output-dir")
    found = Validation(load_sample(path, compare, reference, tree))
    return found.text, make(found, folder, style, panels)


@artifact("validation", "measures")
def _files(found: Validation) -> Iterator[tuple[str, Content]]:
    yield "validation.pdf", _pages(found)
    yield "validation.json", _json(found.sample, found.measures)
    yield "validation.md", found.text


def _pages(found: Validation) -> Iterator[Figure]:
    """The tables, and what is drawn."""
    blocks = (part if isinstance(part, Table) else part.strip("#* ") for part in found.sections)
    yield from text_pages("Numbers", found.sample.facts["input"], blocks)
    parts = {name: {"all": m.residuals, **m.depths} for name, m in found.measures.items() if m.depths}
    yield from depth_pages(found.sample.tasks, parts, found.sample.facts["input"])
    yield from validation_pages(found.sample)


def measure_sample(sample: PredictedSample, task: Task) -> TaskMeasures:
    """All numbers of a task. Residuals are those of the events for which truth and every prediction are known."""
    predictions, truth = sample.predictions[task.name], sample.truth.get(task.branch)
    values: dict[str, Estimates] = {}
    for title, predicted in predictions.items() if task.axes else ():
        shown, values[title] = task.shown(torch.tensor(predicted[np.isfinite(predicted).all(1)])).numpy(), {}
        for axis, column in zip(task.axes, shown.T, strict=True):
            values[title] |= {f"{axis.name}_mean": mean(column, axis.unit), f"{axis.name}_std": rms(column, axis.unit)}
    differences: dict[str, Estimates] = {}
    for title, first, other in paired(task, predictions) if task.axes else ():
        differences |= measure(task, {title: other}, first)
    if truth is None or not predictions or not (known := usable_events(task, predictions, truth)).any():
        return TaskMeasures(0, values, {}, differences, {}, {}, {})
    pulled = {}
    for title, sigma in sample.sigmas[task.name].items():
        columns = zip(pull_axes(task), pulls(task, predictions[title], sigma, truth)[0].T, strict=True)
        pulled[title] = {axis.name: measure_pull(column) for axis, column in columns if len(column)}
    errors = measure(task, {title: found[known] for title, found in predictions.items()}, truth[known])
    by_depth: dict[str, dict[str, Estimates]] = {}
    lines: dict[str, dict[str, Mapping[str, Estimate | str]]] = {}
    for part, rows in {"all": known, **depths(sample.truth)}.items():
        chosen, target = {title: p[known & rows] for title, p in predictions.items()}, truth[known & rows]
        for title, residuals in line_residuals(task, chosen, target).items():
            fit = fit_peak(residuals, task.axes[0].unit)
            numbers = {"failed": fit} if isinstance(fit, str) else fit.numbers(task.axes[0].name, task.line or 0)
            lines.setdefault(part, {})[title] = numbers
        if part != "all" and len(target):
            for title, found in measure(task, chosen, target).items():
                told = {key: estimate for key, estimate in found.items() if not key.endswith(SHAPES)}
                by_depth.setdefault(part, {})[title] = told
    return TaskMeasures(int(known.sum()), values, errors, differences, pulled, by_depth, lines)


def _sections(sample: PredictedSample, measured: Mapping[str, TaskMeasures]) -> Iterator[str | Table]:
    """Paragraphs and tables."""
    facts = sample.facts
    both = "compared_with" in facts
    yield f"# {facts['input']}" + (f" and {facts['compared_with']}" if both else "")
    yield f"{facts['events']} events" + (f" in both files, of {facts['events_in_input']}" if both else "")
    for file, number in facts["duplicates"].items():
        if number:
            yield f"**{number} events (run, event) are in {file} more than once.**"
    yield (
        f"± is half of a 68 % interval. Tail: share of residuals beyond {TAIL:g} times their 68 % width, "
        f"{GAUSSIAN_TAIL:.3f} % for a Gaussian. The error of a difference is that of a comparison event by event."
    )
    for name, numbers in measured.items():
        yield f"## {name}" + ("" if numbers.residuals else " (no event with truth)")
        for title, invalid in facts["invalid"].get(name, {}).items():
            if invalid:
                yield f"{title}: no valid prediction in {invalid} events."
        if numbers.residuals:
            yield _table(f"predicted - true, {numbers.events} events", numbers.residuals, numbers.differences)
        if numbers.depths:
            yield _table("depth of the first interaction", _joined(numbers.depths))
        if numbers.lines:
            line = sample.tasks[name].line
            yield f"Events within {NEAR:g} MeV of {line} MeV: Gaussian core and exponential tail of predicted - true."
            yield _table("line of the signal", _joined(numbers.lines))
        if numbers.pulls:
            head = ["pull", "method", "mean (0)", "width (1)", "within 1 sigma (68.3 %)", "within 2 sigma (95.4 %)"]
            table = Table(head)
            for title, columns in numbers.pulls.items():
                for key, found in columns.items():
                    table.add(key, title, *found.values())
            yield table
        if numbers.differences:
            yield _table(f"difference to {next(iter(numbers.values))}", numbers.differences)
        if numbers.values:
            yield _table("predictions", numbers.values)
    facts_of_it = {"model_hash": facts[MODEL_HASH] or "unknown", "input_sha256": facts["input_sha256"]}
    yield "## Made by"
    yield Table(["", "value"], list((facts_of_it | facts["made_by"]).items()))


Cells = Mapping[str, Mapping[str, Estimate | str]]


def _joined(parts: Mapping[str, Cells]) -> Cells:
    """{title: {key and part: estimate}} of all parts, after their numbers of events."""
    joined: dict[str, dict[str, Estimate | str]] = {}
    cells: dict[tuple[str, str], dict[str, Estimate | str]] = {}
    for part, columns in parts.items():
        for title, found in columns.items():
            counts = [str(cell.n) for cell in found.values() if isinstance(cell, Estimate)]
            cells[part, title] = {"events": (counts or [NO])[0], **found}
    for key in dict.fromkeys(key for found in cells.values() for key in found):
        for (part, title), found in cells.items():
            joined.setdefault(title, {})[f"{key}, {part}"] = found.get(key, NO)
    return joined


def _table(head: str, columns: Cells, others: Iterable[str] = ()) -> Table:
    """A row per quantity, a column per method; of `others` also the difference to the first."""
    first = next(iter(columns))
    table = Table([head, *columns, *(f"{title} - {first}" for title in others)])
    units = {key: cell.unit if isinstance(cell, Estimate) else "" for f in columns.values() for key, cell in f.items()}
    for key, unit in units.items():
        cells = [found.get(key, NO) for found in columns.values()]
        cells += [columns[title][key].minus(columns[first][key]) for title in others]  # type: ignore[union-attr, arg-type]
        table.add(f"{key} [{unit}]" if unit else key, *cells)
    return table


def _json(sample: PredictedSample, measured: Mapping[str, TaskMeasures]) -> str:
    """Everything; units are those of the tables."""
    tasks = {name: {k: v for k, v in m._asdict().items() if v or k == "events"} for name, m in measured.items()}
    facts = {**sample.facts, "tail_widths": TAIL, "gaussian_tail_percent": GAUSSIAN_TAIL, "tasks": tasks}
    return json.dumps(facts, indent=1, default=Estimate.as_dict) + "\n"
