"""Events with masked sensors, and what a network says about these: for metrics, displays and files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from xecgnn.data.events import Events
from xecgnn.data.writer import write
from xecgnn.names import IDENTIFIERS, INVALID_VALUE, MASKED, NPHO, RELATIVE_TIME
from xecgnn.nn.masking import Masker, predict_masked
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


@torch.no_grad()
def reconstructions(
    model: Any, masker: Masker, loader: Iterable[Any], seed: int = 0, max_events: int | None = None
) -> Iterator[Reconstruction]:
    """Mask sensors of the events of a loader and predict them, batch by batch.

    Args:
        model: `Inpainter` or `MaskedAutoencoder`, on the device to use.
        masker: chooses the sensors, the same ones for the same seed and batches.
        loader: batches of graphs (`batch[face].x`).
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
            events += batch.num_graphs
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


def _reconstruct(model: Any, masker: Masker, batch: Any, generator: torch.Generator) -> Reconstruction:
    faces, normalizer = model.detector.faces, model.encoder.normalizer
    readings = {face: batch[face].x for face in faces}
    validity, masked, predictions = predict_masked(model, masker, readings, generator)
    channels = next(iter(predictions.values())).shape[-1]
    order = np.argsort(np.concatenate([face.sensor_ids for face in faces.values()]))

    def by_id(values: dict[str, torch.Tensor]) -> NDArray:
        """(B * N, ...) of the faces -> (B, S, ...)."""
        parts = [values[name].unflatten(0, (-1, len(face))) for name, face in faces.items()]
        return torch.cat(parts, 1).cpu().numpy()[:, order]

    npho, time = np.moveaxis(by_id(readings), -1, 0)
    npho_valid, time_valid = (by_id({face: valid[i] for face, valid in validity.items()}) for i in (0, 1))
    padded = {face: nn.functional.pad(values.float(), (0, 2 - channels)) for face, values in predictions.items()}
    predicted = by_id({face: normalizer.inverse(values) for face, values in padded.items()})
    return Reconstruction(
        {name: batch[name].cpu().numpy() for name in IDENTIFIERS if name in batch},
        npho,
        time,
        npho_valid,
        time_valid,
        by_id(masked),
        predicted[..., 0],
        predicted[..., 1] if channels == 2 else None,
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
