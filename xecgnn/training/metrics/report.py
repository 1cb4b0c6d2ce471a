"""training_report.md: a run on one page, with its settings, its table and its pictures."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from xecgnn.output import markdown_table, write_text
from xecgnn.training.metrics.plots import CAPTIONS, generate_all_plots
from xecgnn.training.metrics.tracker import CSV, METRICS, MetricsTracker, is_first_process

__all__ = ["REPORT", "generate_report", "report_run"]

log = logging.getLogger(__name__)

REPORT = "training_report.md"


def report_run(folder: str | Path) -> list[Path]:
    """Pictures and report in metrics/ of the folder of a run, from the table there and config.yaml; the files written.

    A folder without a finished epoch is told in a line of the log.
    """
    metrics = Path(folder) / METRICS
    tracker = MetricsTracker(metrics)
    if not tracker.history:
        log.warning("%s: no finished epoch, no training report", tracker.output_dir / CSV)
        return []
    config = yaml.safe_load((Path(folder) / "config.yaml").read_text())
    pictures = generate_all_plots(tracker, metrics)
    return [*pictures, generate_report(tracker, config, metrics, pictures)]


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
    path = Path(save_dir) / REPORT
    if not tracker.history:
        raise ValueError(f"{tracker.output_dir / CSV}: no finished epoch, nothing to report")
    if not is_first_process():
        return path
    pictures = sorted(filter(Path.is_file, map(Path, plot_paths)), key=lambda p: p.stem != "training_dashboard")
    sections = [
        f"# Training report: {tracker.name}",
        "## Summary\n\n" + markdown_table([("quantity", "value"), *_summary(tracker)]),
        f"## Hyperparameters\n\n```json\n{json.dumps(config, indent=2, default=str)}\n```",
        "## Epochs\n\n" + _epochs(tracker),
        "## Pictures\n\n" + "\n\n".join(_picture(picture, path.parent) for picture in pictures),
        "## Files\n\n" + markdown_table([("file", "size"), *_manifest(path)]),
    ]
    write_text(path, "\n\n".join(sections) + "\n")
    return path


def _summary(tracker: MetricsTracker) -> Iterator[tuple[str, str]]:
    last = tracker.history[-1]
    for column, name in (("loss_mean", "training loss"), ("val_loss", "validation loss")):
        best = tracker.best(column)
        if best is not None:
            yield f"best {name}", f"{best.get(column):.5g} (epoch {best.epoch})"
            yield f"last {name}", f"{last.get(column):.5g} (epoch {last.epoch})"
    yield "finished epochs", str(len(tracker.history))
    yield "wall-clock time", str(timedelta(seconds=round(last.cumulative_time_sec or 0.0)))
    speeds = [m.samples_per_sec for m in tracker.history if m.samples_per_sec]
    if speeds:
        yield "throughput", f"{sum(speeds) / len(speeds):.5g} samples / s"
    peak = max(m.gpu_peak_mb or 0 for m in tracker.history)
    yield "GPU memory, peak", f"{peak / 1000:.3g} GB" if peak else "no GPU"


def _epochs(tracker: MetricsTracker) -> str:
    """All columns that have a value."""
    rows = [{name: f"{v:.5g}" for name, v in metrics.row.items() if v is not None} for metrics in tracker.history]
    columns = [name for name in tracker.columns if any(name in row for row in rows)]
    return markdown_table([columns, *([row.get(name, "") for name in columns] for row in rows)])


def _picture(path: Path, folder: Path) -> str:
    title, caption = CAPTIONS.get(path.stem, (path.stem, ""))
    link = f"![{title}]({quote(os.path.relpath(path, folder))})"
    return f"### {title}\n\n{link}\n" + (f"*{caption}.*" if caption else "")


def _manifest(report: Path) -> Iterator[tuple[str, str]]:
    """The files beside the report, and around metrics/ those of the run."""
    folder = report.parent.resolve()
    for place in [folder.parent, folder] if folder.name == METRICS else [folder]:
        for path in sorted(place.iterdir()):
            if path.is_file() and path.name != report.name and path.suffix != ".part":
                name, size = os.path.relpath(path, folder), path.stat().st_size
                yield f"[{name}]({quote(name)})", f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"
