"""Everything that is drawn of a finished run, from the files in its folder alone."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from xecgnn.data.events import Events
from xecgnn.detector import Detector, load_detector
from xecgnn.evaluation.display_file import write_display
from xecgnn.evaluation.predictions import NETWORK, Columns, baseline_branch
from xecgnn.evaluation.profiles import usable_events, write_profile
from xecgnn.evaluation.run import Evaluation
from xecgnn.evaluation.saliency import Saliency
from xecgnn.evaluation.saliency_plots import write_saliency_profiles
from xecgnn.evaluation.sample import PredictedSample, load_sample
from xecgnn.evaluation.summary import measure, sample_line, summary_table
from xecgnn.names import FEATURES
from xecgnn.schema import KINDS
from xecgnn.settings import read_yaml, validated
from xecgnn.tasks.config import TasksConfig
from xecgnn.tasks.registry import build_tasks
from xecgnn.tasks.task import Task

__all__ = ["read_predictions", "report_evaluation"]

log = logging.getLogger(__name__)

T = TypeVar("T")


def report_evaluation(folder: Path) -> Evaluation:
    """Draw resolution_profile_<task>.pdf, saliency_profile_<task>.pdf and worst_event_<n>.pdf (1 is the worst).

    What cannot be drawn is told in a line of the log.

    Args:
        folder: of a run of `xecgnn-train`, with config.yaml and what `evaluate_run` writes.

    Returns:
        The table of all tasks, the files drawn, and of test events the network's numbers.

    Raises:
        FileNotFoundError: there are no predictions.
        ValueError: settings or predictions that cannot be read.
    """
    settings = read_yaml(folder / "config.yaml")
    run_name = settings.get("run_name") or folder.resolve().name
    tasks = cast("dict[str, Task]", dict(build_tasks(validated(TasksConfig, settings.get("tasks", {}))).items()))
    sample = read_predictions(folder / f"validation_results_{run_name}.root")
    drawable, files = dict(_drawable(sample, tasks)), []
    test_path = (settings.get("data") or {}).get("test_path")
    kind = "test" if test_path else "validation"
    head = f"{run_name}   |   {kind} sample"
    for name, task in drawable.items():
        files.append(folder / f"resolution_profile_{name}.pdf")
        write_profile(files[-1], task, sample.predictions[name], sample.truth, head)
    detector = _tried("saliency and worst events", _load_detector, settings)
    if detector is not None:
        saliency = _tried("saliency", Saliency.read, folder / f"saliency_{run_name}.npz")
        if saliency is not None:
            files += write_saliency_profiles(folder, saliency, detector, tasks, head)
        worst = _tried("worst events", _read_events, folder / f"worst_events_{run_name}.root", detector)
        for number, event in enumerate(worst or [], start=1):
            files.append(folder / f"worst_event_{number}.pdf")
            place = f"worst event {number} of {sample.facts['events']}"
            write_display(files[-1], detector, [event], head=f"{head}   |   {place}")
    table = summary_table(drawable, sample.predictions, sample.truth)
    return Evaluation(f"{sample_line(test_path)}\n\n{table}", files, _numbers(sample, drawable) if test_path else {})


def _numbers(sample: PredictedSample, tasks: Mapping[str, Task]) -> dict[str, float]:
    """Metrics of the network by the names they have in MLflow."""
    numbers: dict[str, float] = {}
    for name, task in tasks.items():
        network = {NETWORK: sample.predictions[name][NETWORK]}
        numbers |= measure(task, network, sample.truth[task.branch])[NETWORK]
    return {f"test_{key}": value for key, value in numbers.items() if math.isfinite(value)}


def read_predictions(path: Path) -> PredictedSample:
    """The network's predictions, and those of the baselines, as far as the file has them."""
    if not path.is_file():
        raise FileNotFoundError(f"no {path}: the training has not come to its end, there are no predictions to draw")
    sample = load_sample(path)
    for task in sample.tasks.values():
        for title in task.baselines:
            branch = baseline_branch(title, task)
            if branch in sample.columns:
                sample.add(title, task, sample.columns[branch])
    return sample


def _drawable(sample: PredictedSample, tasks: Mapping[str, Task]) -> Iterator[tuple[str, Task]]:
    """Tasks with predictions and truth; a line for each of the others."""
    path = sample.facts["input"]
    for name, task in tasks.items():
        if NETWORK not in sample.predictions.get(name, {}):
            log.warning("%s has no valid pred_%s: %s is not drawn", path, task.branch, name)
        elif task.branch not in sample.truth:
            log.warning("%s has no %s: %s is not drawn", path, task.branch, name)
        else:
            if not usable_events(task, sample.predictions[name], sample.truth[task.branch]).any():
                log.warning("%s has no event with %s and all predictions of it", path, task.branch)
            yield name, task


def _tried(what: str, read: Callable[..., T], *arguments: Any) -> T | None:
    """What is read; where that fails, None and a line that says what is not drawn."""
    try:
        return read(*arguments)
    except (OSError, ValueError) as error:
        log.warning("not drawn: %s (%s)", what, error)
        return None


def _load_detector(settings: Mapping[str, Any]) -> Detector:
    detector = load_detector(settings.get("detector", "meg2"))
    return detector.with_survey(settings["survey"]) if settings.get("survey") else detector


def _read_events(path: Path, detector: Detector) -> list[Columns]:
    """All branches of each event."""
    events = Events.read(path, [*FEATURES, *KINDS], num_sensors=detector.num_sensors)
    return [{name: values[row] for name, values in events.columns.items()} for row in range(len(events))]
