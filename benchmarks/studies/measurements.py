"""What a network answers on a sample: resolutions, what a linear fit finds in its tokens, how well it fills sensors."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from studies.samples import Sample
from studies.study import Folders, Metrics
from xecgnn.data import DataConfig, EventLoader, Readings
from xecgnn.detector import Detector
from xecgnn.directions import opening_angle
from xecgnn.evaluation import evaluate_inpainting
from xecgnn.nn import Masker, MaskingConfig
from xecgnn.tasks.metrics import QUANTILE

__all__ = ["Transform", "events", "filling_errors", "kill", "linear_fit", "resolutions"]

BATCH = 50

Transform = Callable[[Readings], Readings]


def events(folders: Folders, detector: Detector, samples: Sequence[Sample]) -> EventLoader:
    """Batches of all events with their truth, in the order of the files."""
    paths = [str(sample.file(folders.data)) for sample in samples]
    return EventLoader(paths, detector, DataConfig(batch_size=BATCH, num_workers=0), shuffle=False)


@torch.no_grad()
def resolutions(model: Any, batches: Iterable[Readings], change: Transform = lambda batch: batch) -> Metrics:
    """Metrics of all tasks on events whose readings `change` may change."""
    metrics = {name: model.task(name).build_metrics() for name in model.tasks}
    for batch in batches:
        predictions = model(change(batch))
        for name, metric in metrics.items():
            metric.update(predictions[name], batch.y[name])
    return {key: float(value) for metric in metrics.values() for key, value in metric.compute().items()}


def linear_fit(
    model: Any, train: Iterable[Readings], judged: Iterable[Readings], penalties: Sequence[float]
) -> float:
    """Opening angle (deg) that a ridge fit of the direction to the fused tokens reaches, the network as it is."""

    @torch.no_grad()
    def tokens(batches: Iterable[Readings]) -> tuple[Tensor, Tensor]:
        pairs = [(model.backbone(batch).flatten(1), batch.y["angle"]) for batch in batches]
        x, angles = (torch.cat(part).double() for part in zip(*pairs, strict=True))
        return x, model.task("angle").to_vector(angles)

    (x, direction), (x_new, direction_new) = tokens(train), tokens(judged)
    mean, std = x.mean(0), x.std(0)
    x, x_new = (nn.functional.pad((values - mean) / std, (0, 1), value=1.0) for values in (x, x_new))

    def resolution(rows: int, penalty: float, x_new: Tensor, direction_new: Tensor) -> float:
        matrix = x[:rows].T @ x[:rows] + penalty * torch.eye(x.size(1), dtype=x.dtype)
        found = x_new @ torch.linalg.solve(matrix, x[:rows].T @ direction[:rows])
        return float(opening_angle(found, direction_new).rad2deg().quantile(QUANTILE))

    rows = int(0.8 * len(x))  # the penalty is chosen on the rest of the training events
    best = min(penalties, key=lambda penalty: resolution(rows, penalty, x[rows:], direction[rows:]))
    return resolution(len(x), best, x_new, direction_new)


def filling_errors(inpainter: Any, batches: Iterable[Readings], share: float) -> Metrics:
    """{face: {method: 68 % quantile of the error of npho, photons}} of a share of the sensors, hidden at random."""
    masker = Masker(inpainter.detector, MaskingConfig(mask_ratio=share, pattern="random"))
    with tempfile.TemporaryDirectory() as folder:
        evaluate_inpainting(inpainter, masker, batches, Path(folder), "filled")
        with (Path(folder) / "inpainting_filled.csv").open() as file:
            rows = list(csv.DictReader(file))
    found: Metrics = {}
    for row in rows:
        if (row["quantity"], row["npho_from"], row["npho_to"]) == ("npho", "-inf", "inf"):
            found.setdefault(row["face"], {})[row["method"]] = float(row["resolution_68"])
    return found


def kill(model: Any, share: float, inpainter: Any = None) -> Transform:
    """Makes a share of the sensors invalid, the same ones at every call of this function; and fills them."""
    masker = Masker(model.detector, MaskingConfig(mask_ratio=share, pattern="random"))
    generator = torch.Generator().manual_seed(0)

    def change(batch: Readings) -> Readings:
        dead = masker(batch.x, model.backbone.normalizer.validity(batch.x), generator)
        killed = Readings(torch.where(dead.unsqueeze(-1), torch.nan, batch.x))
        return Readings(inpainter.fill(killed)[0]) if inpainter else killed

    return change
