"""What is compared of a run, from its folder or from MLflow: settings and curves. Needs neither events nor networks."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import NamedTuple

from xecgnn.settings import flattened, read_yaml
from xecgnn.tasks.ranking import penalty
from xecgnn.training.metrics.history import CSV, METRICS, History, curves, read_metrics

__all__ = ["SETTINGS", "Run", "read_run"]

log = logging.getLogger(__name__)

SETTINGS = "config.yaml"  # in the folder of a run
MLFLOW_NAMES = {"train_loss": "loss_mean"}  # what is called otherwise in the table of a run


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
        ValueError: the folder is not that of a run; MLflow cannot read its store.
    """
    folder = Path(run)
    if not folder.is_dir():
        try:
            return _read_mlflow(run, mlflow_uri)
        except (OSError, ValueError):
            raise
        except Exception as error:  # of MLflow, or of what is below it
            raise ValueError(f"MLflow at {mlflow_uri}: {str(error).partition(chr(10))[0]}") from None
    if not (folder / SETTINGS).is_file():
        raise ValueError(f"{run}: there is no {SETTINGS} in it, it is not the folder of a run")
    settings = {name: str(value) for name, value in flattened(read_yaml(folder / SETTINGS)).items()}
    return Run(folder.resolve().name, settings, curves(read_metrics(folder / METRICS / CSV)))


def _read_mlflow(name: str, uri: str) -> Run:
    database = uri.removeprefix("sqlite:///")
    if database != uri and not Path(database).is_file():  # MLflow would create it
        raise FileNotFoundError(f"run {name!r}: no such folder, and no {database} to look for it in")
    from mlflow import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.CRITICAL)  # what fails is told in a line
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
