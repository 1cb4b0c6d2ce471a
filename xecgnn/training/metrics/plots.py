"""Eleven pictures of a training, on a dark ground; colours are those of Okabe and Ito."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from xecgnn.output import completed
from xecgnn.training.metrics.tracker import CSV, MetricsTracker, is_first_process

__all__ = ["CAPTIONS", "PLOTS", "Plot", "generate_all_plots"]

GROUND, TEXT, GRID = "#0e1117", "#e6e6e6", "#2b313c"
BLUE, ORANGE, GREEN, RED, PURPLE = "#56B4E9", "#E69F00", "#009E73", "#D55E00", "#CC79A7"
DPI = 180
FEW = 40  # epochs that are drawn one by one
DASHBOARD = "training_dashboard"
NO_VALUE = "no finite value was recorded"
Lines = dict[str, tuple[str, str]]  # column -> label, colour
STYLE: Any = {
    "figure.facecolor": GROUND, "axes.facecolor": GROUND, "savefig.facecolor": GROUND, "text.color": TEXT,
    "axes.labelcolor": TEXT, "axes.edgecolor": "#8b949e", "xtick.color": TEXT, "ytick.color": TEXT,
    "axes.grid": True, "grid.color": GRID, "axes.axisbelow": True, "axes.spines.top": False,
    "axes.spines.right": False, "axes.titlelocation": "left", "axes.formatter.limits": (-5, 6),
    "axes.formatter.use_mathtext": True, "legend.facecolor": GROUND, "legend.edgecolor": GROUND, "font.size": 10,
}  # fmt: skip


class Plot(NamedTuple):
    """A picture: file name without ending, title, what it shows."""

    name: str
    title: str
    caption: str
    draw: Callable[[Axes, MetricsTracker], None]


def generate_all_plots(tracker: MetricsTracker, save_dir: str | Path) -> list[Path]:
    """Draw all pictures as PNG, 180 dots per inch; returns their paths. Only the first process draws.

    Raises:
        ValueError: no epoch is finished.
    """
    if not tracker.history:
        raise ValueError(f"{tracker.output_dir / CSV}: no finished epoch, nothing to draw")
    if not is_first_process():
        return []
    folder = Path(save_dir)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    with matplotlib.rc_context(STYLE):
        for plot in PLOTS:
            figure = Figure(figsize=(8, 4.8))  # margins of its own: a layout engine takes twice the time
            figure.subplots_adjust(left=0.15, right=0.98, bottom=0.11, top=0.93)
            _panel(figure.subplots(), plot, tracker)
            paths.append(_save(figure, folder / f"{plot.name}.png"))
        paths.append(_save(_dashboard(tracker), folder / f"{DASHBOARD}.png"))
    return paths


def _dashboard(tracker: MetricsTracker) -> Figure:
    figure = Figure(figsize=(17, 11))
    figure.subplots_adjust(left=0.07, right=0.99, bottom=0.05, top=0.93, wspace=0.24, hspace=0.26)
    figure.suptitle(f"Training: {tracker.name}", fontsize=14, x=0.01, ha="left")
    shown = [plot for plot in PLOTS if plot.name != "loss_distribution"]
    for ax, plot in zip(figure.subplots(3, 3).flat, shown, strict=True):
        _panel(ax, plot, tracker)
    return figure


def _panel(ax: Axes, plot: Plot, tracker: MetricsTracker) -> None:
    first, last = tracker.history[0].epoch, tracker.history[-1].epoch
    ax.set(title=plot.title, xlabel="epoch", xlim=(first - 0.7, last + 0.7))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    plot.draw(ax, tracker)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(fontsize=8)


def _save(figure: Figure, path: Path) -> Path:
    with completed(path) as part:
        figure.savefig(part, format="png", dpi=DPI)
    return path


def _column(tracker: MetricsTracker, name: str) -> NDArray[np.float64]:
    return np.array([metrics.get(name) for metrics in tracker.history])


def _nothing(ax: Axes, why: str) -> None:
    ax.text(0.5, 0.5, why, transform=ax.transAxes, ha="center", va="center", wrap=True)
    ax.set(xticks=[], yticks=[], xlabel="")


def _lines(
    ax: Axes, tracker: MetricsTracker, label: str, lines: Lines, missing: str = NO_VALUE, scale: float = 1.0
) -> None:
    """A line per column that has values."""
    epochs = _column(tracker, "epoch")
    marker = "o" if len(epochs) <= FEW else ""
    for (name, (title, color)), style in zip(lines.items(), ("-", "--", ":"), strict=False):
        values = scale * _column(tracker, name)
        if np.isfinite(values).any():
            ax.plot(epochs, values, color=color, ls=style, marker=marker, ms=3, label=title)
    if ax.lines:
        ax.set_ylabel(label)
    else:
        _nothing(ax, missing)


def _bars(ax: Axes, tracker: MetricsTracker, label: str, name: str) -> None:
    values = _column(tracker, name)
    if not np.isfinite(values).any():
        _nothing(ax, NO_VALUE)
        return
    ax.bar(_column(tracker, "epoch"), values, width=0.8 if len(values) <= FEW else 1.0, color=BLUE, ec=BLUE, lw=0.3)
    ax.set_ylabel(label)


def _band(ax: Axes, tracker: MetricsTracker, low: NDArray[np.float64], high: NDArray[np.float64], label: str) -> None:
    epochs = _column(tracker, "epoch")
    ax.fill_between(epochs, low, high, color=BLUE, alpha=0.25, lw=0, label=label)
    if len(epochs) <= FEW:  # an epoch without neighbours has no band
        ax.vlines(epochs, low, high, color=BLUE, alpha=0.4, lw=0.8)


def _loss(ax: Axes, tracker: MetricsTracker) -> None:
    """Training loss within its range over batches, validation loss, and the best epoch."""
    _lines(ax, tracker, "loss", {"loss_mean": ("training, mean", BLUE), "val_loss": ("validation", ORANGE)})
    if not ax.lines:
        return
    _band(ax, tracker, _column(tracker, "loss_min"), _column(tracker, "loss_max"), "training, all batches")
    for name, color in (("val_loss", ORANGE), ("loss_mean", BLUE)):
        best = tracker.best(name)
        if best is not None:
            label = f"best: {best.get(name):.4g} in epoch {best.epoch}"
            ax.plot(best.epoch, best.get(name), "*", ms=14, color=color, mec=TEXT, mew=0.6, label=label, ls="")
            break


def _loss_log(ax: Axes, tracker: MetricsTracker) -> None:
    values = np.stack([_column(tracker, "loss_mean"), _column(tracker, "val_loss")])
    if not (values > 0).any():
        _nothing(ax, "no loss above zero: there is no logarithm")
        return
    _loss(ax, tracker)
    ax.set_yscale("log")
    if (values <= 0).any():
        ax.set_ylabel("loss (values below zero are not shown)")


def _distribution(ax: Axes, tracker: MetricsTracker) -> None:
    mean, std = _column(tracker, "loss_mean"), _column(tracker, "loss_std")
    _lines(ax, tracker, "loss of a batch", {"loss_mean": ("mean", BLUE), "loss_median": ("median", ORANGE)})
    if ax.lines:
        _band(ax, tracker, mean - std, mean + std, "mean ± 1 σ over batches")


def _learning_rate(ax: Axes, tracker: MetricsTracker) -> None:
    _lines(ax, tracker, "learning rate, last step", {"lr": ("", GREEN)}, "no learning rate was recorded")


def _grad_norm(ax: Axes, tracker: MetricsTracker) -> None:
    lines = {"grad_norm": ("mean of the epoch", BLUE), "grad_norm_max": ("largest step", RED)}
    _lines(ax, tracker, "gradient norm before clipping", lines, "no gradient norm was recorded")
    if ax.lines:
        ax.set_yscale("log")


def _throughput(ax: Axes, tracker: MetricsTracker) -> None:
    unit = "samples" if np.isfinite(_column(tracker, "samples_per_sec")).any() else "batches"
    _bars(ax, tracker, f"{unit} / s", f"{unit}_per_sec")


def _gpu_memory(ax: Axes, tracker: MetricsTracker) -> None:
    colors = {"peak": RED, "reserved": ORANGE, "allocated": BLUE}
    lines = {f"gpu_{name}_mb": (name, color) for name, color in colors.items()}
    _lines(ax, tracker, "GPU memory [GB]", lines, "no GPU was used", scale=1e-3)


def _ema(ax: Axes, tracker: MetricsTracker) -> None:
    _lines(ax, tracker, "L2 distance of weights and average", {"ema_delta_norm": ("", PURPLE)}, "no averaged weights")


def _timing(ax: Axes, tracker: MetricsTracker) -> None:
    _bars(ax, tracker, "time of the epoch [s]", "epoch_time_sec")


def _derivative(ax: Axes, tracker: MetricsTracker) -> None:
    epochs, change = _column(tracker, "epoch")[1:], np.diff(_column(tracker, "loss_mean"))
    if not np.isfinite(change).any():
        _nothing(ax, "needs the loss of two epochs")
        return
    for label, color, chosen in (("better", GREEN, change <= 0), ("worse", RED, change > 0)):
        if chosen.any():
            ax.bar(epochs[chosen], change[chosen], color=color, label=label)
    ax.axhline(0, color=TEXT, lw=0.8)
    ax.set_ylabel("change of the mean loss")


PLOTS = (
    Plot("loss_linear", "Loss", "Mean over the batches of each epoch, range over batches, best epoch", _loss),
    Plot("loss_log", "Loss, logarithmic", "The same on a logarithmic axis", _loss_log),
    Plot(
        "loss_distribution", "Loss distribution", "Mean and median over batches, one standard deviation", _distribution
    ),
    Plot("learning_rate", "Learning rate", "Learning rate of the last step of each epoch", _learning_rate),
    Plot("grad_norm", "Gradient norm", "L2 norm over all weights before clipping; peaks are instabilities", _grad_norm),
    Plot("throughput", "Throughput", "Training speed, without validation", _throughput),
    Plot("gpu_memory", "GPU memory", "Memory of tensors, reserved from the system, and its peak", _gpu_memory),
    Plot("ema_divergence", "EMA divergence", "Distance of the trained weights from their average", _ema),
    Plot("epoch_timing", "Epoch timing", "Wall-clock time of each epoch with validation", _timing),
    Plot("loss_derivative", "Loss derivative", "Change of the mean loss from epoch to epoch", _derivative),
)
CAPTIONS = {plot.name: (plot.title, plot.caption) for plot in PLOTS}
CAPTIONS[DASHBOARD] = (
    "Training dashboard",
    "Loss, learning rate, gradients, speed, memory, averages and timing at a glance",
)
