"""Dead sensors of a file, filled with what an inpainting network predicts from the others; all else is copied."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from xecgnn.data.batch import Readings
from xecgnn.data.config import ReaderConfig
from xecgnn.data.dead_channels import read_dead_channels
from xecgnn.data.events import Events
from xecgnn.data.reader import TreeReader
from xecgnn.inference.config import FillConfig
from xecgnn.inference.stream import Job, batch_size, in_batches, run_job
from xecgnn.models.inpainter import Inpainter
from xecgnn.names import FEATURES, FILLED, INVALID_VALUE, NPHO, RELATIVE_NPHO, RELATIVE_TIME, TIME, is_valid
from xecgnn.output import check_new
from xecgnn.provenance import file_hash
from xecgnn.schema import Column, Schema

__all__ = ["fill_file"]

log = logging.getLogger(__name__)

# Branches that tell the same thing: of either, the other follows.
RATIO = {NPHO: RELATIVE_NPHO, RELATIVE_NPHO: NPHO}  # proportional within an event
OFFSET = {RELATIVE_TIME: TIME, TIME: RELATIVE_TIME}  # shifted within an event

Mask = NDArray[np.bool_]


def fill_file(config: FillConfig) -> Path:
    """Fill the sensors without valid npho, and those of the list, of every event; returns the output.

    Filled are the two branches that the network was trained with, and the other npho and time branches where there
    are any: relative_npho by the event's ratio to npho, time by its offset to relative_time. All other branches that
    can be written are copied as they are. An interrupted call goes on where it stopped.

    Raises:
        FileExistsError: the output exists.
        FileNotFoundError, ValueError: a checkpoint, list or file that cannot be used; as `run_job`.
    """
    from xecgnn.training.checkpoint import load_network

    check_new(config.output)
    model, run = load_network(config.checkpoint, kind="inpainting")
    trained = run["config"]["data"]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    log.info("%s: PyTorch on %s", config.checkpoint, device)
    dead = read_dead_channels(config.dead_channels, model.detector.num_sensors) if config.dead_channels else None

    reader = ReaderConfig(tree=config.tree, npho_branch=trained["npho_branch"], time_branch=trained["time_branch"])
    with TreeReader(config.input, reader) as file:
        copied, left_out = file.stored, file.unreadable
        scan = file.scan(FEATURES, model.detector.num_sensors)
    if left_out:
        log.warning("%s: left out, as no flat arrays of numbers: %s", config.input, ", ".join(left_out))
    fill, on_gpu = _Fill(model.to(device), dead, reader, copied), device.type == "cuda"

    apply = partial(in_batches, fill, size=config.batch, on_gpu=on_gpu)
    model_hash = file_hash(config.checkpoint)
    depends_on = {"model": model_hash[:12], "device": str(device), "dead channels": _digest(dead)}
    depends_on |= {"batch": str(batch_size(config.batch, on_gpu))}
    job = Job([scan], ReaderConfig(tree=config.tree), [*copied], apply, depends_on, Schema())  # all as it is stored
    events = run_job(job, config.output, {"model": model_hash})
    log.info("%s: %d events", config.output, events)
    return config.output


class _Fill:
    """Events with all branches as they are stored -> the same with dead sensors filled, and `filled`.

    Args:
        model: an `Inpainter`.
        dead: ids of sensors to fill whatever they read.
        reader: names the branches that the network knows.
        branches: as they are stored.
    """

    def __init__(
        self, model: Inpainter, dead: NDArray[np.int64] | None, reader: ReaderConfig, branches: Mapping[str, Column]
    ) -> None:
        self.model, self.detector = model, model.detector
        self.device = next(model.parameters()).device
        self.npho, self.time = reader.npho_branch, reader.time_branch
        sensors = self.detector.num_sensors
        self.derived = [
            (source, partner[source], derive)
            for source, partner, derive in ((self.npho, RATIO, _by_ratio), (self.time, OFFSET, _by_offset))
            if partner.get(source) in branches and branches[partner[source]].width == sensors
        ]
        if FILLED in branches:
            raise ValueError(f"the input has a branch {FILLED!r}: it was filled before")
        for name in (self.npho, self.time, *(partner for _, partner, _ in self.derived)):
            if np.dtype(branches[name].dtype).kind != "f":
                raise ValueError(f"branch {name!r} holds {branches[name].dtype}, filling needs floating-point numbers")
        self.dead = torch.zeros(sensors, dtype=torch.bool)
        self.dead[torch.from_numpy(dead) if dead is not None else []] = True

    def __call__(self, events: Events) -> Events:
        npho, time, filled = self._predict(events)
        predicted = {self.npho: npho, self.time: time}
        columns = {name: np.where(filled, values, events[name]) for name, values in predicted.items()}
        with np.errstate(all="ignore"):  # of invalid readings, whose results are not used
            for source, partner, derive in self.derived:
                derived = derive(columns[source], events[partner], filled)
                columns[partner] = np.where(filled, derived, events[partner]).astype(events[partner].dtype)
        return events.with_columns({**columns, FILLED: filled})

    def _predict(self, events: Events) -> tuple[NDArray[np.float32], NDArray[np.float32], Mask]:
        """npho and time (B, S) with predictions where `filled` (B, S); never NaN there."""
        x = np.stack([events[name].astype(np.float32) for name in (self.npho, self.time)], -1)  # [B, S, 2]
        dead = self.dead.expand(len(x), -1).to(self.device)
        with torch.inference_mode():
            readings, mask = self.model.fill(Readings(torch.from_numpy(x).to(self.device)), dead)
            npho, time = readings.cpu().numpy().transpose(2, 0, 1)
        filled = mask.cpu().numpy() & is_valid(npho)  # a prediction that overflows fills nothing
        return npho, np.where(is_valid(time), time, np.float32(INVALID_VALUE)), filled


def _by_ratio(source: np.ndarray, partner: np.ndarray, filled: Mask) -> NDArray[np.float64]:
    """`partner` (B, S) as it follows from `source`, by their ratio in the brightest sensor that was read."""
    there, partner_there, known = _reference(source, partner, filled, np.abs(source))
    return _where_known(known & is_valid(source), source * (partner_there / there))


def _by_offset(source: np.ndarray, partner: np.ndarray, filled: Mask) -> NDArray[np.float64]:
    """`partner` (B, S) as it follows from `source`, by their difference in the sensor nearest to zero (exact there)."""
    there, partner_there, known = _reference(source, partner, filled, -np.abs(source))
    return _where_known(known & is_valid(source), source + (partner_there - there))


def _reference(
    source: np.ndarray, partner: np.ndarray, filled: Mask, score: np.ndarray
) -> tuple[np.ndarray, np.ndarray, Mask]:
    """`source`, `partner` in the sensor of each event with the best score among those read; if there is any; (B, 1)."""
    usable = ~filled & is_valid(source) & is_valid(partner)
    best = np.where(usable, score, -np.inf).argmax(1)[:, None]
    there, partner_there, known = (np.take_along_axis(array, best, 1) for array in (source, partner, usable))
    return there.astype(np.float64), partner_there.astype(np.float64), known


def _where_known(known: Mask, values: np.ndarray) -> np.ndarray:
    return np.where(known & is_valid(values), values, INVALID_VALUE)


def _digest(dead: NDArray[np.int64] | None) -> str:
    return "none" if dead is None else f"{len(dead)}, {hashlib.sha256(dead.tobytes()).hexdigest()[:12]}"
