"""The demo: what bin/demo trains, with six seeds. Seeds 0 to 2 are for choices (validation), 3 to 5 are reported."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from record import ROOT
from studies.samples import TEST, TRAIN, VALIDATION
from studies.study import Folders, Job, Results, Study
from studies.tables import NOT_MEASURED, cell
from studies.training import Training
from xecgnn.evaluation.display.write import display_pages
from xecgnn.evaluation.lookup import EventLookup
from xecgnn.evaluation.pages.page import save
from xecgnn.evaluation.pages.resolution import resolution_pages
from xecgnn.evaluation.pages.saliency import saliency_pages
from xecgnn.evaluation.runs import EvaluatedRun
from xecgnn.table import Table
from xecgnn.tasks.registry import named_tasks

CHOOSING, REPORTED = (0, 1, 2), (3, 4, 5)
DRAWN = REPORTED[0]
TASK = "angle"
EVENT = 10  # of the test events, in README's first picture
COLORS = {"event": 128}  # of a picture, where not 32
FILES = {"train": [TRAIN], "val": [VALIDATION], "test": [TEST]}


def training(seed: int) -> Training:
    return Training("demo", seed, "demo", {}, FILES)


def jobs(seed: int) -> Iterable[Job]:
    return [training(seed).job()]


def table(results: Results) -> str:
    """Methods and metrics on the test events."""
    found = [metrics["test"][TASK] for seed, metrics in results.get("demo", {}).items() if seed in REPORTED]
    if not found:
        return NOT_MEASURED
    shown = Table([f"{TEST.config.events} test events", *found[0]])
    for key, unit in named_tasks([TASK])[TASK].metric_units().items():
        values = (cell(methods[title][key] for methods in found) for title in found[0])
        shown.add(f"{key} [{unit}]" if unit else key, *values)
    return shown.markdown()


def seeds(results: Results) -> str:
    """Every seed; test events only of those that chose nothing."""
    shown = Table(["seed", "is for", "validation, 68 % [deg]", "test, 68 % [deg]"])
    for seed, metrics in results.get("demo", {}).items():
        reported = seed in REPORTED
        test = metrics["test"][TASK]["network"]["resolution_deg"] if reported else "–"
        shown.add(seed, "report" if reported else "choices", metrics["validation"]["val_resolution_deg"], test)
    return shown.markdown() if shown.rows else NOT_MEASURED


def figures(folders: Folders) -> Iterator[Path]:
    """README's pictures, of the run of one seed."""
    wanted = training(DRAWN)
    if not wanted.is_finished(folders):
        return
    run = EvaluatedRun(wanted.folder(folders))
    task, sample = run.drawn[TASK], run.predictions
    resolution = resolution_pages(task, sample.predictions[TASK], sample.truth, run.head)
    lookup = EventLookup(run.test_path, run.detector.num_sensors, predictions=run.file("predictions"))
    yield picture("event", display_pages(run.detector, [lookup.by_entry(EVENT)], "log"), "run ")
    yield picture("resolution", resolution, "angle: 68 % quantile of ψ")
    yield picture("saliency", saliency_pages(run.saliency, run.detector, task, run.head), "Saliency of a sensor by its")


def picture(name: str, pages: Iterator[Figure], title: str) -> Path:
    """Save the page whose title begins so as docs/<name>.png, in few colours: small files."""

    def chosen() -> Iterator[Figure]:  # drawn when the style is set
        yield next(page for page in pages if page.get_suptitle().startswith(title))

    (path,) = save(ROOT / "docs" / f"{name}.png", chosen(), "paper")
    with Image.open(path) as image:
        image.convert("RGB").quantize(COLORS.get(name, 32)).save(path, optimize=True)
    return path


STUDY = Study("demo", (*CHOOSING, *REPORTED), jobs, {"demo": table, "demo seeds": seeds}, figures)
