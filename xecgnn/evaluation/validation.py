"""Predictions against truth, another run, another reconstruction: one PDF, one JSON, one Markdown table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xecgnn.evaluation.measures import GAUSSIAN_TAIL, Measure, Measures, TaskMeasures, measure
from xecgnn.evaluation.pages import write_pages
from xecgnn.evaluation.sample import PredictedSample, load_sample
from xecgnn.evaluation.statistics import TAIL
from xecgnn.evaluation.validation_plots import validation_pages
from xecgnn.names import TREE
from xecgnn.output import check_new, markdown_table, write_text

__all__ = ["Validation", "validate"]


class Validation(NamedTuple):
    """What `validate` leaves: the tables as Markdown, and the files it wrote."""

    text: str
    files: list[Path]


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
    write_pages(pages, validation_pages(sample))
    write_text(numbers, json.dumps(_facts(sample, measured), indent=1) + "\n")
    write_text(table, text)
    return Validation(text, files)


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
            rows = [["pull", "method", "mean (0)", "width (1)", "within 1 sigma (68.3 %)", "within 2 sigma (95.4 %)"]]
            for title, columns in numbers.pulls.items():
                rows += [[key, title, *map(_text, found.values())] for key, found in columns.items()]
            yield "\n" + markdown_table(rows)
        if numbers.differences:
            yield _table(f"difference to {next(iter(numbers.values))}", numbers.differences)
        if numbers.values:
            yield _table("predictions", numbers.values)


def _table(head: str, columns: Mapping[str, Measures], compare: bool = False) -> str:
    """A row per quantity, a column per method; with `compare` also the difference of each to the first."""
    first, *others = columns
    rows = [[head, *columns, *(f"{title} - {first}" for title in others if compare)]]
    for key, entry in columns[first].items():
        cells = [_text(measures[key]) for measures in columns.values()]
        cells += [_with_error(*columns[title][key].minus(entry)) for title in others if compare]
        rows.append([f"{key} [{entry.unit}]" if entry.unit else key, *cells])
    return "\n" + markdown_table(rows)


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
        return {key: plain(value) for key, value in entry.items()} if isinstance(entry, Mapping) else entry

    tasks = {name: plain({k: v for k, v in m._asdict().items() if v or k == "events"}) for name, m in measured.items()}
    return {**sample.facts, "tail_widths": TAIL, "gaussian_tail_percent": GAUSSIAN_TAIL, "tasks": tasks}
