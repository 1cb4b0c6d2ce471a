"""Predictions against truth, another run, another reconstruction: one PDF, one JSON, one Markdown table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from xecgnn.estimate import TAIL, Estimate, mean, rms
from xecgnn.evaluation.artifacts import artifact, make
from xecgnn.evaluation.config import Style
from xecgnn.evaluation.measures import (
    GAUSSIAN_TAIL,
    Estimates,
    measure,
    measure_pull,
    pull_axes,
    pulls,
    usable_events,
)
from xecgnn.evaluation.pages.page import Content
from xecgnn.evaluation.pages.validation import validation_pages
from xecgnn.evaluation.sample import PredictedSample, load_sample
from xecgnn.names import MODEL_HASH, TREE
from xecgnn.output import check_new
from xecgnn.provenance import made_by
from xecgnn.table import Table
from xecgnn.tasks.task import Task

__all__ = ["TaskMeasures", "Validation", "measure_sample", "validate"]


class TaskMeasures(NamedTuple):
    """The numbers of one task, {title: {key: estimate}} each; `events` entered `residuals`."""

    events: int
    values: Mapping[str, Estimates]
    residuals: Mapping[str, Estimates]
    differences: Mapping[str, Estimates]  # of further predictions to the first, without truth
    pulls: Mapping[str, Mapping[str, Estimates]]  # {title: {quantity: ...}}


class Validation:
    """A sample of predictions with its numbers: what a validation is made of.

    Attributes:
        measures: {task: its numbers}.
        text: the tables as Markdown.
    """

    def __init__(self, sample: PredictedSample) -> None:
        self.sample = sample
        sample.facts["made_by"] = made_by()

    @cached_property
    def measures(self) -> dict[str, TaskMeasures]:
        return {name: measure_sample(self.sample, task) for name, task in self.sample.tasks.items()}

    @cached_property
    def text(self) -> str:
        return "\n".join(_markdown(self.sample, self.measures)) + "\n"


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
    yield "validation.pdf", validation_pages(found.sample)
    yield "validation.json", _json(found.sample, found.measures)
    yield "validation.md", found.text


def measure_sample(sample: PredictedSample, task: Task) -> TaskMeasures:
    """All numbers of a task. Residuals are those of the events for which truth and every prediction are known."""
    predictions, truth = sample.predictions[task.name], sample.truth.get(task.branch)
    first = next(iter(predictions.values()), np.empty(0))
    values: dict[str, Estimates] = {}
    differences: dict[str, Estimates] = {}
    for title, predicted in predictions.items() if task.axes else ():
        finite = np.isfinite(predicted).all(1)
        values[title] = {}
        for axis, shown in zip(task.axes, task.shown(torch.tensor(predicted[finite])).numpy().T, strict=True):
            values[title] |= {f"{axis.name}_mean": mean(shown, axis.unit), f"{axis.name}_std": rms(shown, axis.unit)}
        both = finite & np.isfinite(first).all(1)
        if predicted is not first and both.any():
            differences |= measure(task, {title: predicted[both]}, first[both])
    if truth is None or not predictions or not (known := usable_events(task, predictions, truth)).any():
        return TaskMeasures(0, values, {}, differences, {})
    pulled = {}
    for title, sigma in sample.sigmas[task.name].items():
        columns = zip(pull_axes(task), pulls(task, predictions[title], sigma, truth)[0].T, strict=True)
        pulled[title] = {axis.name: measure_pull(column) for axis, column in columns if len(column)}
    errors = measure(task, {title: found[known] for title, found in predictions.items()}, truth[known])
    return TaskMeasures(int(known.sum()), values, errors, differences, pulled)


def _markdown(sample: PredictedSample, measured: Mapping[str, TaskMeasures]) -> Iterator[str]:
    """The tables."""
    facts = sample.facts
    both = "compared_with" in facts
    yield f"# {facts['input']}" + (f" and {facts['compared_with']}" if both else "")
    yield f"\n{facts['events']} events" + (f" in both files, of {facts['events_in_input']}" if both else "")
    for file, number in facts["duplicates"].items():
        if number:
            yield f"\n**{number} events (run, event) are in {file} more than once.**"
    yield (
        f"\n± is half of a 68 % interval. Tail: share of residuals beyond {TAIL:g} times their 68 % width, "
        f"{GAUSSIAN_TAIL:.3f} % for a Gaussian. The error of a difference is that of a comparison event by event."
    )
    for name, numbers in measured.items():
        yield f"\n## {name}" + ("" if numbers.residuals else " (no event with truth)")
        for title, invalid in facts["invalid"].get(name, {}).items():
            if invalid:
                yield f"\n{title}: no valid prediction in {invalid} events."
        if numbers.residuals:
            yield _table(f"predicted - true, {numbers.events} events", numbers.residuals, compare=True)
        if numbers.pulls:
            head = ["pull", "method", "mean (0)", "width (1)", "within 1 sigma (68.3 %)", "within 2 sigma (95.4 %)"]
            table = Table(head)
            for title, columns in numbers.pulls.items():
                for key, found in columns.items():
                    table.add(key, title, *found.values())
            yield "\n" + table.markdown()
        if numbers.differences:
            yield _table(f"difference to {next(iter(numbers.values))}", numbers.differences)
        if numbers.values:
            yield _table("predictions", numbers.values)
    facts_of_it = {"model_hash": facts[MODEL_HASH] or "unknown", "input_sha256": facts["input_sha256"]}
    yield "\n## Made by\n\n" + Table(["", "value"], list((facts_of_it | facts["made_by"]).items())).markdown()


def _table(head: str, columns: Mapping[str, Estimates], compare: bool = False) -> str:
    """A row per quantity, a column per method; with `compare` also the difference of each to the first."""
    first, *others = columns
    table = Table([head, *columns, *(f"{title} - {first}" for title in others if compare)])
    for key, entry in columns[first].items():
        cells = [estimates[key] for estimates in columns.values()]
        cells += [columns[title][key].minus(entry) for title in others if compare]
        table.add(f"{key} [{entry.unit}]" if entry.unit else key, *cells)
    return "\n" + table.markdown()


def _json(sample: PredictedSample, measured: Mapping[str, TaskMeasures]) -> str:
    """Everything; units are those of the tables."""
    tasks = {name: {k: v for k, v in m._asdict().items() if v or k == "events"} for name, m in measured.items()}
    facts = {**sample.facts, "tail_widths": TAIL, "gaussian_tail_percent": GAUSSIAN_TAIL, "tasks": tasks}
    return json.dumps(facts, indent=1, default=Estimate.as_dict) + "\n"
