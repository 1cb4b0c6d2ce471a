"""What an analysis asks first: resolutions above and below w = 20 mm, and the line of the signal, for each of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from xecgnn.evaluation.limits import uses_truth
from xecgnn.evaluation.measures import Estimates, depths, usable_events
from xecgnn.evaluation.pages.page import above, grid, looks, new_page
from xecgnn.evaluation.peak import Peak, fit_peak, line_residuals
from xecgnn.tasks.task import Task

__all__ = ["depth_pages", "line_page"]

Array = NDArray[np.float64]
PANELS = 9  # on a page
BINS = 60
SHOWN = 5


def depth_pages(
    tasks: Mapping[str, Task], parts: Mapping[str, Mapping[str, Mapping[str, Estimates]]], footer: str
) -> Iterator[Figure]:
    """A panel for each resolution, its values for all events and by depth: {task: {part: {title: numbers}}}."""
    panels = [(name, key) for name in parts for key in tasks[name].resolutions or ("accuracy",)]
    for start in range(0, len(panels), PANELS):
        beyond = f"beyond {SHOWN} times that of the first method is not shown"
        figure = new_page(f"Resolutions by the depth w of the first interaction; what is {beyond}", footer)
        drawn = panels[start : start + PANELS]
        for ax, (name, key) in zip(grid(figure, len(drawn), min(3, len(drawn))), drawn, strict=True):
            _by_part(ax, parts[name], key)
        yield figure


def _by_part(ax: Axes, parts: Mapping[str, Mapping[str, Estimates]], key: str) -> None:
    places, look = np.arange(len(parts)), looks(parts["all"])
    values = np.array([[columns[title][key].value for title in look] for columns in parts.values()])
    for shift, (title, (color, marker)) in zip(np.linspace(-0.25, 0.25, len(look)), look.items(), strict=True):
        found = [columns[title][key] for columns in parts.values()]
        errors = [[e.value - e.low for e in found], [e.high - e.value for e in found]]
        marker = "_" if uses_truth(title) else marker
        y = [e.value for e in found]
        ax.errorbar(places + shift, y, errors, fmt=marker, color=color, ms=5, lw=1.2, label=title)
    ax.set_xticks(places, [f"{part}\n{estimate.n} events" for part, estimate in zip(parts, found, strict=True)])
    unit, top = found[0].unit, 1.1 * min(values.max(), SHOWN * values[:, 0].max())
    ax.set(ylabel=f"{key} [{unit}]" if unit else key, ylim=(0, top or 1), xlim=(-0.5, len(parts) - 0.5))
    above(ax, columns=2)


def line_page(
    task: Task, predictions: Mapping[str, NDArray[Any]], truth: Mapping[str, NDArray[Any]], footer: str
) -> Iterator[Figure]:
    """Predicted - true of the events on the line with the fits, for all and by depth; no page where nothing fits."""
    target = truth[task.branch]
    reached = {title: values for title, values in predictions.items() if not uses_truth(title)}
    known = usable_events(task, predictions, target)
    parts = {"all": known} | {part: known & rows for part, rows in depths(truth).items()}
    found = {part: line_residuals(task, {t: p[r] for t, p in reached.items()}, target[r]) for part, r in parts.items()}
    fits = {part: {title: fit_peak(residuals) for title, residuals in s.items()} for part, s in found.items() if s}
    if not any(isinstance(fit, Peak) for row in fits.values() for fit in row.values()):
        return
    figure = new_page(f"{task.name}: Gaussian core and exponential tail of the line at {task.line} MeV", footer)
    for ax, part in zip(grid(figure, len(fits)), fits, strict=True):
        _line(ax, task, found[part], fits[part])
        ax.set_xlabel(f"{task.axes[0].symbol} predicted - true [{task.axes[0].unit}], {part}")
    yield figure


def _line(ax: Axes, task: Task, samples: Mapping[str, Array], fits: Mapping[str, Peak | str]) -> None:
    """Residuals (n,) of some methods and their fits, in the window of the first one's."""
    first = next(iter(samples))
    low, high = getattr(fits[first], "window", np.quantile(samples[first], [0.01, 0.99]))
    edges = np.linspace(low, high + (high <= low), BINS)
    for (title, residuals), (color, _) in zip(samples.items(), looks(samples).values(), strict=True):
        fit, counts = fits[title], np.histogram(residuals, edges)[0]
        label = f"{title}: {f'no fit, {fit}' if isinstance(fit, str) else f'{fit.sigma}, {fit.fwhm}'}"
        ax.stairs(counts, edges, color=color, alpha=0.35, fill=title == first, lw=1)
        if isinstance(fit, Peak):
            x = np.linspace(*fit.window, 400)
            ax.plot(x, fit.sigma.n * (edges[1] - edges[0]) * fit.density(x), color=color, lw=1.4, label=label)
        else:
            ax.plot([], [], color=color, label=label)
    ax.set(xlim=(low, edges[-1]), ylim=(0, None), ylabel=f"events, {len(samples[first])} in all")
    above(ax, f"σ, FWHM [{task.axes[0].unit}]")
