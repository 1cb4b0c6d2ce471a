"""What follows the training of a network that predicts sensors: its residuals as table, CSV and plots, and pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from xecgnn.data.batch import Readings
from xecgnn.data.events import Events
from xecgnn.evaluation.artifacts import artifact, make
from xecgnn.evaluation.display.reconstruction import reconstruction_pages
from xecgnn.evaluation.inpainting import InpaintingResiduals
from xecgnn.evaluation.pages.inpainting import inpainting_pages
from xecgnn.evaluation.pages.page import Content
from xecgnn.evaluation.reconstruction import reconstructions
from xecgnn.models.masked import ReconstructionNetwork
from xecgnn.nn.masking import Masker
from xecgnn.progress import progress

__all__ = ["evaluate_inpainting"]

EXAMPLES = 4  # events that are drawn


class PredictedSensors(NamedTuple):
    """What is drawn of it."""

    run_name: str
    residuals: InpaintingResiduals
    examples: list[Events]


def evaluate_inpainting(
    model: ReconstructionNetwork,
    masker: Masker,
    loader: Iterable[Readings],
    folder: Path,
    run_name: str,
    *,
    seed: int = 0,
    max_events: int | None = None,
) -> tuple[str, list[Path]]:
    """Measure the prediction of masked sensors, and write inpainting_<run_name>.csv,
    inpainting_resolution_<run_name>.pdf and, of the first events, reconstruction_<run_name>.pdf.

    Other arguments are those of `reconstructions`. Returns the table as text, and the files.
    """
    threshold = float(model.backbone.normalizer.npho_threshold)
    found = PredictedSensors(run_name, InpaintingResiduals(model.detector, threshold), [])
    total = max_events or getattr(loader, "num_events", None)
    for events in progress(reconstructions(model, masker, loader, seed, max_events), "reconstructions", total):
        found.residuals.add(events)
        if left := EXAMPLES - sum(map(len, found.examples)):
            found.examples.append(events[:left])
    return found.residuals.table(), make(found, folder)


@artifact("inpainting", "residuals", "examples")
def _files(found: PredictedSensors) -> Iterator[tuple[str, Content]]:
    measured, name = found.residuals, found.run_name
    yield f"inpainting_{name}.csv", measured.csv()
    yield f"inpainting_resolution_{name}.pdf", inpainting_pages(measured, name)
    pages = reconstruction_pages(measured.detector, found.examples, measured.npho_threshold, name)
    yield f"reconstruction_{name}.pdf", pages
