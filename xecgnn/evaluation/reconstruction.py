"""Events with masked sensors, and what a network says about these: for metrics, displays and files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from xecgnn.data.batch import Readings
from xecgnn.data.events import Events
from xecgnn.data.writer import write
from xecgnn.models.masked import ReconstructionNetwork, predict_masked
from xecgnn.names import INVALID_VALUE, MASKED, NPHO, RELATIVE_TIME
from xecgnn.nn.masking import Masker
from xecgnn.schema import prediction_of

__all__ = ["Reconstruction", "reconstructions", "write_sensor_predictions"]

Floats = NDArray[np.floating]
Bools = NDArray[np.bool_]


class Reconstruction(NamedTuple):
    """B events by sensor id: arrays (B, S), but for the identifiers."""

    identifiers: dict[str, NDArray]  # run, event where known, (B,)
    npho: Floats  # as read
    time: Floats  # s, as read
    npho_valid: Bools
    time_valid: Bools
    masked: Bools  # hidden from the network, among those with valid npho
    predicted_npho: Floats
    predicted_time: Floats | None  # s; None if the network does not predict it

    def first(self, count: int) -> Reconstruction:
        """The first `count` of the events."""
        arrays: Any = (None if array is None else array[:count] for array in self[1:])
        return Reconstruction({name: values[:count] for name, values in self.identifiers.items()}, *arrays)


@torch.no_grad()
def reconstructions(
    model: Any, masker: Masker, loader: Iterable[Any], seed: int = 0, max_events: int | None = None
) -> Iterator[Reconstruction]:
    """Mask sensors of the events of a loader and predict them, batch by batch.

    Args:
        model: `Inpainter` or `MaskedAutoencoder`, on the device to use.
        masker: chooses the sensors, the same ones for the same seed and batches.
        loader: batches of readings.
        max_events: stop after the batch that reaches so many; None: all events.
    """
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)
    modes = [(module, module.training) for module in (model, masker)]
    model.eval()
    masker.to(device).eval()
    events = 0
    try:
        for batch in loader:
            yield _reconstruct(model, masker, batch.to(device), generator)
            events += len(batch)
            if max_events is not None and events >= max_events:
                break
    finally:
        for module, training in modes:
            module.train(training)


def write_sensor_predictions(
    path: Path, model: Any, masker: Masker, loader: Iterable[Any], seed: int = 0, max_events: int | None = None
) -> None:
    """Stream truth and prediction of every sensor to a ROOT file; arguments as for `reconstructions`.

    Branches: run, event where known; npho, relative_time as read; masked; pred_npho and, if it is predicted,
    pred_relative_time, `INVALID_VALUE` where the sensor was not masked.
    """
    found = reconstructions(model, masker, loader, seed, max_events)
    write((Events(_columns(events)) for events in found), path)


def _reconstruct(
    model: ReconstructionNetwork, masker: Masker, batch: Readings, generator: torch.Generator
) -> Reconstruction:
    (npho_valid, time_valid), masked, predicted = predict_masked(model, masker, batch, generator)
    channels = predicted.size(-1)
    predicted = model.backbone.normalizer.inverse(nn.functional.pad(predicted.float(), (0, 2 - channels)))
    return Reconstruction(
        {name: values.cpu().numpy() for name, values in batch.identifiers.items()},
        batch.x[..., 0].cpu().numpy(),
        batch.x[..., 1].cpu().numpy(),
        npho_valid.cpu().numpy(),
        time_valid.cpu().numpy(),
        masked.cpu().numpy(),
        predicted[..., 0].cpu().numpy(),
        predicted[..., 1].cpu().numpy() if channels == 2 else None,
    )


def _columns(events: Reconstruction) -> dict[str, NDArray]:
    """Branches of the file."""
    predicted = {prediction_of(NPHO): events.predicted_npho, prediction_of(RELATIVE_TIME): events.predicted_time}
    hidden = {name: np.where(events.masked, a, INVALID_VALUE) for name, a in predicted.items() if a is not None}
    floats = {NPHO: events.npho, RELATIVE_TIME: events.time, **hidden}
    return {
        **events.identifiers,
        **{name: np.nan_to_num(values, nan=INVALID_VALUE).astype(np.float32) for name, values in floats.items()},
        MASKED: events.masked,
    }
