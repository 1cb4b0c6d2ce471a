"""validation.pdf: the pages of `resolution`, distributions, pulls, and differences of two predictions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import norm

from xecgnn.estimate import quantile
from xecgnn.evaluation.measures import (
    GAUSSIAN_WIDTH,
    build_methods,
    measure_pull,
    paired,
    pull_axes,
    pulls,
    usable_events,
)
from xecgnn.evaluation.pages import panels
from xecgnn.evaluation.pages.page import GREY, above, logarithmic, looks, new_page, say
from xecgnn.evaluation.pages.resolution import ABSCISSAE, resolution_pages
from xecgnn.evaluation.pages.signal import line_page
from xecgnn.evaluation.sample import PredictedSample
from xecgnn.table import number
from xecgnn.tasks.axes import AXES, Axis
from xecgnn.tasks.task import Task

__all__ = ["validation_pages"]

Array = NDArray[np.float64]
TRUTH_LOOK = "0.35"
# Everything that a resolution may depend on.
TRUTH_AXES: dict[str, tuple[Axis, ...]] = {
    **ABSCISSAE,
    "timeTruth": AXES["timeTruth"],
    "xyzVTX": tuple(Axis(f"vertex_{name}", f"vertex {name}", "mm", 10.0) for name in "xyz"),
    "n_gamma": (Axis("n_gamma", "photons", "1", 1.0),),
}


def validation_pages(sample: PredictedSample) -> Iterator[Figure]:
    """All pages: per task what is predicted, then, where there is truth, residuals, profiles and pulls."""
    files = " and ".join(sample.facts[key] for key in ("input", "compared_with") if key in sample.facts)
    for name, task in sample.tasks.items():
        predictions, truth = sample.predictions[name], sample.truth.get(task.branch)
        footer = f"{files}   |   task {name}"
        if not predictions:
            yield new_page(f"{name}: no valid prediction", footer)
            continue
        yield _distributions(task, sample, footer)
        if truth is not None:
            yield from line_page(task, predictions, sample.truth, footer)
            yield from resolution_pages(task, predictions, sample.truth, files, TRUTH_AXES)
            if sample.sigmas[name] and usable_events(task, predictions, truth).any():
                yield _pull_page(task, sample, footer)
        if task.axes:
            yield from _differences(task, predictions, footer)


def _distributions(task: Task, sample: PredictedSample, footer: str) -> Figure:
    """Histograms of predictions, with the truth where known, and of their sigmas."""
    sigmas, truth = sample.sigmas[task.name], sample.truth.get(task.branch)
    values = dict(sample.predictions[task.name])
    colors = {title: color for title, (color, _) in looks(values).items()} | {"truth": TRUTH_LOOK}
    if truth is not None:
        values["truth"] = truth.reshape(len(truth), -1).astype(np.float64)
    axes, widths = task.axes or (Axis("class", f"{task.branch}, likeliest class", "1", 1.0),), pull_axes(task)
    rows = [(axes, "{}", {title: _shown(task, array) for title, array in values.items()})]
    if sigmas:
        scale = np.array([axis.scale for axis in widths])
        rows.append((widths, "sigma of {}", {title: sigma * scale for title, sigma in sigmas.items()}))
    figure = new_page(f"{task.name}: predictions" + (" and their sigmas" if sigmas else ""), footer)
    grid = figure.subplots(len(rows), max(len(row[0]) for row in rows), squeeze=False)
    for axs, (axes, words, arrays) in zip(grid, rows, strict=True):
        for ax in axs[len(axes) :]:
            ax.set_axis_off()
        for column, (ax, axis) in enumerate(zip(axs, axes, strict=False)):
            ax.set_xlabel(words.format(axis.label))
            _histogram(ax, {title: array[:, column] for title, array in arrays.items()}, colors, axis.unit)
    return figure


def _shown(task: Task, values: Array) -> Array:
    """(E, axes) in shown units; classes: (E, 1) the likeliest, or the true one."""
    if task.axes:
        return task.shown(torch.tensor(values)).numpy()
    likeliest = np.where(np.isfinite(values).all(1), np.nan_to_num(values).argmax(1), np.nan)[:, None]
    return likeliest if values.shape[1] > 1 else values


def _histogram(ax: Axes, values: Mapping[str, Array], colors: Mapping[str, str], unit: str) -> None:
    """Outlines in the colours of the methods; the range holds all but the outermost 0.2 % of each. Constants: lines."""
    finite = {title: sample[np.isfinite(sample)] for title, sample in values.items()}
    samples = {title: sample for title, sample in finite.items() if len(sample)}
    if not samples:
        say(ax, "no finite value")
        return
    constant = [title for title, sample in samples.items() if np.ptp(sample) <= 1e-6 * np.abs(sample).max()]
    for title in constant if len(constant) < len(samples) else constant[1:]:  # peaks that would hide the rest
        value = samples.pop(title)[0]
        ax.axvline(value, color=colors[title], ls="--", label=f"{title}: {number(value)}")
    ends = np.array([np.quantile(sample, [0.002, 0.998]) for sample in samples.values()])
    low, high = ends[:, 0].min(), ends[:, 1].max()
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0  # a constant: around it
    labels = [f"{title}: {number(found.mean())}, {number(found.std())}" for title, found in samples.items()]
    window, used = (low - margin, high + margin), [colors[title] for title in samples]
    panels.steps(ax, list(samples.values()), window, labels, used, f"mean, std [{unit}]")


def _pull_page(task: Task, sample: PredictedSample, footer: str) -> Figure:
    """Per quantity: pulls beside the unit Gaussian, and the residuals' width against the predicted one."""
    axes, predictions, truth = pull_axes(task), sample.predictions[task.name], sample.truth[task.branch]
    found = {title: pulls(task, predictions[title], sigma, truth) for title, sigma in sample.sigmas[task.name].items()}
    found = {title: arrays for title, arrays in found.items() if len(arrays[0])}
    figure = new_page(f"{task.name}: pulls, and whether a large sigma means a large error", footer)
    grid = figure.subplots(2, len(axes), squeeze=False)
    for column, (axis, top, bottom) in enumerate(zip(axes, *grid, strict=True)):
        _pull_histogram(top, {title: arrays[0][:, column] for title, arrays in found.items()}, looks(predictions))
        top.set_xlabel(f"pull of {axis.symbol}")
        widths = {
            title: panels.profile(sigma[:, column], np.abs(residual[:, column]) / GAUSSIAN_WIDTH, quantile)
            for title, (_, residual, sigma) in found.items()
            if panels.bins(sigma[:, column])
        }
        for title, width in widths.items():
            panels.errorbars(bottom, width, title, *looks(predictions)[title])
        if widths:
            ends = [min(w.x[0] for w in widths.values()), max(w.x[-1] for w in widths.values())]
            bottom.plot(ends, ends, color=GREY, ls="--", lw=1)
            bottom.set_ylim(bottom=0)
        else:
            say(bottom, "sigma does not vary, or few events")
        bottom.set(xlabel=f"sigma of {axis.label}", ylabel=f"68 % of |Δ{axis.symbol}| / 0.994 [{axis.unit}]")
    return figure


