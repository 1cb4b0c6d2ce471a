"""Predictions of a trained network for files of any number and size: one ROOT file, as a table too."""

from __future__ import annotations

import json
import logging
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

from xecgnn.data.config import ReaderConfig
from xecgnn.data.events import Events
from xecgnn.data.files import common_columns, scan_files
from xecgnn.data.parts import merged_before, stored_events
from xecgnn.data.reader import TreeReader
from xecgnn.data.writer import write_csv
from xecgnn.inference.config import InferConfig
from xecgnn.inference.predictions import predict, predicted_tasks
from xecgnn.inference.predictor import Predictor, load_predictor
from xecgnn.inference.stream import Job, batch_size, run_job
from xecgnn.names import FEATURES, IDENTIFIERS, MODEL_HASH, SCHEMA
from xecgnn.output import check_new
from xecgnn.provenance import file_hash
from xecgnn.schema import Column

__all__ = ["predict_files"]

log = logging.getLogger(__name__)


def predict_files(config: InferConfig) -> Path:
    """Predict every event, in the order of the files; an interrupted call goes on where it stopped. Returns the output.

    The tree has run, event, pred_<truth>, sigma_<truth>, and truth and limits where all files have these; beside it lie
    the strings "model", SHA-256 of the model file, and "model_hash", that of its weights. An event without any valid
    npho is predicted as NaN (class -1).

    Raises:
        FileExistsError: an output exists.
        FileNotFoundError, ValueError: a model or a file that cannot be used; as `run_job`.
    """
    check_new(config.output)
    if config.csv and not merged_before(config.output):
        check_new(config.csv)
    predictor = load_predictor(config.onnx, one_thread=True)
    predicted_tasks(predictor, config.onnx)
    log.info("%s: %s, %s", config.onnx, ", ".join(predictor.output_names), predictor.provider)
    reader = _reader_config(config, predictor)
    scans = scan_files(config.input, FEATURES, reader, predictor.num_sensors)
    truth = common_columns(scans, SCHEMA.names("truth", "reference", "identifier"))
    scans = scan_files([scan.path for scan in scans], (*FEATURES, *truth), reader, predictor.num_sensors)
    _check_copied(config.copy_branches, [scan.path for scan in scans], reader)
    read = tuple(dict.fromkeys((*FEATURES, *truth, *config.copy_branches)))
    first = [name for name in IDENTIFIERS if name in truth]

    def apply(stream: Iterator[Events]) -> Generator[Events]:
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

    notes = {"model": model_hash, MODEL_HASH: predictor.metadata.get(MODEL_HASH, "")}
    events = run_job(job, config.output, notes, write_table)
    log.info("%s: %d events of %d files", config.output, events, len(scans))
    return config.output


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
