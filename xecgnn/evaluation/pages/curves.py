"""Pictures of a training, one per question and a dashboard of them: metrics/<name>.png."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from xecgnn.evaluation.pages.page import GREEN, ORANGE, PURPLE, RED, SKY
from xecgnn.training.metrics.history import History

__all__ = ["CAPTIONS", "PLOTS", "Plot", "training_pictures"]

Array = NDArray[np.float64]
FEW = 40  # epochs that are drawn one by one
DASHBOARD = "training_dashboard"
NO_VALUE = "no finite value was recorded"
Lines = dict[str, tuple[str, str]]  # column -> label, colour


class Plot(NamedTuple):
    """A picture: file name without ending, title, what it shows."""

    name: str
    title: str
    caption: str
    draw: Callable[[Axes, History], None]


def training_pictures(history: History, run_name: str) -> Iterator[tuple[str, Iterator[Figure]]]:
    """All pictures, by the names of their files."""
    yield from ((f"{plot.name}.png", _single(plot, history)) for plot in PLOTS)
    yield f"{DASHBOARD}.png", _dashboard(history, run_name)


def _single(plot: Plot, history: History) -> Iterator[Figure]:
    figure = Figure(figsize=(8, 4.8))  # margins of its own: a layout engine takes twice the time
    figure.subplots_adjust(left=0.15, right=0.98, bottom=0.11, top=0.93)
    _panel(figure.subplots(), plot, history)
    yield figure


def _dashboard(history: History, run_name: str) -> Iterator[Figure]:
    figure = Figure(figsize=(17, 11))
    figure.subplots_adjust(left=0.07, right=0.99, bottom=0.05, top=0.93, wspace=0.24, hspace=0.26)
    figure.suptitle(f"Training: {run_name}", fontsize=14, x=0.01, ha="left")
    shown = [plot for plot in PLOTS if plot.name != "loss_distribution"]
    for ax, plot in zip(figure.subplots(3, 3).flat, shown, strict=True):
        _panel(ax, plot, history)
    yield figure


def _panel(ax: Axes, plot: Plot, history: History) -> None:
    first, last = _epochs(history)[[0, -1]]
    ax.set(title=plot.title, xlabel="epoch", xlim=(first - 0.7, last + 0.7))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    plot.draw(ax, history)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(fontsize=8)


def _epochs(history: History) -> Array:
    return np.array(sorted(set().union(*history.values())), dtype=float)


def _column(history: History, name: str) -> Array:
    """Values of all epochs, NaN where there is none."""
    return np.array([history.get(name, {}).get(epoch, np.nan) for epoch in _epochs(history)])


def _nothing(ax: Axes, why: str) -> None:
    ax.text(0.5, 0.5, why, transform=ax.transAxes, ha="center", va="center", wrap=True)
    ax.set(xticks=[], yticks=[], xlabel="")


def _lines(
    ax: Axes, history: History, label: str, lines: Lines, missing: str = NO_VALUE, scale: float = 1.0
) -> None:
    """A line per column that has values."""
    epochs = _epochs(history)
    marker = "o" if len(epochs) <= FEW else ""
    for (name, (title, color)), style in zip(lines.items(), ("-", "--", ":"), strict=False):
        values = scale * _column(history, name)
        if np.isfinite(values).any():
            ax.plot(epochs, values, color=color, ls=style, marker=marker, ms=3, label=title)
    if ax.lines:
        ax.set_ylabel(label)
    else:
        _nothing(ax, missing)


def _bars(ax: Axes, history: History, label: str, name: str) -> None:
    values = _column(history, name)
    if not np.isfinite(values).any():
        _nothing(ax, NO_VALUE)
        return
    ax.bar(_epochs(history), values, width=0.8 if len(values) <= FEW else 1.0, color=SKY, ec=SKY, lw=0.3)
    ax.set_ylabel(label)


def _band(ax: Axes, history: History, low: Array, high: Array, label: str) -> None:
    epochs = _epochs(history)
    ax.fill_between(epochs, low, high, color=SKY, alpha=0.25, lw=0, label=label)
    if len(epochs) <= FEW:  # an epoch without neighbours has no band
        ax.vlines(epochs, low, high, color=SKY, alpha=0.4, lw=0.8)


def _loss(ax: Axes, history: History) -> None:
    """Training loss within its range over batches, validation loss, and the best epoch."""
    _lines(ax, history, "loss", {"loss_mean": ("training, mean", SKY), "val_loss": ("validation", ORANGE)})
    if not ax.lines:
        return
    _band(ax, history, _column(history, "loss_min"), _column(history, "loss_max"), "training, all batches")
    for name, color in (("val_loss", ORANGE), ("loss_mean", SKY)):
        values = history.get(name)
        if values:
            best = min(values, key=values.__getitem__)
            label, edge = f"best: {values[best]:.4g} in epoch {best}", matplotlib.rcParams["text.color"]
            ax.plot(best, values[best], "*", ms=14, color=color, mec=edge, mew=0.6, label=label, ls="")
            break


def _loss_log(ax: Axes, history: History) -> None:
    values = np.stack([_column(history, "loss_mean"), _column(history, "val_loss")])
    if not (values > 0).any():
        _nothing(ax, "no loss above zero: there is no logarithm")
        return
    _loss(ax, history)
    ax.set_yscale("log")
    if (values <= 0).any():
        ax.set_ylabel("loss (values below zero are not shown)")


def _distribution(ax: Axes, history: History) -> None:
    mean, std = _column(history, "loss_mean"), _column(history, "loss_std")
    _lines(ax, history, "loss of a batch", {"loss_mean": ("mean", SKY), "loss_median": ("median", ORANGE)})
    if ax.lines:
        _band(ax, history, mean - std, mean + std, "mean ± 1 σ over batches")


def _grad_norm(ax: Axes, history: History) -> None:
    lines = {"grad_norm": ("mean of the epoch", SKY), "grad_norm_max": ("largest step", RED)}
    _lines(ax, history, "gradient norm before clipping", lines, "no gradient norm was recorded")
    if ax.lines:
        ax.set_yscale("log")


def _throughput(ax: Axes, history: History) -> None:
    unit = "samples" if np.isfinite(_column(history, "samples_per_sec")).any() else "batches"
    _bars(ax, history, f"{unit} / s", f"{unit}_per_sec")


def _derivative(ax: Axes, history: History) -> None:
    epochs, change = _epochs(history)[1:], np.diff(_column(history, "loss_mean"))
    if not np.isfinite(change).any():
        _nothing(ax, "needs the loss of two epochs")
        return
    for label, color, chosen in (("better", GREEN, change <= 0), ("worse", RED, change > 0)):
        if chosen.any():
            ax.bar(epochs[chosen], change[chosen], color=color, label=label)
    ax.axhline(0, color=matplotlib.rcParams["text.color"], lw=0.8)
    ax.set_ylabel("change of the mean loss")


MEMORY = {f"gpu_{n}_mb": (n, color) for n, color in {"peak": RED, "reserved": ORANGE, "allocated": SKY}.items()}
RATE, EMA = {"lr": ("", GREEN)}, {"ema_delta_norm": ("", PURPLE)}
PLOTS = (
    Plot("loss_linear", "Loss", "Mean over the batches of each epoch, range over batches, best epoch", _loss),
    Plot("loss_log", "Loss, logarithmic", "The same on a logarithmic axis", _loss_log),
    Plot(
        "loss_distribution", "Loss distribution", "Mean and median over batches, one standard deviation", _distribution
    ),
    Plot(
        "learning_rate", "Learning rate", "Learning rate of the last step of each epoch",
        partial(_lines, label="learning rate, last step", lines=RATE, missing="no learning rate was recorded"),
    ),
    Plot("grad_norm", "Gradient norm", "L2 norm over all weights before clipping; peaks are instabilities", _grad_norm),
    Plot("throughput", "Throughput", "Training speed, without validation", _throughput),
    Plot(
        "gpu_memory", "GPU memory", "Memory of tensors, reserved from the system, and its peak",
        partial(_lines, label="GPU memory [GB]", lines=MEMORY, missing="no GPU was used", scale=1e-3),
    ),
    Plot(
        "ema_divergence", "EMA divergence", "Distance of the trained weights from their average",
        partial(_lines, label="L2 distance of weights and average", lines=EMA, missing="no averaged weights"),
    ),
    Plot(
        "epoch_timing", "Epoch timing", "Wall-clock time of each epoch with validation",
        partial(_bars, label="time of the epoch [s]", name="epoch_time_sec"),
    ),
    Plot("loss_derivative", "Loss derivative", "Change of the mean loss from epoch to epoch", _derivative),
)  # fmt: skip
CAPTIONS = {plot.name: (plot.title, plot.caption) for plot in PLOTS}
CAPTIONS[DASHBOARD] = (
    "Training dashboard",
    "Loss, learning rate, gradients, speed, memory, averages and timing at a glance",
)
