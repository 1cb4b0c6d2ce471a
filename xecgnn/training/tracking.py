"""MLflow and TensorBoard: told of a training, never in its way. What they lose is a warning; metrics/ has it all."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from xecgnn.lock import Lock
from xecgnn.settings import flattened
from xecgnn.training.config import LoggingConfig
from xecgnn.training.metrics.history import METRICS

__all__ = ["Tracker", "build_trackers", "log_artifacts", "mlflow_run_id"]

log = logging.getLogger(__name__)

SQLITE = "sqlite:///"
PAUSE = 600.0  # s without a call after one that failed: a server that is down lets each wait
HTTP = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}  # else minutes for each call


class Tracker(Logger):
    """A logger of Lightning whose faults are warnings, each kind once.

    Args:
        name: of the program, for messages.
        logger: the logger.
        where: its store, for messages.
    """

    def __init__(self, name: str, logger: Logger, where: str) -> None:
        super().__init__()
        self.program, self.logger, self.where = name, logger, where
        self._silent_until = 0.0

    def call(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """The function's result; None where it fails, with a warning, and for a while after that."""
        if time.monotonic() < self._silent_until:
            return None
        try:
            return function(*args, **options)
        except Exception as error:
            self._silent_until = time.monotonic() + PAUSE
            text = "%s at %s: %s; the training goes on, metrics/ has its numbers"
            log.warning(text, self.program, self.where, short(error))
            return None

    @property
    def name(self) -> str | None:
        return self.logger.name

    @property
    def version(self) -> int | str | None:
        return self.logger.version

    @property
    def experiment(self) -> Any:
        return self.call(lambda: self.logger.experiment)  # type: ignore[attr-defined]

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.call(self.logger.log_metrics, metrics, step)

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **options: Any) -> None:
        self.call(self.logger.log_hyperparams, params, *args, **options)

    @rank_zero_only
    def save(self) -> None:
        self.call(self.logger.save)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        self.call(self.logger.finalize, status)


def build_trackers(
    config: LoggingConfig, run_name: str, params: Mapping[str, Any], run_id: str | None = None
) -> list[Tracker]:
    """Those of the settings that work here, in the first process; a warning for each of the others.

    Args:
        params: nested settings, logged flat once.
        run_id: MLflow run to go on with; its parameters are already there.
    """
    trackers: list[Tracker] = []
    if rank_zero_only.rank != 0:  # type: ignore[attr-defined]
        return trackers
    if config.tensorboard:
        board = TensorBoardLogger(config.tensorboard_dir, name="", version=run_name)
        tracker = Tracker("TensorBoard", board, config.tensorboard_dir)
        if tracker.experiment:
            trackers.append(tracker)
    if config.mlflow:
        try:
            trackers.append(_mlflow(config, run_name, params, run_id))
        except Exception as error:
            text = "MLflow at %s: %s; the training is not tracked there, metrics/ has its numbers"
            log.warning(text, config.mlflow_uri, short(error))
    return trackers


def _mlflow(config: LoggingConfig, run_name: str, params: Mapping[str, Any], run_id: str | None) -> Tracker:
    """The run in MLflow: a new one, or the one with this id, if the store has it."""
    for variable, value in HTTP.items():
        os.environ.setdefault(variable, value)
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    for program in ("mlflow", "alembic", "lightning.pytorch.loggers.mlflow"):  # each step of what works, or does not
        logging.getLogger(program).setLevel(logging.CRITICAL)
    path = Path(config.mlflow_uri.removeprefix(SQLITE)).absolute() if config.mlflow_uri.startswith(SQLITE) else None
    if path:
        _make_database(path)
    client = MlflowClient(config.mlflow_uri)
    found = client.get_experiment_by_name(config.experiment)
    if found and found.lifecycle_stage != "active":
        remedy = f"restore it (mlflow experiments restore -x {found.experiment_id})"
        raise ValueError(
            f"experiment {config.experiment!r} is deleted; {remedy}, or choose another --logging.experiment"
        )
    if run_id is not None:
        try:
            if client.get_run(run_id).info.lifecycle_stage != "active":
                run_id = None
        except MlflowException:
            run_id = None
        if run_id is None:
            log.warning("The MLflow run of this training is not in %s: a new one is started.", config.mlflow_uri)
    store = MLFlowLogger(
        config.experiment,
        run_name=run_name,
        tracking_uri=config.mlflow_uri,
        artifact_location=(path.parent / "mlruns").as_uri() if path else None,  # else where the server has them
        run_id=run_id,
    )
    _ = store.experiment, store.run_id
    tracker = Tracker("MLflow", store, config.mlflow_uri)
    if run_id is None:
        tracker.log_hyperparams(flattened(params))
    return tracker


def _make_database(path: Path) -> None:
    """Make the database of a SQLite store, under another name until it is whole: MLflow never mends half of one."""
    from mlflow import MlflowClient

    path.parent.mkdir(parents=True, exist_ok=True)
    with Lock(path.with_name(f"{path.name}.lock"), path, wait=True):  # parallel jobs would race
        if not path.exists():
            part = path.with_name(f"{path.name}.part")
            for left in path.parent.glob(f"{part.name}*"):  # with its journal
                left.unlink()
            MlflowClient(f"{SQLITE}{part}").search_experiments(max_results=1)
            part.rename(path)
            return
        try:
            MlflowClient(f"{SQLITE}{path}").search_experiments(max_results=1)
        except Exception as error:
            raise ValueError(f"delete {path}, which is damaged or half made ({short(error)})") from None


def short(error: Exception) -> str:
    """What went wrong, in a line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def mlflow_run_id(trackers: list[Tracker]) -> str | None:
    """The MLflow run of a training, if any."""
    return next((t.logger.run_id for t in trackers if isinstance(t.logger, MLFlowLogger)), None)


def log_artifacts(trackers: list[Tracker], files: list[Path], metrics: Path, numbers: Mapping[str, float]) -> None:
    """Copy the plots of a run, the folder with its metrics, and the numbers at its end to MLflow."""
    for tracker in trackers:
        if isinstance(tracker.logger, MLFlowLogger):
            tracker.call(_log_artifacts, tracker.logger, files, metrics, numbers)


def _log_artifacts(logger: MLFlowLogger, files: list[Path], metrics: Path, numbers: Mapping[str, float]) -> None:
    client, run = logger.experiment, logger.run_id
    for path in files:
        if path.suffix == ".pdf":
            client.log_artifact(run, str(path))
    client.log_artifacts(run, str(metrics), METRICS)
    for name, value in numbers.items():
        client.log_metric(run, name, value)
