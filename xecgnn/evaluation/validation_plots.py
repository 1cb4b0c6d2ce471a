"""Pages of the validation beyond those of `profiles`: distributions, pulls, differences of two predictions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import norm

from xecgnn.evaluation import panels
from xecgnn.evaluation.measures import GAUSSIAN_WIDTH, measure_pull
from xecgnn.evaluation.pages import LOOKS, new_page
from xecgnn.evaluation.panels import Method
from xecgnn.evaluation.profiles import ABSCISSAE, build_methods, figures, usable_events
from xecgnn.evaluation.sample import PredictedSample
from xecgnn.evaluation.statistics import bins, profile, quantile_with_error
from xecgnn.evaluation.summary import number
from xecgnn.tasks import AXES, Axis, Task

__all__ = ["pull_axes", "pulls", "validation_pages"]

Array = NDArray[np.float64]
TRUTH_LOOK = "0.35"
# Everything that a resolution may depend on.
TRUTH_AXES: dict[str, tuple[Axis, ...]] = {
    **ABSCISSAE,
    "timeTruth": AXES["timeTruth"],
    "xyzVTX": tuple(Axis(f"vertex_{name}", f"{name} of the vertex", "mm", 10.0) for name in "xyz"),
    "n_gamma": (Axis("n_gamma", "photons", "1", 1.0),),
}


def validation_pages(sample: PredictedSample) -> Iterator[Figure]:
    """All pages: per task what is predicted, then, where there is truth, residuals, profiles and pulls."""
    files = " and ".join(sample.facts[key] for key in ("input", "compared_with") if key in sample.facts)
    for name, task in sample.tasks.items():
        predictions, sigmas = sample.predictions[name], sample.sigmas[name]
        truth = sample.truth.get(task.branch)
        footer = f"{files}   |   task {name}"
        if not predictions:
            yield new_page("No valid prediction", footer)
            continue
        yield _distributions(task, predictions, sigmas, truth, footer)
        if truth is not None:
            yield from figures(task, predictions, sample.truth, files, TRUTH_AXES)
            if sigmas and usable_events(task, predictions, truth).any():
                yield _pull_page(task, predictions, sigmas, truth, footer)
        if task.axes and len(predictions) > 1:
            yield from _differences(task, predictions, footer)


def pull_axes(task: Task) -> tuple[Axis, ...]:
    """What the sigmas of a task belong to: its axes, or the bare values where it is shown by others (unit vectors)."""
    if len(task.axes) == task.width:
        return task.axes
    return tuple(Axis(f"{task.branch}_{i}", f"{task.branch}[{i}]", "1", 1.0) for i in range(task.width))


def pulls(task: Task, prediction: NDArray, sigma: NDArray, target: NDArray) -> tuple[Array, Array, Array]:
    """(predicted - true) / sigma of the events that have it (rows finite, sigma > 0), residual and sigma: (n, width).

    Residual and sigma are in the units of `pull_axes`.
    """
    scale = np.array([axis.scale for axis in pull_axes(task)])
    target = target.reshape(prediction.shape).astype(np.float64)
    residual = (prediction - target) * scale
    if len(task.axes) == task.width:
        residual = task.residuals(torch.tensor(prediction), torch.tensor(target)).numpy()
    usable = np.isfinite(residual).all(1) & np.isfinite(sigma).all(1) & (sigma > 0).all(1)
    residual, shown = residual[usable], sigma[usable] * scale
    return residual / shown, residual, shown


def _distributions(
    task: Task,
    predictions: Mapping[str, NDArray],
    sigmas: Mapping[str, NDArray],
    truth: NDArray | None,
    footer: str,
) -> Figure:
    """Histograms of predictions, with the truth where known, and of their sigmas."""
    figure = new_page("Predictions" + (" and their uncertainties" if sigmas else ""), footer)
    shown = {title: _shown(task, values) for title, values in predictions.items()}
    if truth is not None:
        shown |= {"truth": _shown(task, truth.reshape(len(truth), -1).astype(np.float64))}
    axes = task.axes or (Axis("class", f"{task.branch}, likeliest class", "1", 1.0),)
    widths = pull_axes(task)
    columns = max(len(axes), len(widths) if sigmas else 0)
    grid = figure.subplots(1 + bool(sigmas), columns, squeeze=False)
    for ax in grid[0, len(axes) :]:
        ax.set_axis_off()
    for column, axis in enumerate(axes):
        _histogram(grid[0, column], {title: values[:, column] for title, values in shown.items()}, axis.label)
    for column, axis in enumerate(widths if sigmas else ()):
        values = {title: sigma[:, column] * axis.scale for title, sigma in sigmas.items()}
        _histogram(grid[1, column], values, f"sigma of {axis.label}")
    return figure


def _shown(task: Task, values: Array) -> Array:
    """(E, axes) in shown units; classes: (E, 1) the likeliest, or the true one."""
    if task.axes:
        return task.shown(torch.tensor(values)).numpy()
    likeliest = np.where(np.isfinite(values).all(1), np.nan_to_num(values).argmax(1), np.nan)[:, None]
    return likeliest if values.shape[1] > 1 else values


def _histogram(ax: Axes, values: Mapping[str, Array], label: str) -> None:
    """Outlines in the colours of the methods; the range holds all but the outermost 0.2 % of each."""
    samples = {title: sample[np.isfinite(sample)] for title, sample in values.items()}
    samples = {title: sample for title, sample in samples.items() if len(sample)}
    ax.set_xlabel(label)
    if not samples:
        ax.text(0.5, 0.5, "no finite value", ha="center", transform=ax.transAxes)
        return
    if "truth" in samples and len(samples) > 1 and np.ptp(samples["truth"]) == 0:  # a peak that would hide the rest
        value = samples.pop("truth")[0]
        ax.axvline(value, color=TRUTH_LOOK, ls="--", label=f"truth: {number(value)}")
    ends = np.array([np.quantile(sample, [0.002, 0.998]) for sample in samples.values()])
    low, high = ends[:, 0].min(), ends[:, 1].max()
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0  # a constant: around it
    methods, labels = [], []
    for title, sample in samples.items():
        color = TRUTH_LOOK if title == "truth" else LOOKS[list(values).index(title)][0]
        methods.append(Method(title, color, "", *3 * [sample]))
        labels.append(f"{title}: mean {number(sample.mean())}, std {number(sample.std())}")
    panels.steps(ax, list(samples.values()), (low - margin, high + margin), methods, labels)


def _pull_page(
    task: Task, predictions: Mapping[str, NDArray], sigmas: Mapping[str, NDArray], truth: NDArray, footer: str
) -> Figure:
    """Per quantity: pulls beside the unit Gaussian, and the residuals' width against the predicted one."""
    axes = pull_axes(task)
    figure = new_page("Pulls, and whether a large sigma means a large error", footer)
    grid = figure.subplots(2, len(axes), squeeze=False)
    found = {title: pulls(task, predictions[title], sigma, truth) for title, sigma in sigmas.items()}
    for column, axis in enumerate(axes):
        columns = {title: [values[:, column] for values in arrays] for title, arrays in found.items()}
        columns = {title: arrays for title, arrays in columns.items() if len(arrays[0])}
        looks = {title: LOOKS[list(predictions).index(title)] for title in columns}
        _pull_histogram(grid[0, column], {title: arrays[0] for title, arrays in columns.items()}, looks)
        grid[0, column].set_xlabel(f"pull of {axis.symbol}")
        varying = {title: arrays for title, arrays in columns.items() if bins(arrays[2])}
        widths = [profile(s, np.abs(r) / GAUSSIAN_WIDTH, quantile_with_error) for _, r, s in varying.values()]
        if widths:
            methods = [Method(title, *looks[title], *columns[title]) for title in varying]
            panels.profile_panel(grid[1, column], widths, methods)
            ends = min(points.x[0] for points in widths), max(points.x[-1] for points in widths)
            grid[1, column].plot(ends, ends, color="0.5", ls="--", lw=1)
        else:
            grid[1, column].text(
                0.5, 0.5, "sigma does not vary, or few events", ha="center", transform=grid[1, column].transAxes
            )
        label = f"68 % of |Δ{axis.symbol}| / 0.994 [{axis.unit}]"
        grid[1, column].set(xlabel=f"sigma of {axis.label}", ylabel=label)
    return figure


