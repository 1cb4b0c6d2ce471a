"""A run as its settings and the curves of its metrics, read from its folder or from MLflow."""

from __future__ import annotations

import csv
import logging
import math
from pathlib import Path
from typing import Literal, NamedTuple

import yaml

from xecgnn.settings import flattened

__all__ = ["SIGNED", "Run", "badness", "direction", "is_ranked", "read_run"]

log = logging.getLogger(__name__)

SETTINGS, METRICS = "config.yaml", "metrics/training_metrics.csv"
SIGNED = ("_bias", "_skew")  # best where they are closest to zero
MLFLOW_NAMES = {"train_loss": "loss_mean"}  # what is called otherwise in the table of a run


class Run(NamedTuple):
    """What is compared of a run."""

    name: str
    settings: dict[str, str]  # {"training.lr": "0.0003"}
    history: dict[str, dict[int, float]]  # {metric: {epoch: finite value}}, no empty ones

    @property
    def epochs(self) -> int:
        """Epochs done."""
        return 1 + max((max(values) for values in self.history.values()), default=-1)

    def best(self, metric: str) -> int | None:
        """The epoch in which a metric was best; None without the metric."""
        values = self.history.get(metric, {})
        return min(values, key=lambda epoch: badness(metric, values[epoch]), default=None)

    def place(self, metric: str) -> float:
        """By what runs are ranked: badness in the best epoch, infinite without the metric."""
        epoch = self.best(metric)
        return math.inf if epoch is None else badness(metric, self.history[metric][epoch])


def direction(metric: str) -> Literal["min", "max"]:
    """Whether a metric (no signed one) should be small, as losses, widths and resolutions, or large, as an accuracy."""
    return "max" if metric.endswith("accuracy") else "min"


def badness(metric: str, value: float) -> float:
    """What should be small: losses, widths, resolutions; the size of a bias or skewness; minus an accuracy."""
    if direction(metric) == "max":
        return -value
    return abs(value) if metric.endswith(SIGNED) else value


def is_ranked(metric: str) -> bool:
    """Whether a run can be better or worse in a metric."""
    return metric == "loss_mean" or metric.startswith("val_") or metric.endswith(("_bias", "_rms", "_skew"))


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
    values = flattened(yaml.safe_load((folder / SETTINGS).read_text()) or {})
    settings = {name: str(value) for name, value in values.items()}
    table = folder / METRICS
    return Run(folder.resolve().name, settings, _read_table(table) if table.is_file() else {})


def _read_table(path: Path) -> dict[str, dict[int, float]]:
    history: dict[str, dict[int, float]] = {}
    try:
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                epoch = int(row.pop("epoch"))
                for metric, text in row.items():
                    if text and math.isfinite(value := float(text)):
                        history.setdefault(metric, {})[epoch] = value
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not a table of training metrics ({type(error).__name__}: {error})") from None
    return history


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
    history: dict[str, dict[int, float]] = {}
    for metric in data.metrics:
        points = sorted(client.get_metric_history(run_id, metric), key=lambda point: point.timestamp)
        # An epoch that was done again counts as it was done last; what is logged within an epoch has no place here.
        values = {epochs[p.step]: p.value for p in points if p.step in epochs and math.isfinite(p.value)}
        if values and metric != "epoch":
            history[MLFLOW_NAMES.get(metric, metric)] = values
    return Run(str(found[0].info.run_name), dict(data.params), history)
