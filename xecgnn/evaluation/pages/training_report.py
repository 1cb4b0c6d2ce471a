"""training_report.md: a run on one page, with its settings, its table and its pictures."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from xecgnn.evaluation.pages.curves import CAPTIONS, DASHBOARD, resolution_plots
from xecgnn.table import Table
from xecgnn.training.metrics.history import METRICS, History

__all__ = ["REPORT", "training_report"]

REPORT = "training_report.md"


def training_report(
    history: History,
    run_name: str,
    settings: Mapping[str, Any],
    folder: Path,
    pictures: Iterable[Path],
    made: Iterable[str] = (),
) -> str:
    """The text.

    Args:
        history: with at least one finished epoch.
        run_name: its title.
        settings: nested as they are.
        folder: of the report; its files become the manifest.
        pictures: to embed; those that are not there are left out.
        made: further sections, after the summary.
    """
    shown = sorted(filter(Path.is_file, pictures), key=lambda path: path.stem != DASHBOARD)
    epochs = sorted(set().union(*history.values()))
    table = Table(["epoch", *history])
    for epoch in epochs:
        table.add(epoch, *(f"{values[epoch]:.5g}" if epoch in values else "" for values in history.values()))
    sections = [
        f"# Training report: {run_name}",
        "## Summary\n\n" + Table(["quantity", "value"], list(_summary(history, epochs))).markdown(),
        *made,
        f"## Hyperparameters\n\n```json\n{json.dumps(settings, indent=2, default=str)}\n```",
        "## Epochs\n\n" + table.markdown(),
        "## Pictures\n\n" + "\n\n".join(_picture(picture, folder) for picture in shown),
        "## Files\n\n" + Table(["file", "size"], list(_manifest(folder))).markdown(),
    ]
    return "\n\n".join(sections) + "\n"


def _summary(history: History, epochs: list[int]) -> Iterator[tuple[str, str]]:
    for column, name in (("loss_mean", "training loss"), ("val_loss", "validation loss")):
        if values := history.get(column):
            best = min(values, key=values.__getitem__)
            yield f"best {name}", f"{values[best]:.5g} (epoch {best})"
            yield f"last {name}", f"{values.get(epochs[-1], float('nan')):.5g} (epoch {epochs[-1]})"
    for plot in resolution_plots(history):
        for label, _ in plot.columns.values():
            name, _, value = label.partition(": ")
            yield name, value
    yield "finished epochs", str(len(epochs))
    yield "wall-clock time", str(timedelta(seconds=round(max(history.get("cumulative_time_sec", {0: 0.0}).values()))))
    if speeds := history.get("samples_per_sec"):
        yield "throughput", f"{sum(speeds.values()) / len(speeds):.5g} samples / s"
    peak = max(history.get("gpu_peak_mb", {0: 0.0}).values())
    yield "GPU memory, peak", f"{peak / 1000:.3g} GB" if peak else "no GPU"


def _picture(path: Path, folder: Path) -> str:
    title, caption = CAPTIONS.get(path.stem, (path.stem, ""))
    link = f"![{title}]({quote(os.path.relpath(path, folder))})"
    return f"### {title}\n\n{link}\n" + (f"*{caption}.*" if caption else "")


def _manifest(folder: Path) -> Iterator[tuple[str, str]]:
    """The files beside the report, and around metrics/ those of the run."""
    folder = folder.resolve()
    for place in [folder.parent, folder] if folder.name == METRICS else [folder]:
        for path in sorted(place.iterdir()):
            if path.is_file() and path.name != REPORT and path.suffix != ".part":
                name, size = os.path.relpath(path, folder), path.stat().st_size
                yield f"[{name}]({quote(name)})", f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"
