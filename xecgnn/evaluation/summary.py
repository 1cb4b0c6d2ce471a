"""The table at the end of a run: the metrics of each task, network beside baselines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from xecgnn.evaluation.run_history import badness
from xecgnn.tasks.task import Task

__all__ = ["measure", "sample_line", "summary_table"]


def sample_line(test_path: Sequence[str] | None) -> str:
    """Says of the numbers below which events they are from, as the setting `data.test_path` tells."""
    return f"test events, {', '.join(test_path)}" if test_path else "validation events, also used to choose the epoch"


def measure(task: Task, predictions: Mapping[str, NDArray], target: NDArray) -> dict[str, dict[str, float]]:
    """Metrics of each prediction {title: (E, ...)} of a task against its target: {title: {metric: value}}."""
    measured = {}
    for title, values in predictions.items():
        metrics = task.build_metrics()
        metrics.update(torch.tensor(values), torch.tensor(target))
        measured[title] = {key: float(value) for key, value in metrics.compute().items()}
    return measured


def summary_table(
    tasks: Mapping[str, Task], predictions: Mapping[str, Mapping[str, NDArray]], truth: Mapping[str, NDArray]
) -> str:
    """Aligned text: a block per task, a row per metric with its unit, a column per method.

    Under it a line for each resolution (or accuracy) in which the network, the first method, beats no other one.

    Args:
        tasks: the tasks by name.
        predictions: {task: {title: (E, ...)}} in physical units.
        truth: {branch: (E,) or (E, width)}.
    """
    blocks = []
    for name, task in tasks.items():
        target = truth[task.branch]
        measured = measure(task, predictions[name], target)
        known = int(task.valid(torch.tensor(target).reshape(len(target), -1)).sum())
        rows = [[f"{name} ({known} events)", *measured]]
        for key, unit in task.metric_units().items():
            rows.append([f"{key} [{unit}]" if unit else key, *(number(values[key]) for values in measured.values())])
        blocks.append("\n".join([aligned(rows), *_unbeaten(task, measured)]))
    return "\n\n".join(blocks)


def _unbeaten(task: Task, measured: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    """Where the first method is not better than the best of the others."""
    (network, found), *others = measured.items()
    units = task.metric_units()
    for key in [task.metric_prefix + name for name in task.resolutions] or units:
        finite = {title: values[key] for title, values in others if np.isfinite(values[key])}
        best = min(finite, key=lambda title: badness(key, finite[title]), default=None)
        if best is not None and not badness(key, found[key]) < badness(key, finite[best]):
            quantity = f"{key.removesuffix('_resolution_68')}, 68 %" if len(task.resolutions) > 1 else "68 %"
            against = f"{number(found[key])} against {number(finite[best])} {units[key]}".rstrip()
            yield f"the {network} does not beat the {best}: {against} ({quantity if task.resolutions else 'accuracy'})"


def number(value: float) -> str:
    """Four significant digits, at most three decimals, no exponent."""
    digits = 3 if not np.isfinite(value) or value == 0 else int(np.clip(3 - np.floor(np.log10(abs(value))), 0, 3))
    return f"{round(value, digits) + 0.0:.{digits}f}"  # + 0.0: no "-0.000"


def aligned(rows: list[list[str]]) -> str:
    """Rows of cells as text: first column to the left, others to the right, a rule under the head."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for head, *cells in rows:
        lines.append("  ".join([head.ljust(widths[0]), *map(str.rjust, cells, widths[1:])]))
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])
