"""resolution_profile_<task>.pdf: residuals, and resolution and bias along the truth, for network and baselines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from xecgnn.estimate import mean, quantile
from xecgnn.evaluation.measures import Method, build_methods, usable_events
from xecgnn.evaluation.pages import panels
from xecgnn.evaluation.pages.page import new_page
from xecgnn.evaluation.pages.panels import bins, profile
from xecgnn.names import UNKNOWN_CLASS
from xecgnn.tasks.axes import AXES, Axis
from xecgnn.tasks.task import Task

__all__ = ["ABSCISSAE", "resolution_pages"]

Array = NDArray[np.float64]
ABSCISSAE = {branch: AXES[branch] for branch in ("emiAng", "energyTruth", "uvwTruth")}
PANELS = 6  # abscissae on a page


def resolution_pages(
    task: Task,
    predictions: Mapping[str, NDArray],
    truth: Mapping[str, NDArray],
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
    if not known.any():
        yield new_page("No event has a known target and a finite prediction", footer)
        return
    target = truth[task.branch][known].reshape(known.sum(), -1)
    if not task.axes:
        figure = new_page("Predicted and true classes", footer)
        panels.confusion(figure.subplots(), next(iter(predictions.values()))[known], target[:, 0].astype(np.int64))
        yield figure
        return
    methods = build_methods(task, {title: values[known] for title, values in predictions.items()}, target)
    yield _overview(new_page("Residuals", footer), task, methods, task.shown(torch.tensor(target).double()).numpy())
    varying = _varying(truth, known, abscissae)
    for start in range(0, len(varying), PANELS):
        yield from _profile_pages(task, methods, varying[start : start + PANELS], footer)


def _profile_pages(
    task: Task, methods: Sequence[Method], abscissae: Sequence[tuple[Axis, Array]], footer: str
) -> Iterator[Figure]:
    """One page for the joint error, where there is one, and one per quantity."""
    joint = task.joint_error
    if joint is not None:
        figure = new_page(f"68 % quantile of the {joint.name.replace('_', ' ')}", footer)
        yield _profiles(figure, methods, abscissae, f"68 % of {joint.label}", [m.errors[:, 0] for m in methods])
    for column, axis in enumerate(task.axes):
        unit = axis.unit if joint else list(task.resolutions.values())[column]
        errors = [np.abs(m.residuals[:, column]) if joint else m.errors[:, column] for m in methods]
        relative = "" if unit == axis.unit else f" / {axis.symbol}"
        figure = new_page(f"{axis.symbol}: 68 % quantile and mean of the residuals", footer)
        label = f"68 % of |Δ{axis.symbol}|{relative} [{unit}]"
        residuals = [m.residuals[:, column] for m in methods]
        yield _profiles(figure, methods, abscissae, label, errors, f"bias [{axis.unit}]", residuals)


def _varying(
    truth: Mapping[str, NDArray], rows: NDArray[np.bool_], abscissae: Mapping[str, Sequence[Axis]]
) -> list[tuple[Axis, Array]]:
    """Quantities that vary over the sample, (E,) each in shown units."""
    found = []
    for branch, axes in abscissae.items():
        if branch in truth:
            values = truth[branch][rows].reshape(rows.sum(), -1)
            if np.issubdtype(values.dtype, np.integer):
                values = np.where(values == UNKNOWN_CLASS, np.nan, values)
            for column, axis in enumerate(axes):
                shown = values[:, column].astype(np.float64) * axis.scale
                if bins(shown[np.isfinite(shown)]):
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
        panels.error_panels(grid[0, -1], grid[1, -1], f"{joint.name.replace('_', ' ')} {joint.label}", methods)
    return figure


def _profiles(
    figure: Figure,
    methods: Sequence[Method],
    abscissae: Sequence[tuple[Axis, Array]],
    label: str,
    errors: Sequence[Array],
    bias_label: str = "",
    residuals: Sequence[Array] = (),
) -> Figure:
    """A panel per abscissa with the 68 % quantiles of all methods; below it, where residuals are given, their means."""
    columns = min(3, len(abscissae))
    grid = figure.add_gridspec(-(-len(abscissae) // columns), columns)
    for place, (axis, x) in enumerate(abscissae):
        usable = np.isfinite(x)
        heights = [2, 1] if residuals else [1]
        stack = grid[divmod(place, columns)].subgridspec(len(heights), 1, height_ratios=heights, hspace=0)
        axs = stack.subplots(sharex=True, squeeze=False)[:, 0]
        widths = [profile(x[usable], values[usable], quantile) for values in errors]
        panels.profile_panel(axs[0], widths, methods)
        axs[0].set_ylabel(label)
        if residuals:
            biases = [profile(x[usable], values[usable], mean) for values in residuals]
            panels.profile_panel(axs[1], biases, methods, signed=True)
            axs[1].set_ylabel(bias_label)
        axs[-1].set_xlabel(f"true {axis.label}")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=len(methods))
    return figure
