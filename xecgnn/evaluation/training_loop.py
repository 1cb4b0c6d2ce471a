"""Pictures and a report of a training loop of one's own; those of a run are artifacts, see `evaluation.report`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from xecgnn.evaluation.pages.curves import training_pictures
from xecgnn.evaluation.pages.page import save
from xecgnn.evaluation.pages.training_report import REPORT, training_report
from xecgnn.output import write_text
from xecgnn.training.metrics.history import CSV
from xecgnn.training.metrics.tracker import MetricsTracker, is_first_process

__all__ = ["generate_all_plots", "generate_report"]


def generate_all_plots(tracker: MetricsTracker, save_dir: str | Path) -> list[Path]:
    """Draw all pictures as PNG, 180 dots per inch; returns their paths. Only the first process draws.

    Raises:
        ValueError: no epoch is finished.
    """
    _check(tracker, "draw")
    pictures = training_pictures(tracker.curves, tracker.name) if is_first_process() else ()
    return [path for name, figures in pictures for path in save(Path(save_dir) / name, figures)]


def generate_report(
    tracker: MetricsTracker, config: Mapping[str, Any], save_dir: str | Path, plot_paths: Iterable[str | Path] = ()
) -> Path:
    """Write training_report.md; returns its path. Only the first process writes.

    Args:
        tracker: with at least one finished epoch.
        config: hyperparameters, nested as they are.
        save_dir: folder of the report; its files become the manifest.
        plot_paths: pictures to embed; those that are not there are left out.

    Raises:
        ValueError: no epoch is finished.
    """
    _check(tracker, "report")
    folder = Path(save_dir)
    if is_first_process():
        folder.mkdir(parents=True, exist_ok=True)
        text = training_report(tracker.curves, tracker.name, config, folder, map(Path, plot_paths))
        write_text(folder / REPORT, text)
    return folder / REPORT


def _check(tracker: MetricsTracker, what: str) -> None:
    if not tracker.history:
        raise ValueError(f"{tracker.output_dir / CSV}: no finished epoch, nothing to {what}")
