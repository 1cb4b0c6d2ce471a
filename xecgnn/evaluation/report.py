"""Everything that is drawn of a finished run, from the files in its folder alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from xecgnn.evaluation.artifacts import artifact, make
from xecgnn.evaluation.config import Style
from xecgnn.evaluation.display.write import display_pages
from xecgnn.evaluation.measures import logged_metrics, measure
from xecgnn.evaluation.pages.curves import training_pictures
from xecgnn.evaluation.pages.page import Content
from xecgnn.evaluation.pages.resolution import resolution_pages
from xecgnn.evaluation.pages.saliency import saliency_pages
from xecgnn.evaluation.pages.training_report import REPORT, training_report
from xecgnn.evaluation.predictions import NETWORK
from xecgnn.evaluation.runs import METRICS, EvaluatedRun, RunFolder
from xecgnn.names import MODEL_HASH
from xecgnn.table import Table
from xecgnn.training.starts import read_starts

__all__ = ["Report", "report"]


class Report(NamedTuple):
    """What a report leaves: the table as text, the files drawn, and of test events the network's numbers."""

    table: str
    files: list[Path]
    numbers: Mapping[str, float] = {}  # test_resolution_deg and others


def report(run: RunFolder, style: Style = "screen", panels: bool = False) -> Report:
    """Draw all that the folder of a run has data for; arguments and what is missing: as `make`."""
    files = make(run, run.path, style, panels)
    if not isinstance(run, EvaluatedRun) or not run.results:
        return Report("", files)
    numbers: dict[str, float] = {}
    sample = run.predictions
    for name, task in run.drawn.items() if run.test_path else ():
        network = {NETWORK: sample.predictions[name][NETWORK]}
        found = logged_metrics(task, measure(task, network, sample.truth[task.branch])[NETWORK])
        numbers |= {f"test_{key}": value for key, value in found.items() if math.isfinite(value)}
    return Report(run.results, files, numbers)


@artifact("resolution profiles", "drawn")
def _resolution_profiles(run: EvaluatedRun) -> Iterator[tuple[str, Content]]:
    for name, task in run.drawn.items():
        pages = resolution_pages(task, run.predictions.predictions[name], run.predictions.truth, run.head)
        yield f"resolution_profile_{name}.pdf", pages


@artifact("saliency", "detector", "tasks", "saliency")
def _saliency_profiles(run: EvaluatedRun) -> Iterator[tuple[str, Content]]:
    for name, task in run.tasks.items():
        if name in run.saliency.tasks:
            yield f"saliency_profile_{name}.pdf", saliency_pages(run.saliency, run.detector, task, run.head)


@artifact("worst events", "detector", "predictions", "worst_events")
def _worst_events(run: EvaluatedRun) -> Iterator[tuple[str, Content]]:
    for row in range(len(run.worst_events)):  # 1 is the worst
        head = f"{run.head}   |   worst event {row + 1} of {run.predictions.facts['events']}"
        pages = display_pages(run.detector, [run.worst_events[row : row + 1]], head=head)
        yield f"worst_event_{row + 1}.pdf", pages


@artifact("training report", "history")
def _training_report(run: RunFolder) -> Iterator[tuple[str, Content]]:
    folder, pictures = run.path / METRICS, []
    for name, picture in training_pictures(run.history, run.name):
        yield f"{METRICS}/{name}", picture
        pictures.append(folder / name)
    yield f"{METRICS}/{REPORT}", training_report(run.history, run.name, run.settings, folder, pictures, _made(run))


def _made(run: RunFolder) -> Iterator[str]:
    """Sections of the report: the results, and what made them."""
    if isinstance(run, EvaluatedRun) and run.results:
        model = f"Hash of the weights: {run.predictions.facts[MODEL_HASH] or 'unknown'}"
        yield f"## Results\n\n```text\n{run.results}\n```\n\n{model}"
    starts = read_starts(run.path)
    if starts:
        data = Table(["sample", "file", "events", "SHA-256 (first and last MB)"])
        for row in starts[-1].pop("data"):
            data.add(*row.values())
        names = dict.fromkeys(name for start in starts for name in start if name != "data")
        table = Table(["", *(f"start {number}" for number in range(1, len(starts) + 1))])
        for name in names:
            table.add(name, *(start.get(name, "") for start in starts))
        yield f"## Made by\n\n{table.markdown()}\n\n{data.markdown()}"
