"""resolution_profile_<task>.pdf: residuals, and resolution and bias along the truth, for network and baselines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from xecgnn.estimate import TAIL, Estimate, mean, quantile
from xecgnn.evaluation.limits import uses_truth
from xecgnn.evaluation.measures import GAUSSIAN_TAIL, Method, build_methods, usable_events
from xecgnn.evaluation.pages import panels
from xecgnn.evaluation.pages.page import GREY, legend, looks, new_page
from xecgnn.names import UNKNOWN_CLASS
from xecgnn.tasks.axes import AXES, Axis
from xecgnn.tasks.task import Task

__all__ = ["ABSCISSAE", "resolution_pages"]

Array = NDArray[np.float64]
ABSCISSAE = {branch: AXES[branch] for branch in ("emiAng", "energyTruth", "uvwTruth")}
PANELS = 6  # abscissae on a page
LEGEND = 5  # methods in a row of the legend


class Row(NamedTuple):
    """What is drawn against each abscissa: an estimate of the values (E,) of each method."""

    label: str
    values: Sequence[Array]
    estimate: Callable[[Array], Estimate]


def resolution_pages(
    task: Task,
    predictions: Mapping[str, NDArray[Any]],
    truth: Mapping[str, NDArray[Any]],
    head: str,
    abscissae: Mapping[str, Sequence[Axis]] = ABSCISSAE,
) -> Iterator[Figure]:
    """The pages of one task, from the events with a target and all predictions.

    Args:
        task: the task.
        predictions: {title: (E, ...)} in physical units, the network first.
        truth: {branch: (E,) or (E, width)}.
        head: what the events are, shown on each page.
        abscissae: axes of the branches to profile along, where they are there and vary.
    """
    known = usable_events(task, predictions, truth[task.branch])
    footer = f"{head}   |   task {task.name}   |   {known.sum()} events"
    if any(map(uses_truth, predictions)):
        footer = f"what uses the truth is no strict bound   |   {footer}"
    if not known.any():
        yield new_page(f"{task.name}: no event has a known target and a finite prediction", footer)
        return
    target = truth[task.branch][known].reshape(known.sum(), -1)
    if not task.axes:
        figure = new_page(f"{task.name}: predicted and true classes", footer)
        panels.confusion(figure.subplots(), next(iter(predictions.values()))[known], target[:, 0].astype(np.int64))
        yield figure
        return
    methods = build_methods(task, {title: values[known] for title, values in predictions.items()}, target)
    title = f"{task.name}: residuals; tail: share beyond {TAIL:g} times their 68 % quantile"
    figure = new_page(f"{title} ({GAUSSIAN_TAIL:.2g} % of a Gaussian)", footer)
    yield _overview(figure, task, methods, task.shown(torch.tensor(target).double()).numpy())
    varying = _varying(truth, known, abscissae)
    for start in range(0, len(varying), PANELS):
        drawn = varying[start : start + PANELS]
        along = ", ".join(axis.symbol for axis, _ in drawn)
        for title, rows in _profiled(task, methods):
            yield _profiles(new_page(f"{task.name}: {title} along {along}", footer), methods, drawn, rows)


def _profiled(task: Task, methods: Sequence[Method]) -> Iterator[tuple[str, list[Row]]]:
    """Title and rows of a page for the joint error, where there is one, and of one per quantity."""
    joint = task.joint_error
    if joint is not None:
        errors = [method.errors[:, 0] for method in methods]
        yield f"68 % quantile of {joint.symbol}", [Row(f"68 % of {joint.label}", errors, quantile)]
    for column, axis in enumerate(task.axes):
        residuals = [method.residuals[:, column] for method in methods]
        unit = axis.unit if joint else list(task.resolutions.values())[column]
        errors = [np.abs(r) if joint else m.errors[:, column] for r, m in zip(residuals, methods, strict=True)]
        label = f"68 % of |Δ{axis.symbol}|{'' if unit == axis.unit else f' / {axis.symbol}'} [{unit}]"
        rows = [Row(label, errors, quantile), Row(f"bias [{axis.unit}]", residuals, mean)]
        yield f"68 % quantile and bias of {axis.symbol}", rows


def _varying(
    truth: Mapping[str, NDArray[Any]], rows: NDArray[np.bool_], abscissae: Mapping[str, Sequence[Axis]]
) -> list[tuple[Axis, Array]]:
    """Quantities that vary over the sample, (E,) each in shown units."""
    found = []
    for branch in filter(truth.__contains__, abscissae):
        values = truth[branch][rows].reshape(rows.sum(), -1)
        unknown = (values == UNKNOWN_CLASS) & np.issubdtype(values.dtype, np.integer)
        for axis, x in zip(abscissae[branch], np.where(unknown, np.nan, values).T, strict=False):
            shown = x.astype(np.float64) * axis.scale
            if panels.bins(shown[np.isfinite(shown)]):
                found.append((axis, shown))
    return found


def _overview(figure: Figure, task: Task, methods: Sequence[Method], truth: Array) -> Figure:
    """Per quantity: residuals of all methods, and the prediction of the network against truth."""
    joint = task.joint_error
    columns = len(task.axes) + (joint is not None)
    grid = figure.subplots(2, columns) if columns > 1 else figure.subplots(1, 2).reshape(2, 1)
    for column, axis in enumerate(task.axes):
        panels.residual_histogram(grid[0, column], axis, methods, column)
        panels.prediction_against_truth(grid[1, column], axis, methods[0].shown[:, column], truth[:, column])
    if joint is not None:
        panels.error_panels(grid[0, -1], grid[1, -1], joint, methods)
    return figure


def _profiles(
    figure: Figure, methods: Sequence[Method], abscissae: Sequence[tuple[Axis, Array]], rows: Sequence[Row]
) -> Figure:
    """A panel per abscissa, with the rows of all methods under each other."""
    styles = looks(method.title for method in methods)
    columns = len(abscissae) if len(abscissae) < 4 else -(-len(abscissae) // 2)
    grid = figure.add_gridspec(-(-len(abscissae) // columns), columns)
    for place, (axis, x) in enumerate(abscissae):
        stack = grid[place].subgridspec(len(rows), 1, height_ratios=[2, 1][: len(rows)], hspace=0)
        usable = np.isfinite(x)
        for ax, row in zip(stack.subplots(sharex=True, squeeze=False)[:, 0], rows, strict=True):
            found = [panels.profile(x[usable], values[usable], row.estimate) for values in row.values]
            for points, (title, look) in zip(found, styles.items(), strict=True):
                panels.errorbars(ax, points, title, *look)
            ax.set(ylabel=row.label, ylim=(0, None))
            if row.estimate is mean:  # around zero, as far as the first method needs
                limit = 3 * np.abs([found[0].y_low, found[0].y_high]).max() or 1.0
                ax.set_ylim(-limit, limit)
                ax.axhline(0, color=GREY, lw=0.8, ls=":")
        ax.set_xlabel(f"true {axis.label}")
    legend(figure, len(methods) if len(methods) <= LEGEND else -(-len(methods) // 2))
    return figure
