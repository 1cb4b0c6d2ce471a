"""The table at the end of a run: the metrics of each task, network beside baselines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from xecgnn.evaluation.limits import USES_TRUTH, uses_truth
from xecgnn.evaluation.measures import logged_metrics, measure, usable_events
from xecgnn.table import Table, number
from xecgnn.tasks.ranking import penalty
from xecgnn.tasks.task import Task

__all__ = ["sample_line", "summary_table"]

NOTE = f"* {USES_TRUTH}: what could be reached at all, no strict bound"


def sample_line(test_path: Sequence[str] | None) -> str:
    """Says of the numbers below which events they are from, as the setting `data.test_path` tells."""
    return f"test events, {', '.join(test_path)}" if test_path else "validation events, also used to choose the epoch"


def summary_table(
    tasks: Mapping[str, Task], predictions: Mapping[str, Mapping[str, np.ndarray]], truth: Mapping[str, np.ndarray]
) -> str:
    """Aligned text: a block per task, a row per metric with its unit, a column per method.

    Under it a line for each resolution (or accuracy) in which the network, the first method, beats no other one, and
    what the limits are.

    Args:
        tasks: the tasks by name.
        predictions: {task: {title: (E, ...)}} in physical units.
        truth: {branch: (E,) or (E, width)}.
    """
    blocks = []
    for name, task in tasks.items():
        target = truth[task.branch]
        found = measure(task, predictions[name], target)
        metrics = {title: logged_metrics(task, estimates) for title, estimates in found.items()}
        titles = [title.replace(f" ({USES_TRUTH})", "*") for title in metrics]
        table = Table([f"{name} ({usable_events(task, {}, target).sum()} events)", *titles])
        for key, unit in task.metric_units().items():
            table.add(f"{key} [{unit}]" if unit else key, *(values[key] for values in metrics.values()))
        reached = {title: values for title, values in metrics.items() if not uses_truth(title)}
        blocks.append(
            "\n".join([table.text(), *_unbeaten(task, reached), *([NOTE] if len(reached) < len(metrics) else [])])
        )
    return "\n\n".join(blocks)


def _unbeaten(task: Task, measured: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    """Where the first method is not better than the best of the others."""
    (network, found), *others = measured.items()
    units = task.metric_units()
    for key in [task.metric_prefix + name for name in task.resolutions] or units:
        finite = {title: values[key] for title, values in others if np.isfinite(values[key])}
        best = min(finite, key=lambda title: penalty(key, finite[title]), default=None)
        if best is not None and not penalty(key, found[key]) < penalty(key, finite[best]):
            quantity = f"{key.removesuffix('_resolution_68')}, 68 %" if len(task.resolutions) > 1 else "68 %"
            against = f"{number(found[key])} against {number(finite[best])} {units[key]}".rstrip()
            yield f"the {network} does not beat the {best}: {against} ({quantity if task.resolutions else 'accuracy'})"
