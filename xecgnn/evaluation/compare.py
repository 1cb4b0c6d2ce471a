"""Several runs side by side, in a table and on paper: who is best in what, which settings differ, and the curves."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from xecgnn.evaluation.artifacts import artifact, make
from xecgnn.evaluation.compared import Run
from xecgnn.evaluation.config import Style
from xecgnn.evaluation.pages.page import (
    BLUE,
    DASHES,
    GREEN,
    LETTERS,
    LINES,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    Content,
    legend,
    narrow,
    new_page,
    write_lines,
)  # fmt: skip
from xecgnn.output import check_new
from xecgnn.provenance import made_by
from xecgnn.table import Table
from xecgnn.tasks.ranking import is_ranked
from xecgnn.tasks.registry import metric_units
from xecgnn.training.metrics.history import CSV, METRICS

__all__ = ["Comparison", "compare_runs", "differing_settings"]

log = logging.getLogger(__name__)

COLORS = (BLUE, RED, GREEN, PURPLE, ORANGE, SKY, "#000000")
ALSO = {"lr": "learning rate", "grad_norm": "gradient norm", "samples_per_sec": "samples / s"}  # drawn, not ranked
PANELS, CELL = 6, 40  # panels of a page, half of them on the first; letters of a cell
# Where files are and who is told of them: what a run reaches does not depend on it.
PLACES = ("run_name", "checkpoint.resume_from", "checkpoint.artifacts_dir", "logging.")
NONE = "–"
LEGEND = """Better is: lower for losses, widths and resolutions, higher for accuracies, closer to zero for biases and
skewnesses. Epochs count from 0."""


class Comparison(NamedTuple):
    """What a comparison is made of: runs, the best first, and the metrics that they are ranked by, the chosen first."""

    runs: Sequence[Run]
    metrics: Sequence[str]


def compare_runs(
    runs: Sequence[Run],
    output_dir: str | Path,
    metric: str | None = None,
    overwrite: bool = False,
    style: Style = "screen",
    panels: bool = False,
) -> list[Path]:
    """Write comparison.md and comparison.pdf; returns the files. What a run lacks is told in a line of the log.

    Args:
        runs: as `read_run` gives them.
        output_dir: where the two files go.
        metric: what the runs are ranked by; None: what chose their best epochs, where that is one, else `val_loss`.
        overwrite: replace files that are there.
        style, panels: as `make`.

    Raises:
        ValueError: a name twice; a metric that no run has, though they have others.
        FileExistsError: the files are there already.
    """
    paths = [Path(output_dir) / "comparison.md", Path(output_dir) / "comparison.pdf"]
    check_new(*paths, overwrite=overwrite, option="--output-dir")
    name, number = Counter(run.name for run in runs).most_common(1)[0]
    if number > 1:
        raise ValueError(f"{number} of the runs are called {name!r}; names must differ")
    monitors = {run.settings.get("checkpoint.monitor", "val_loss") for run in runs}
    metric = metric or (monitors.pop() if len(monitors) == 1 else "val_loss")
    known = sorted({name for run in runs for name in run.history if is_ranked(name)}, key=_order)
    if known and metric not in known:
        raise ValueError(f"metric {metric!r} is in none of the runs; known metrics: {', '.join(known)}")
    if len(runs) == 1:
        log.warning("%s: one run alone, nothing to compare it with", runs[0].name)
    for run in runs:
        _tell(run, metric)
    runs = sorted(runs, key=lambda run: run.place(metric))
    metrics = [metric, *(name for name in known if name != metric)]
    return make(Comparison(runs, metrics), Path(output_dir), style, panels)


@artifact("comparison", "runs", "metrics")
def _files(found: Comparison) -> Iterator[tuple[str, Content]]:
    yield "comparison.md", _markdown(*found)
    yield "comparison.pdf", _pages(*found)


def differing_settings(runs: Sequence[Run]) -> dict[str, list[str]]:
    """{setting: its value in each run} of those that are not the same in all; PLACES do not count."""
    names = dict.fromkeys(name for run in runs for name in run.settings if not name.startswith(PLACES))
    values = {name: [run.settings.get(name, NONE) for run in runs] for name in names}
    return {name: row for name, row in values.items() if len(set(row)) > 1}


def _order(metric: str) -> tuple[bool, bool, str]:
    """Resolutions of the validation first, then losses, then the moments."""
    return not metric.startswith("val_") and metric != "loss_mean", "loss" in metric, metric


def _label(metric: str, units: Mapping[str, str]) -> str:
    unit = units.get(metric.removeprefix("val_"), "")
    return ALSO.get(metric, f"{metric} [{unit}]" if unit else metric)


def _tell(run: Run, metric: str) -> None:
    planned = run.settings.get("training.epochs", "")
    if not run.history:
        log.warning("%s: no epoch is finished (no %s); its settings alone are compared", run.name, f"{METRICS}/{CSV}")
    elif metric not in run.history:
        log.warning("%s: has no %s and is not ranked", run.name, metric)
    elif planned.isdigit() and run.epochs < int(planned):
        log.warning("%s: unfinished, %d of %s epochs", run.name, run.epochs, planned)


def _results(runs: Sequence[Run], metrics: Sequence[str]) -> Table:
    """By metric and rank."""
    units, table = metric_units(), Table(["metric", "rank", "run", "best", "in epoch", "final", "epochs"])
    for metric in metrics:
        places = sorted(run.place(metric) for run in runs)
        for run in sorted(runs, key=lambda run: run.place(metric)):
            best = run.best(metric)
            if best is not None:
                values = run.history[metric]
                rank = 1 + places.index(run.place(metric))  # ties share it
                cells = run.name, f"{values[best]:.4g}", best, f"{values[max(values)]:.4g}", run.epochs
                table.add(_label(metric, units), rank, *cells)
    return table


def _settings(runs: Sequence[Run]) -> Table:
    return Table(["setting", *(run.name for run in runs)], [(k, *row) for k, row in differing_settings(runs).items()])


def _markdown(runs: Sequence[Run], metrics: Sequence[str]) -> str:
    text = f"# Comparison of runs by {metrics[0]}\n\n{LEGEND}\n"
    made = Table(["", "value"], list(made_by().items()))
    tables = {"Results": _results(runs, metrics), "Settings that differ": _settings(runs), "Made by": made}
    for title, table in tables.items():
        text += f"\n## {title}\n\n{table.markdown() if table.rows else 'None.'}\n"
    return text


def _pages(runs: Sequence[Run], metrics: Sequence[str]) -> Iterator[Figure]:
    drawn = [name for name in [*metrics, *ALSO] if any(name in run.history for run in runs)]
    footer = f"number of runs: {len(runs)}, ranked by {metrics[0]}"
    figure = new_page(f"Comparison of runs, ranked by {metrics[0]}", footer)
    first, lines = PANELS // 2, list[str]()
    physics = [name for name in metrics[1:] if name.startswith("val_") and "loss" not in name]
    for table in (_results(runs, metrics[:1]), _settings(runs), _results(runs, physics)):
        short = Table(table.head, [[_short(str(cell)) for cell in row] for row in table.rows])
        lines += [*narrow(short), ""] if table.rows else []
    room = LINES // 2 - 1 if drawn else LINES
    if len(lines) > room:
        lines = [*lines[: room - 1], f"and {len(lines) - room + 1} more lines in comparison.md"]
    write_lines(figure, lines)
    if drawn:
        _curves(figure, runs, drawn[:first], first)
    yield figure
    for start in range(first, len(drawn), PANELS):
        figure = new_page("Curves: " + ", ".join(drawn[start : start + PANELS]), footer)
        _curves(figure, runs, drawn[start : start + PANELS])
        yield figure


def _short(cell: str) -> str:
    return cell if len(cell) <= CELL else f"...{cell[3 - CELL :]}"


def _curves(figure: Figure, runs: Sequence[Run], metrics: Sequence[str], free: int = 0) -> None:
    """A panel per metric with all runs, after some free places; a run keeps its colour on all pages."""
    units, runs = metric_units(), [run for run in runs if run.history]
    cells = figure.add_gridspec(2, PANELS // 2)
    for place, metric in enumerate(metrics, start=free):
        ax = figure.add_subplot(cells[divmod(place, PANELS // 2)])
        for number, run in enumerate(runs):
            epochs = sorted(run.history.get(metric, {}))
            color, dash = COLORS[number % len(COLORS)], DASHES[number // len(COLORS) % len(DASHES)]
            values = [run.history[metric][epoch] for epoch in epochs]
            ax.plot(epochs, values, color=color, ls=dash, marker="o" * (len(epochs) <= 30), ms=3, label=run.name)
        ax.set(xlabel="epoch", ylabel=_label(metric, units))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        ax.grid(color="0.9")
    longest = max(len(run.name) for run in runs)
    legend(figure, max(1, min(len(runs), LETTERS // (8 + longest))))
