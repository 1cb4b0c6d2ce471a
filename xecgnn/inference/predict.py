"""Predictions of a trained network: for a stream of events, and for files of any number and size."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from pydantic import Field

from xecgnn.data.config import Paths, ReaderConfig
from xecgnn.data.events import Events
from xecgnn.data.files import OPTIONAL, common_columns, scan_files
from xecgnn.data.parts import stored_events
from xecgnn.data.reader import TreeReader
from xecgnn.data.writer import write_csv
from xecgnn.inference.predictor import Predictor, load_predictor
from xecgnn.inference.stream import Job, batch_size, file_hash, in_batches, run_job
from xecgnn.names import FEATURES, IDENTIFIERS, NPHO, RELATIVE_TIME, SCHEMA, TARGETS, UNKNOWN_CLASS, is_valid
from xecgnn.output import check_new
from xecgnn.schema import Column
from xecgnn.tasks import Task, TasksConfig, build_tasks

__all__ = ["InferConfig", "predict", "predict_files"]

log = logging.getLogger(__name__)


class InferConfig(ReaderConfig):
    """Settings of `xecgnn-infer`."""

    onnx: Path = Field(description="model: ONNX file of xecgnn-export, or checkpoint of xecgnn-train")
    input: Paths = Field(description="ROOT files: names, globs or directories")
    output: Path = Field(description="ROOT file to write")
    csv: Path | None = Field(None, description="CSV file to write beside it")
    batch: int | None = Field(None, ge=1, description="events per call of the network (null: 8 on a CPU, 128 on a GPU)")
    copy_branches: list[str] = Field([], description="further branches to copy, for example another reconstruction's")
    npho_branch: str = Field(NPHO, description="branch read as npho, if not the one that the network was trained with")
    time_branch: str = Field(
        RELATIVE_TIME, description="branch read as relative_time (s), if not the one of the training"
    )


def predict(predictor: Predictor, events: Iterable[Events], batch: int | None = None) -> Iterator[Events]:
    """Add predictions to events: columns pred_<truth> and, where the network predicts them, sigma_<truth>.

    Nothing is kept: of a stream of events only those of a few batches are in memory. An event without any valid npho is
    predicted as NaN (class -1).

    Args:
        predictor: a network, for example that of `load_predictor`.
        events: with npho and relative_time, by sensor id.
        batch: events per call of the network (None: 8 on a CPU, 128 on a GPU).

    Returns:
        All events in their order, in batches.
    """
    tasks = _tasks(predictor)

    def add(some: Events) -> Events:
        npho, time = (np.ascontiguousarray(some[name]) for name in FEATURES)
        outputs = {name: torch.from_numpy(values) for name, values in predictor.predict(npho, time).items()}
        predicted = {name: values for task in tasks for name, values in task.columns(outputs).items()}
        empty = ~is_valid(npho).any(1)
        for values in predicted.values():
            values[empty] = np.nan if values.dtype.kind == "f" else UNKNOWN_CLASS
        return some.with_columns(predicted)

    return in_batches(add, events, batch, predictor.on_gpu)


def predict_files(config: InferConfig) -> Path:
    """Predict every event, in the order of the files; an interrupted call goes on where it stopped. Returns the output.

    The tree has run, event, pred_<truth>, sigma_<truth> and the truth, where all files have these; beside it lie the
    strings "model", SHA-256 of the model file, and "model_hash", that of its weights. An event without any valid npho
    is predicted as NaN (class -1).

    Raises:
        FileExistsError: an output exists.
        FileNotFoundError, ValueError: a model or a file that cannot be used; as `run_job`.
    """
    for path in filter(None, (config.output, config.csv)):
        check_new(path)
    predictor = load_predictor(config.onnx, one_thread=True)
    _tasks(predictor, config.onnx)
    log.info("%s: %s, %s", config.onnx, ", ".join(predictor.output_names), predictor.provider)
    reader = _reader_config(config, predictor)
    scans = scan_files(config.input, FEATURES, reader, predictor.num_sensors)
    truth = common_columns(scans, OPTIONAL)
    scans = scan_files([scan.path for scan in scans], (*FEATURES, *truth), reader, predictor.num_sensors)
    _check_copied(config.copy_branches, [scan.path for scan in scans], reader)
    read = tuple(dict.fromkeys((*FEATURES, *truth, *config.copy_branches)))
    first = [name for name in IDENTIFIERS if name in truth]

    def apply(stream: Iterator[Events]) -> Iterator[Events]:
        for events in predict(predictor, stream, config.batch):
            predicted = [name for name in events.fields if name not in read]
            names = dict.fromkeys((*first, *predicted, *read))
            yield events.select(*(name for name in names if name not in FEATURES))

    model_hash = file_hash(config.onnx)
    depends_on = {"model": model_hash[:12], "provider": predictor.provider, "copied": ", ".join(config.copy_branches)}
    depends_on |= {"batch": str(batch_size(config.batch, predictor.on_gpu))}
    job = Job(scans, reader, read, apply, depends_on)

    if config.csv:
        config.csv.parent.mkdir(parents=True, exist_ok=True)

    def write_table(merged: Path) -> None:
        if config.csv:
            write_csv(stored_events(merged), config.csv)

    notes = {"model": model_hash, "model_hash": predictor.metadata.get("model_hash", "")}
    events = run_job(job, config.output, notes, write_table)
    log.info("%s: %d events of %d files", config.output, events, len(scans))
    return config.output


def _tasks(predictor: Predictor, title: object = "the network") -> list[Task]:
    """The tasks of a network.

    Raises:
        ValueError: it gives something else.
    """
    names = [name.removesuffix("_sigma") for name in predictor.output_names]
    others = [name for name in names if name not in TARGETS]
    if others:
        raise ValueError(f"{title}: gives {others[0]!r}, no prediction of {', '.join(TARGETS)}")
    built = build_tasks(TasksConfig(**{name: {"enabled": name in names} for name in TARGETS}))
    return [cast("Task", task) for task in built.values()]


def _check_copied(names: Sequence[str], paths: Sequence[Path], config: ReaderConfig) -> None:
    """Raise a ValueError where a branch to copy is ours, or not the same in all files."""
    found: dict[str, Column] = {}
    for path in paths if names else ():
        with TreeReader(path, config) as file:
            present = file.stored
        for name in names:
            if name in SCHEMA:
                raise ValueError(f"copy_branches: {name!r} has its own place in the output")
            if name not in present:
                raise ValueError(f"{path}: no branch {name!r} of numbers to copy; branches: {', '.join(present)}")
            before, now = (f"{c.dtype}[{c.width}]" for c in (found.setdefault(name, present[name]), present[name]))
            if now != before:
                raise ValueError(f"{path}: branch {name!r} is {now}, in the files before {before}")


def _reader_config(config: InferConfig, predictor: Predictor) -> ReaderConfig:
    """How files are read: the branches of the training, unless others are asked for."""
    trained = json.loads(predictor.metadata.get("config", "{}")).get("data", {})
    branches = {name: trained[name] for name in ("npho_branch", "time_branch") if name in trained}
    return ReaderConfig(**branches | config.model_dump(include=set(ReaderConfig.model_fields), exclude_unset=True))
