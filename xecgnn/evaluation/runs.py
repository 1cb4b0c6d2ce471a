"""What a run left: its folder with its files, settings and curves."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from xecgnn.config import check_format
from xecgnn.data.events import Events
from xecgnn.detector import Detector, load_detector
from xecgnn.evaluation.attribution.saliency import Saliency
from xecgnn.evaluation.compared import SETTINGS
from xecgnn.evaluation.sample import PredictedSample, drawable_tasks, read_predictions
from xecgnn.evaluation.summary import sample_line, summary_table
from xecgnn.names import FEATURES
from xecgnn.schema import KINDS
from xecgnn.settings import read_yaml, validated
from xecgnn.tasks.config import TasksConfig
from xecgnn.tasks.registry import build_tasks
from xecgnn.tasks.task import Task
from xecgnn.training.metrics.history import CSV, METRICS, History, curves, read_metrics

__all__ = ["METRICS", "EvaluatedRun", "History", "RunFolder", "open_run"]

FILES = {
    "csv": "predictions_{}.csv",
    "predictions": "validation_results_{}.root",
    "worst_events": "worst_events_{}.root",
    "saliency": "saliency_{}.npz",
}


class RunFolder:
    """The folder of a run. What is not in it raises FileNotFoundError, what cannot be read ValueError, when asked for.

    Args:
        path: the folder.
        settings: those of config.yaml in it, which is read if they are not given.
    """

    def __init__(self, path: str | Path, settings: Mapping[str, Any] | None = None) -> None:
        self.path = Path(path)
        self.settings: Mapping[str, Any] = read_yaml(self.path / SETTINGS) if settings is None else settings
        self.name: str = self.settings.get("run_name") or self.path.resolve().name
        check_format(self.settings, path)

    def file(self, what: str) -> Path:
        """A file by its key in FILES."""
        return self.path / FILES[what].format(self.name)

    @cached_property
    def history(self) -> History:
        """Curves of the training."""
        path = self.path / METRICS / CSV
        found = curves(read_metrics(path))
        if not found:
            raise ValueError(f"{path}: no finished epoch")
        return found

    @cached_property
    def detector(self) -> Detector:
        return load_detector(self.settings.get("detector", "meg2"), self.settings.get("survey"))


class EvaluatedRun(RunFolder):
    """The folder of a run of `xecgnn-train`, with what `evaluate_run` writes."""

    @property
    def test_path(self) -> list[str] | None:
        """Files of the test sample; None: the sample is that of the validation."""
        return (self.settings.get("data") or {}).get("test_path")

    @property
    def head(self) -> str:
        """Says on each page what was drawn."""
        return f"{self.name}   |   {'test' if self.test_path else 'validation'} sample"

    @cached_property
    def tasks(self) -> dict[str, Task]:
        built = build_tasks(validated(TasksConfig, self.settings.get("tasks", {})))
        return cast("dict[str, Task]", dict(built.items()))

    @cached_property
    def predictions(self) -> PredictedSample:
        """Those of the network and of the baselines."""
        return read_predictions(self.file("predictions"))

    @cached_property
    def drawn(self) -> dict[str, Task]:
        """Tasks with predictions and truth; a line in the log for each of the others."""
        return dict(drawable_tasks(self.predictions, self.tasks))

    @cached_property
    def results(self) -> str:
        """The table of network and baselines; empty before the training has come to its end."""
        try:
            sample, tasks = self.predictions, self.drawn
        except (OSError, ValueError):
            return ""
        return f"{sample_line(self.test_path)}\n\n{summary_table(tasks, sample.predictions, sample.truth)}"

    @cached_property
    def saliency(self) -> Saliency:
        return Saliency.read(self.file("saliency"))

    @cached_property
    def worst_events(self) -> Events:
        """With all their columns, the worst first."""
        return Events.read(self.file("worst_events"), [*FEATURES, *KINDS], num_sensors=self.detector.num_sensors)


def open_run(path: str | Path) -> RunFolder:
    """The folder of a run, as what it is."""
    run = RunFolder(path)
    return EvaluatedRun(path, run.settings) if "tasks" in run.settings else run
