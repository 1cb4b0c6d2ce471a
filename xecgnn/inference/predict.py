"""Predictions of a trained network for files of any number and size: one ROOT file, as a table too."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch

from xecgnn.data.config import ReaderConfig
from xecgnn.data.files import OPTIONAL, common_columns, scan_files
from xecgnn.data.parts import read_portions
from xecgnn.data.reader import TreeReader
from xecgnn.data.writer import layout_of
from xecgnn.evaluation.predictions import write_csv
from xecgnn.inference.config import InferConfig
from xecgnn.inference.predictor import Predictor, load_predictor
from xecgnn.inference.stream import Columns, Job, file_hash, run_job
from xecgnn.names import BRANCHES, FEATURES, IDENTIFIERS, TARGETS, UNKNOWN_CLASS, is_valid
from xecgnn.output import check_new
from xecgnn.tasks.config import TasksConfig
from xecgnn.tasks.registry import build_tasks
from xecgnn.tasks.task import Task

__all__ = ["predict_files"]

log = logging.getLogger(__name__)


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
    others = [name for name in predictor.output_names if name.removesuffix("_sigma") not in TARGETS]
    if others:
        raise ValueError(f"{config.onnx}: gives {others[0]!r}, no prediction of {', '.join(TARGETS)}")
    log.info("%s: %s, %s", config.onnx, ", ".join(predictor.output_names), predictor.provider)
    reader = _reader_config(config, predictor)
    scans = scan_files(config.input, FEATURES, reader, predictor.num_sensors)
    copied = common_columns(scans, (*IDENTIFIERS, *(name for name in OPTIONAL if name not in IDENTIFIERS)))
    scans = scan_files([scan.path for scan in scans], (*FEATURES, *copied), reader, predictor.num_sensors)
    further = _further_branches(config.copy_branches, [scan.path for scan in scans], reader)
    predict = _Predict(predictor, copied)

    def read(file: TreeReader, start: int, stop: int) -> Columns:
        others = {name: file.read_branch(name, start, stop) for name in further}
        return file.read((*FEATURES, *copied), start, stop) | others

    def compute(batch: Columns) -> Columns:
        return predict(batch) | {name: batch[name] for name in further}

    # Before anything is written: does the network run, and what comes out?
    widths = {name: BRANCHES[name].width for name in copied} | dict.fromkeys(FEATURES, predictor.num_sensors)
    event = {name: np.zeros((1, width) if width > 1 else 1, np.float32) for name, width in widths.items()}
    layout = {**layout_of(predict(event)), **further}
    model_hash = file_hash(config.onnx)
    depends_on = {"model": model_hash[:12], "provider": predictor.provider, "copied": ", ".join(further)}
    job = Job(scans, reader, config.batch, read, compute, layout, depends_on, predictor.on_gpu)

    if config.csv:
        config.csv.parent.mkdir(parents=True, exist_ok=True)

    def write_table(merged: Path) -> None:
        if config.csv:
            write_csv(config.csv, read_portions(merged))

    notes = {"model": model_hash, "model_hash": predictor.metadata.get("model_hash", "")}
    events = run_job(job, config.output, notes, write_table)
    log.info("%s: %d events of %d files", config.output, events, len(scans))
    return config.output


class _Predict:
    """Columns of a batch as read -> columns of the output."""

    def __init__(self, predictor: Predictor, copied: Sequence[str]) -> None:
        self.predictor = predictor
        self.copied = copied
        tasks = {name.removesuffix("_sigma") for name in predictor.output_names}
        built = build_tasks(TasksConfig(**{name: {"enabled": name in tasks} for name in TARGETS}))
        self.tasks = [cast("Task", task) for task in built.values()]

    def __call__(self, batch: Columns) -> Columns:
        npho, time = (np.ascontiguousarray(batch[name], np.float32) for name in FEATURES)
        outputs = {name: torch.from_numpy(values) for name, values in self.predictor.predict(npho, time).items()}
        empty = ~is_valid(npho).any(1)
        predicted: Columns = {}
        for task in self.tasks:
            predicted |= task.columns(outputs)
        for values in predicted.values():
            values[empty] = np.nan if values.dtype.kind == "f" else UNKNOWN_CLASS
        copied = {name: batch[name].astype(BRANCHES[name].dtype) for name in self.copied}
        identifiers = {name: copied.pop(name) for name in IDENTIFIERS if name in copied}
        return {**identifiers, **predicted, **copied}


def _further_branches(names: Sequence[str], paths: Sequence[Path], config: ReaderConfig) -> dict[str, tuple[str, int]]:
    """Name -> (dtype, width) of the branches to copy, which every file must have alike."""
    layouts: dict[str, tuple[str, int]] = {}
    for path in paths if names else ():
        with TreeReader(path, config) as file:
            present, _ = file.layout()
        for name in names:
            if name in BRANCHES or name.startswith(("pred_", "sigma_")):
                raise ValueError(f"copy_branches: {name!r} has its own place in the output")
            if name not in present:
                raise ValueError(f"{path}: no branch {name!r} of numbers to copy; branches: {', '.join(present)}")
            if layouts.setdefault(name, present[name]) != present[name]:
                raise ValueError(f"{path}: branch {name!r} is {present[name]}, in the files before {layouts[name]}")
    return layouts


def _reader_config(config: InferConfig, predictor: Predictor) -> ReaderConfig:
    """How files are read: the branches of the training, unless others are asked for."""
    trained = json.loads(predictor.metadata.get("config", "{}")).get("data", {})
    branches = {name: trained[name] for name in ("npho_branch", "time_branch") if name in trained}
    return ReaderConfig(**branches | config.model_dump(include=set(ReaderConfig.model_fields), exclude_unset=True))