def _pull_histogram(ax: Axes, pulls: Mapping[str, Array], look: Mapping[str, tuple[str, str]]) -> None:
    """Pulls of all methods on a logarithmic scale, with the Gaussian that as many events should follow."""
    if not pulls:
        say(ax, "no event with truth and sigma > 0")
        return
    edges, x = np.linspace(-5, 5, 51), np.linspace(-5, 5, 201)
    peak = 1
    for title, pull in pulls.items():
        mean, width, *shares = (measure.value for measure in measure_pull(pull).values())
        within = ", ".join(f"{share:.1f}" for share in shares)
        outside = f"← {(pull < edges[0]).sum()}, {(pull > edges[-1]).sum()} →"
        label = f"{title}: {number(mean)}, {number(width)}, {within}; {outside}"
        counts = np.histogram(pull, edges)[0]
        ax.stairs(counts, edges, color=look[title][0], lw=1.4, label=label)
        peak = max(peak, counts.max())
    gaussian = max(map(len, pulls.values())) * (edges[1] - edges[0]) * norm.pdf(x)
    ax.plot(x, gaussian, color=GREY, ls="--", lw=1, label="Gaussian: 0, 1, 68.3, 95.4")
    logarithmic(ax)
    ax.set(ylim=(0.5, 1.5 * max(peak, gaussian.max())), xlim=edges[[0, -1]], ylabel="events")
    above(ax, "mean, width, % within 1 and 2 σ; ← events outside →")


def _differences(task: Task, predictions: Mapping[str, NDArray[np.floating]], footer: str) -> Iterator[Figure]:
    """Each further reconstruction against the first: needs no truth."""
    for title, base, predicted in paired(task, predictions):
        first = next(iter(predictions))
        (method,) = build_methods(task, {f"{title} - {first}": predicted}, base)
        figure = new_page(f"{task.name}: {title} beside {first}", f"{footer}   |   {len(base)} events")
        grid, shown = figure.subplots(2, len(task.axes), squeeze=False), _shown(task, base)
        for column, (axis, top, bottom) in enumerate(zip(task.axes, *grid, strict=True)):
            panels.residual_histogram(top, axis, [method], column)
            top.set_xlabel(f"{axis.symbol} {title} - {first} [{axis.unit}]")
            panels.prediction_against_truth(bottom, axis, method.shown[:, column], shown[:, column])
            bottom.set(xlabel=f"{first}: {axis.label}", ylabel=f"{title}: {axis.label}")
        yield figure
