"""Events with masked sensors, and what a network says about these: for metrics, displays and files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from xecgnn.data.batch import Readings
from xecgnn.data.events import Events
from xecgnn.data.writer import write
from xecgnn.models.masked import ReconstructionNetwork, predict_masked
from xecgnn.names import FEATURES, INVALID_VALUE, MASKED
from xecgnn.nn.masking import Masker
from xecgnn.schema import prediction_of

__all__ = ["NPHO_VALID", "TIME_VALID", "reconstructions", "write_sensor_predictions"]

NPHO_VALID, TIME_VALID = "npho_valid", "time_valid"  # whether a network may look at a reading


@torch.no_grad()
def reconstructions(
    model: ReconstructionNetwork,
    masker: Masker,
    loader: Iterable[Readings],
    seed: int = 0,
    max_events: int | None = None,
) -> Iterator[Events]:
    """Mask sensors of the events of a loader and predict them, batch by batch.

    Columns: run, event where known; npho, relative_time as read; NPHO_VALID, TIME_VALID; masked, among those with valid
    npho; pred_npho and, if the network predicts it, pred_relative_time of all sensors.

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
    path: Path,
    model: ReconstructionNetwork,
    masker: Masker,
    loader: Iterable[Readings],
    seed: int = 0,
    max_events: int | None = None,
) -> None:
    """Stream truth and prediction of every sensor to a ROOT file; arguments and columns as for `reconstructions`.

    Predictions are `INVALID_VALUE` where the sensor was not masked.
    """

    def as_written(events: Events) -> Events:
        names = [name for name in events.fields if name not in (NPHO_VALID, TIME_VALID)]
        floats = events.select(*(name for name in names if events[name].dtype.kind == "f")).columns
        hidden = {n: v if n in FEATURES else np.where(events[MASKED], v, INVALID_VALUE) for n, v in floats.items()}
        return events.select(*names).with_columns({n: np.nan_to_num(v, nan=INVALID_VALUE) for n, v in hidden.items()})

    write(map(as_written, reconstructions(model, masker, loader, seed, max_events)), path)


def _reconstruct(model: ReconstructionNetwork, masker: Masker, batch: Readings, generator: torch.Generator) -> Events:
    (npho_valid, time_valid), masked, predicted = predict_masked(model, masker, batch, generator)
    channels = predicted.size(-1)
    predicted = model.backbone.normalizer.inverse(nn.functional.pad(predicted.float(), (0, 2 - channels)))
    found = {NPHO_VALID: npho_valid, TIME_VALID: time_valid, MASKED: masked}
    found |= {prediction_of(name): predicted[..., i] for i, name in enumerate(FEATURES[:channels])}
    events = batch.as_events().select("identifier", "reading")
    return events.with_columns({name: values.cpu().numpy() for name, values in found.items()})
