"""What a run left: its folder with its files, settings and curves; or settings and curves from MLflow."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from xecgnn.config import check_format
from xecgnn.settings import flattened, read_yaml, validated
from xecgnn.tasks.ranking import penalty
from xecgnn.training.metrics.history import CSV, METRICS, History, curves, read_metrics

if TYPE_CHECKING:  # a comparison of curves needs none of these
    from xecgnn.data.events import Events
    from xecgnn.detector import Detector
    from xecgnn.evaluation.attribution.saliency import Saliency
    from xecgnn.evaluation.sample import PredictedSample
    from xecgnn.tasks.task import Task

__all__ = ["METRICS", "EvaluatedRun", "History", "Run", "RunFolder", "open_run", "read_run"]

log = logging.getLogger(__name__)

SETTINGS = "config.yaml"
FILES = {
    "csv": "predictions_{}.csv",
    "predictions": "validation_results_{}.root",
    "worst_events": "worst_events_{}.root",
    "saliency": "saliency_{}.npz",
    "sensors": "sensor_predictions_{}.root",
}
MLFLOW_NAMES = {"train_loss": "loss_mean"}  # what is called otherwise in the table of a run


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
        from xecgnn.detector import load_detector

        detector, survey = load_detector(self.settings.get("detector", "meg2")), self.settings.get("survey")
        return detector.with_survey(survey) if survey else detector


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
        from xecgnn.tasks.config import TasksConfig
        from xecgnn.tasks.registry import build_tasks

        built = build_tasks(validated(TasksConfig, self.settings.get("tasks", {})))
        return cast("dict[str, Task]", dict(built.items()))

    @cached_property
    def predictions(self) -> PredictedSample:
        """Those of the network and of the baselines."""
        from xecgnn.evaluation.sample import read_predictions

        return read_predictions(self.file("predictions"))

    @cached_property
    def drawn(self) -> dict[str, Task]:
        """Tasks with predictions and truth; a line in the log for each of the others."""
        from xecgnn.evaluation.sample import drawable_tasks

        return dict(drawable_tasks(self.predictions, self.tasks))

    @cached_property
    def saliency(self) -> Saliency:
        from xecgnn.evaluation.attribution.saliency import Saliency

        return Saliency.read(self.file("saliency"))

    @cached_property
    def worst_events(self) -> Events:
        """With all their columns, the worst first."""
        from xecgnn.data.events import Events
        from xecgnn.names import FEATURES
        from xecgnn.schema import KINDS

        return Events.read(self.file("worst_events"), [*FEATURES, *KINDS], num_sensors=self.detector.num_sensors)


def open_run(path: str | Path) -> RunFolder:
    """The folder of a run, as what it is."""
    run = RunFolder(path)
    return EvaluatedRun(path, run.settings) if "tasks" in run.settings else run


class Run(NamedTuple):
    """What is compared of a run."""

    name: str
    settings: dict[str, str]  # {"training.lr": "0.0003"}
    history: History

    @property
    def epochs(self) -> int:
        """Epochs done."""
        return 1 + max((max(values) for values in self.history.values()), default=-1)

    def best(self, metric: str) -> int | None:
        """The epoch in which a metric was best; None without the metric."""
        values = self.history.get(metric, {})
        return min(values, key=lambda epoch: penalty(metric, values[epoch]), default=None)

    def place(self, metric: str) -> float:
        """By what runs are ranked: penalty in the best epoch, infinite without the metric."""
        epoch = self.best(metric)
        return math.inf if epoch is None else penalty(metric, self.history[metric][epoch])


def read_run(run: str, mlflow_uri: str) -> Run:
    """A run from its folder; or from MLflow by id or name, the newest of that name.

    Raises:
        FileNotFoundError: neither; names the runs there are.
        ValueError: the folder is not that of a run.
    """
    folder = Path(run)
    if not folder.is_dir():
        return _read_mlflow(run, mlflow_uri)
    if not (folder / SETTINGS).is_file():
        raise ValueError(f"{run}: there is no {SETTINGS} in it, it is not the folder of a run")
    settings = {name: str(value) for name, value in flattened(read_yaml(folder / SETTINGS)).items()}
    return Run(folder.resolve().name, settings, curves(read_metrics(folder / METRICS / CSV)))


def _read_mlflow(name: str, uri: str) -> Run:
    database = uri.removeprefix("sqlite:///")
    if database != uri and not Path(database).is_file():  # MLflow would create it
        raise FileNotFoundError(f"run {name!r}: no such folder, and no {database} to look for it in")
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(experiments, order_by=["attributes.start_time DESC"], max_results=1000)
    found = [run for run in runs if name in (run.info.run_id, run.info.run_name)]
    if not found:
        known = ", ".join(sorted({str(run.info.run_name) for run in runs})) or "none"
        raise FileNotFoundError(f"run {name!r}: no such folder, and no run of that name or id in {uri}; runs: {known}")
    if len(found) > 1:
        log.warning("%s: %d runs have that name in %s, the newest is taken", name, len(found), uri)
    run_id, data = found[0].info.run_id, found[0].data
    epochs = {point.step: int(point.value) for point in client.get_metric_history(run_id, "epoch")}
    rows = []
    for metric in data.metrics:
        points, name = client.get_metric_history(run_id, metric), MLFLOW_NAMES.get(metric, metric)
        # An epoch that was done again counts as it was done last; what is logged within an epoch has no place here.
        points = sorted((point for point in points if point.step in epochs), key=lambda point: point.timestamp)
        rows += [{"epoch": epochs[point.step], name: point.value} for point in points]
    return Run(str(found[0].info.run_name), dict(data.params), curves(rows))
