"""Pictures of a training, one per question and a dashboard of them: metrics/<name>.png."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from xecgnn.evaluation.pages.page import DASHES, GREEN, ORANGE, PAGE, PURPLE, RED, SKY, SMALL, logarithmic
from xecgnn.tasks.ranking import SIGNED, penalty
from xecgnn.tasks.registry import metric_units
from xecgnn.training.metrics.history import History

__all__ = ["CAPTIONS", "PLOTS", "Plot", "resolution_plots", "training_pictures"]

FEW = 40  # epochs that are drawn one by one
DASHBOARD = "training_dashboard"
ON_DASHBOARD = 9  # plots, the first with values


class Plot(NamedTuple):
    """A picture: columns of the history against the epoch.

    Attributes:
        name: of the file, without ending.
        title, caption: what it shows.
        label: of the y axis, with the unit; "" takes the name of the column.
        columns: column -> its label, colour; those without values are left out.
        band: lower, upper column, and label of what is filled between them.
        bars: columns as bars, not as lines.
        log: scale of the y axis.
        best: mark the best epoch of the validation, or without one of the training.
        missing: what it says where no column has a value.
    """

    name: str
    title: str
    caption: str
    label: str
    columns: Mapping[str, tuple[str, str]]
    band: tuple[str, str, str] | None = None
    bars: bool = False
    log: bool = False
    best: bool = False
    missing: str = "no finite value was recorded"

    def shown(self, table: pd.DataFrame) -> list[str]:
        """The columns with values to draw."""
        lowest = 0 if self.log else -np.inf
        return [name for name in self.columns if name in table and (table[name] > lowest).any()]

    def draw(self, ax: Axes, history: History) -> None:
        """Into one panel."""
        table = _table(history)
        few, ink = len(table) <= FEW, matplotlib.rcParams["text.color"]
        ax.set(title=self.title, xlabel="epoch", xlim=(table.index[0] - 0.7, table.index[-1] + 0.7))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        shown = self.shown(table)
        if not shown:
            ax.text(0.5, 0.5, self.missing, transform=ax.transAxes, ha="center", va="center", wrap=True)
            ax.set(xticks=[], yticks=[], xlabel="")
            return
        for (name, (label, color)), style in zip(self.columns.items(), cycle(DASHES), strict=False):
            if name in shown and self.bars:
                ax.bar(table.index, table[name], 0.8 if few else 1.0, color=color, ec=color, lw=0.3, label=label)
            elif name in shown:
                ax.plot(table.index, table[name], color=color, ls=style, marker="o" if few else "", ms=3, label=label)
        if self.bars:
            ax.axhline(0, color=ink, lw=0.8)
        if self.band:
            low, high = table[self.band[0]], table[self.band[1]]
            ax.fill_between(table.index, low, high, color=SKY, alpha=0.25, lw=0, label=self.band[2])
            if few:  # an epoch without neighbours has no band
                ax.vlines(table.index, low, high, color=SKY, alpha=0.4, lw=0.8)
        if self.best:
            name = "val_loss" if table["val_loss"].notna().any() else "loss_mean"
            epoch, value, color = table[name].idxmin(), table[name].min(), self.columns[name][1]
            star = {"marker": "*", "ms": 14, "color": color, "mec": ink, "mew": 0.6, "ls": ""}
            ax.plot(epoch, value, **star, label=f"best: {value:.4g} in epoch {epoch}")
        hidden = self.log and (table[[*self.columns]] <= 0).any(axis=None)
        ax.set_ylabel((self.label or shown[0]) + (" (zero and below are not shown)" if hidden else ""))
        if self.log:
            logarithmic(ax)
        if entries := len(ax.get_legend_handles_labels()[0]):
            ax.legend()
            if not self.log and not self.bars:  # room for it
                low, high = ax.get_ylim()
                ax.set_ylim(low, high + 0.1 * entries * (high - low))


def training_pictures(history: History, run_name: str) -> Iterator[tuple[str, Iterator[Figure]]]:
    """All pictures, by the names of their files."""
    resolutions = resolution_plots(history)
    yield f"{RESOLUTION.name}.png", _picture(resolutions or [RESOLUTION], history)
    yield from ((f"{plot.name}.png", _picture([plot], history)) for plot in PLOTS)
    table = _table(history)
    shown = [plot for plot in [*resolutions, *PLOTS] if plot.shown(table)]
    yield f"{DASHBOARD}.png", _picture(shown[:ON_DASHBOARD], history, f"Training: {run_name}")


def resolution_plots(history: History) -> list[Plot]:
    """What was measured of the tasks in each epoch, a plot for each unit: resolutions and accuracies."""
    found: dict[str, dict[str, tuple[str, str]]] = {}
    for key, unit in metric_units().items():
        for prefix in ("val_", "train_"):  # ours records the first
            if not key.endswith((*SIGNED, "_rms")) and (values := history.get(prefix + key)):
                columns, best = found.setdefault(unit, {}), min(values, key=lambda epoch: penalty(key, values[epoch]))
                label = f"{prefix}{key}: best {values[best]:.4g} {unit}".rstrip()
                columns[prefix + key] = label, (SKY, ORANGE, GREEN, PURPLE, RED)[len(columns) % 5]
    labels = {unit: f"68 % quantile of the error [{unit}]" if unit else "accuracy" for unit in found}
    return [RESOLUTION._replace(label=labels[unit], columns=columns) for unit, columns in found.items()]


def _picture(plots: Sequence[Plot], history: History, title: str = "") -> Iterator[Figure]:
    """One plot, or several on a page of letters as small as they may be."""
    columns = 2 if len(plots) == 4 else min(3, len(plots))
    small: dict[Any, Any] = {"font.size": SMALL} if len(plots) > 1 else {}
    with matplotlib.rc_context(small):  # until it is saved
        figure = Figure(figsize=PAGE if small else (8, 4.8))  # margins of its own: a layout engine takes twice the time
        figure.subplots_adjust(left=0.15, right=0.98, bottom=0.11, top=0.93)
        if small:
            figure.subplots_adjust(left=0.07, right=0.99, bottom=0.06, top=0.91, wspace=0.28, hspace=0.36)
        figure.suptitle(title, fontsize=12, x=0.01, ha="left")
        for place, plot in enumerate(plots, start=1):
            plot.draw(figure.add_subplot(-(-len(plots) // columns), columns, place), history)
        yield figure


def _table(history: History) -> pd.DataFrame:
    """All columns that are drawn by epoch, NaN where there is no value."""
    names = {name for plot in PLOTS for name in (*plot.columns, *(plot.band or ())[:2])}
    table = pd.DataFrame(history).sort_index()
    table = table.reindex(columns=sorted({*table, *names, "loss_std", "batches_per_sec"}))
    speed = "samples" if "samples_per_sec" in history else "batches"
    change, spread = table["loss_mean"].diff(), table["loss_std"]
    table[f"{speed} / s"] = table[f"{speed}_per_sec"]
    table["better"], table["worse"] = change.where(change <= 0), change.where(change > 0)
    table["low"], table["high"] = table["loss_mean"] - spread, table["loss_mean"] + spread
    table[[*MEMORY]] /= 1e3
    return table


LOSSES = {"loss_mean": ("training, mean", SKY), "val_loss": ("validation", ORANGE)}
RANGE = ("loss_min", "loss_max", "training, all batches")
MEMORY = {f"gpu_{n}_mb": (n, color) for n, color in {"peak": RED, "reserved": ORANGE, "allocated": SKY}.items()}
RESOLUTION = Plot(
    "resolution", "Resolution", "68 % quantiles of the errors after each epoch, with the best; accuracies", "", {},
    missing="no resolution was recorded",
)  # fmt: skip
PLOTS = (  # the more telling the earlier
    Plot(
        "loss_linear", "Loss", "Mean over the batches of each epoch, range over batches, best epoch", "loss", LOSSES,
        band=RANGE, best=True,
    ),
    Plot(
        "learning_rate", "Learning rate", "Learning rate of the last step of each epoch", "learning rate, last step",
        {"lr": ("", GREEN)}, missing="no learning rate was recorded",
    ),
    Plot(
        "grad_norm", "Gradient norm", "L2 norm over all weights before clipping; peaks are instabilities",
        "gradient norm before clipping",
        {"grad_norm": ("mean of the epoch", SKY), "grad_norm_max": ("largest step", RED)},
        log=True, missing="no gradient norm was recorded",
    ),
    Plot(
        "throughput", "Throughput", "Training speed, without validation", "",
        dict.fromkeys(("samples / s", "batches / s"), ("", SKY)), bars=True,
    ),
    Plot(
        "gpu_memory", "GPU memory", "Memory of tensors, reserved from the system, and its peak", "GPU memory [GB]",
        MEMORY, missing="no GPU was used",
    ),
    Plot(
        "epoch_timing", "Epoch timing", "Wall-clock time of each epoch with validation", "time of the epoch [s]",
        {"epoch_time_sec": ("", SKY)}, bars=True,
    ),
    Plot(
        "ema_divergence", "EMA divergence", "Distance of the trained weights from their average",
        "L2 distance of weights and average", {"ema_delta_norm": ("", PURPLE)}, missing="no averaged weights",
    ),
    Plot(
        "loss_log", "Loss, logarithmic", "The same on a logarithmic axis", "loss", LOSSES, band=RANGE, best=True,
        log=True, missing="no loss above zero: there is no logarithm",
    ),
    Plot(
        "loss_derivative", "Loss derivative", "Change of the mean loss from epoch to epoch",
        "change of the mean loss", {"better": ("better", GREEN), "worse": ("worse", RED)}, bars=True,
        missing="needs the loss of two epochs",
    ),
    Plot(
        "loss_distribution", "Loss distribution", "Mean and median over batches, one standard deviation",
        "loss of a batch", {"loss_mean": ("mean", SKY), "loss_median": ("median", ORANGE)},
        band=("low", "high", "mean ± 1 σ over batches"),
    ),
)  # fmt: skip
CAPTIONS = {plot.name: (plot.title, plot.caption) for plot in (RESOLUTION, *PLOTS)}
CAPTIONS[DASHBOARD] = (
    "Training dashboard",
    "Resolution, loss, learning rate, gradients, speed, and more at a glance",
)
