"""resolution_profile_<task>.pdf: residuals, and resolution and bias along the truth, for network and baselines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from xecgnn.evaluation import panels
from xecgnn.evaluation.pages import LOOKS, new_page, write_pages
from xecgnn.evaluation.panels import Method
from xecgnn.evaluation.statistics import bins, mean_with_error, profile, quantile_with_error
from xecgnn.names import UNKNOWN_CLASS
from xecgnn.tasks.axes import AXES, Axis
from xecgnn.tasks.task import Task

__all__ = ["build_methods", "figures", "usable_events", "write_profile"]

Array = NDArray[np.float64]
ABSCISSAE = {branch: AXES[branch] for branch in ("emiAng", "energyTruth", "uvwTruth")}
PANELS = 6  # abscissae on a page


def write_profile(
    path: Path, task: Task, predictions: Mapping[str, NDArray], truth: Mapping[str, NDArray], run_name: str
) -> None:
    """Write the PDF of one task, under its name only when complete.

    Args:
        path: file to write.
        task: the task.
        predictions: {title: (E, ...)} in physical units, the network first.
        truth: {branch: (E,) or (E, width)}; angles, energy and position become abscissae where present.
        run_name: shown on each page.
    """
    write_pages(path, figures(task, predictions, truth, run_name))


def usable_events(task: Task, predictions: Mapping[str, NDArray], target: NDArray) -> NDArray[np.bool_]:
    """Events (E,) whose target is known and whose predictions are all finite."""
    known = task.valid(torch.tensor(target).reshape(len(target), -1)).numpy()
    for values in predictions.values():
        known = known & np.isfinite(values).reshape(len(values), -1).all(1)
    return known


def figures(
    task: Task,
    predictions: Mapping[str, NDArray],
    truth: Mapping[str, NDArray],
    run_name: str,
    abscissae: Mapping[str, Sequence[Axis]] = ABSCISSAE,
) -> Iterator[Figure]:
    """The pages of `write_profile`, from the usable events; `abscissae`: axes of the branches to profile along."""
    known = usable_events(task, predictions, truth[task.branch])
    footer = f"{run_name}   |   task {task.name}   |   {known.sum()} events"
    if not known.any():
        yield new_page("No event has a known target and a finite prediction", footer)
        return
    target = torch.tensor(truth[task.branch][known]).reshape(known.sum(), -1).double()
    if not task.axes:
        figure = new_page("Predicted and true classes", footer)
        panels.confusion(figure.subplots(), next(iter(predictions.values()))[known], target[:, 0].long().numpy())
        yield figure
        return
    methods = build_methods(task, {title: values[known] for title, values in predictions.items()}, target)
    yield _overview(new_page("Residuals", footer), task, methods, task.shown(target).numpy())
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


def build_methods(task: Task, predictions: Mapping[str, NDArray], target: torch.Tensor) -> list[Method]:
    """Residuals and errors of each prediction against the target (E, width), float64."""
    methods = []
    for (title, values), (color, marker) in zip(predictions.items(), cycle(LOOKS), strict=False):
        predicted = torch.as_tensor(values).double().reshape(target.shape)
        arrays = task.shown(predicted), task.residuals(predicted, target), task.errors(predicted, target)
        methods.append(Method(title, color, marker, *(array.numpy() for array in arrays)))
    return methods


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
        widths = [profile(x[usable], values[usable], quantile_with_error) for values in errors]
        panels.profile_panel(axs[0], widths, methods)
        axs[0].set_ylabel(label)
        if residuals:
            biases = [profile(x[usable], values[usable], mean_with_error) for values in residuals]
            panels.profile_panel(axs[1], biases, methods, signed=True)
            axs[1].set_ylabel(bias_label)
        axs[-1].set_xlabel(f"true {axis.label}")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=len(methods))
    return figure