def _pull_histogram(ax: Axes, pulls: Mapping[str, Array], looks: Mapping[str, tuple[str, str]]) -> None:
    """Pulls of all methods on a logarithmic scale, with the Gaussian that as many events should follow."""
    if not pulls:
        ax.text(0.5, 0.5, "no event with truth and sigma > 0", ha="center", transform=ax.transAxes)
        return
    edges, x = np.linspace(-5, 5, 51), np.linspace(-5, 5, 201)
    for title, pull in pulls.items():
        mean, width, *shares = (measure.value for measure in measure_pull(pull).values())
        within = ", ".join(f"{share:.1f}" for share in shares)
        label = f"{title}: mean {number(mean)}, width {number(width)}\nwithin 1, 2 sigma: {within} %"
        ax.stairs(np.histogram(pull, edges)[0], edges, color=looks[title][0], lw=1.4, label=label)
    events = max(map(len, pulls.values()))
    ax.plot(x, events * (edges[1] - edges[0]) * norm.pdf(x), color="0.5", ls="--", lw=1, label="Gaussian")
    ax.set(yscale="log", ylim=(0.5, 10 * events + 10), ylabel="events")
    ax.legend(fontsize=8, loc="upper left")


def _differences(task: Task, predictions: Mapping[str, NDArray], footer: str) -> Iterator[Figure]:
    """Each further prediction against the first: needs no truth."""
    first, *others = predictions
    for title in others:
        both = np.isfinite(predictions[first]).all(1) & np.isfinite(predictions[title]).all(1)
        if both.any():
            base = torch.tensor(predictions[first][both])
            (method,) = build_methods(task, {f"{title} - {first}": predictions[title][both]}, base)
            figure = new_page(f"{title} beside {first}", f"{footer}   |   {both.sum()} events")
            grid = figure.subplots(2, len(task.axes), squeeze=False)
            for column, axis in enumerate(task.axes):
                panels.residual_histogram(grid[0, column], axis, [method], column)
                grid[0, column].set_xlabel(f"{axis.symbol} {title} - {first} [{axis.unit}]")
                shown = task.shown(base).numpy()[:, column]
                panels.prediction_against_truth(grid[1, column], axis, method.shown[:, column], shown)
                grid[1, column].set(xlabel=f"{first}: {axis.label}", ylabel=f"{title}: {axis.label}")
            yield figure
