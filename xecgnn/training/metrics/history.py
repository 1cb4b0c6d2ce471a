"""The table of a training, read again: numbers by metric and epoch."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

__all__ = ["CSV", "METRICS", "History", "curves", "read_metrics"]

METRICS = "metrics"  # in the folder of a run
CSV = "training_metrics.csv"

History = dict[str, dict[int, float]]  # {metric: {epoch: finite value}}, no empty ones


def read_metrics(path: Path) -> list[dict[str, float]]:
    """Rows of training_metrics.csv, each without what is empty; none without the file.

    A last line that was cut off when the process was killed does not count.
    """
    lines = path.read_text().splitlines(keepends=True) if path.is_file() else []
    if lines and not lines[-1].endswith("\n"):
        lines.pop()
    try:
        rows = [{name: float(text) for name, text in row.items() if text} for row in csv.DictReader(lines)]
        return [{"epoch": row.pop("epoch"), **row} for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not a table of training metrics ({type(error).__name__}: {error})") from None


def curves(rows: Iterable[Mapping[str, float | None]]) -> History:
    """The finite values of rows of a table, by metric and epoch."""
    history: History = {}
    for row in rows:
        for metric, value in row.items():
            if metric != "epoch" and value is not None and math.isfinite(value):
                history.setdefault(metric, {})[int(row["epoch"] or 0)] = value
    return history
