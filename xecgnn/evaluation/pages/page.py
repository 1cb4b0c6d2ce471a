"""How everything looks that is drawn: two styles, colours, pages, and files that appear when they are complete.

`screen` is a white page, and a dark ground for the pictures of a training; `paper` is white for both, with larger
letters and stronger lines, for print.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import LogFormatter

from xecgnn.evaluation.config import Style
from xecgnn.evaluation.limits import uses_truth
from xecgnn.evaluation.pages.split import save_panels
from xecgnn.output import completed, write_text
from xecgnn.table import Table

__all__ = [
    "DASHES", "GREY", "LOOKS", "Content", "above", "grid", "legend", "logarithmic", "looks", "narrow", "new_page",
    "save", "say", "text_pages", "write_lines",
]  # fmt: skip

# Of a file: a text; or pages, of a generator, so that they are drawn when the style is set.
Content = str | Iterable[Figure]

# Colours of Okabe and Ito, distinct for the colour-blind.
BLUE, ORANGE, GREEN, PURPLE, RED, SKY = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9"
GREY = "0.5"
LOOKS = [(BLUE, "o"), (ORANGE, "s"), (GREEN, "^"), (PURPLE, "D")]  # colour and marker, the network first
LIMIT_LOOKS = [("0.2", "-"), ("0.2", "--"), ("0.2", ":")]  # of what uses the truth: lines without markers
DASHES = ["-", "--", "-.", ":"]
PAGE = (11.7, 8.3)  # A4 landscape, inches
MARGIN = 0.012  # of it, on each side
SMALL = 8  # points, of the smallest letters
LETTERS, LINES = 165, 54  # of these on a page, of one width
DPI = 180  # of png

# fonttype 42: text stays text; LaTeX, which a matplotlibrc can ask for, may be missing where a job runs
WHITE: dict[str, Any] = {
    "pdf.fonttype": 42, "text.usetex": False, "font.size": 9, "legend.fontsize": SMALL, "axes.spines.top": False,
    "axes.spines.right": False, "legend.frameon": False,
}  # fmt: skip
GROUND, TEXT = "#0e1117", "#e6e6e6"
DARK: dict[str, Any] = WHITE | {
    "figure.facecolor": GROUND, "axes.facecolor": GROUND, "savefig.facecolor": GROUND, "text.color": TEXT,
    "axes.labelcolor": TEXT, "axes.edgecolor": "#8b949e", "xtick.color": TEXT, "ytick.color": TEXT,
    "axes.grid": True, "grid.color": "#2b313c", "axes.axisbelow": True, "axes.titlelocation": "left",
    "axes.formatter.limits": (-5, 6), "axes.formatter.use_mathtext": True, "legend.frameon": True,
    "legend.facecolor": GROUND, "legend.edgecolor": GROUND, "font.size": 10,
}  # fmt: skip
PAPER: dict[str, Any] = WHITE | {
    "font.size": 11, "legend.fontsize": 9, "lines.linewidth": 2, "axes.formatter.use_mathtext": True,
}  # fmt: skip
STYLES: dict[Style, dict[str, Any]] = {  # by the ending of the file
    "screen": {".pdf": WHITE, ".png": DARK},
    "paper": {".pdf": PAPER, ".png": PAPER},
}


def save(path: Path, content: Content, style: Style = "screen", panels: Path | None = None) -> list[Path]:
    """Write a text, or figures as they come: a page each in a pdf, the only one as png.

    Args:
        path: the file.
        content: what is in it.
        style: how it looks.
        panels: folder of a PDF and a CSV for each panel, where they are wanted.

    Returns:
        The files.
    """
    if isinstance(content, str):
        write_text(path, content)
        return [path]
    files = [path]
    with matplotlib.rc_context(STYLES[style][path.suffix]), completed(path) as part, ExitStack() as stack:
        pdf = stack.enter_context(PdfPages(part)) if path.suffix == ".pdf" else None
        for number, figure in enumerate(content, start=1):
            pdf.savefig(figure) if pdf else figure.savefig(part, format="png", dpi=DPI)
            if panels:
                files += save_panels(figure, panels, f"{path.stem}_{number}")
    return files


def new_page(title: str, footer: str) -> Figure:
    """An empty page with its title and, at the bottom, what it was drawn from."""
    figure = Figure(figsize=PAGE, layout=ConstrainedLayoutEngine(rect=(MARGIN, MARGIN, 1 - 2 * MARGIN, 1 - 2 * MARGIN)))
    figure.suptitle(title, fontsize=12, x=0.01, ha="left")
    figure.supxlabel(footer, fontsize=SMALL, color="0.4", x=0.99, ha="right")
    return figure


def text_pages(title: str, footer: str, blocks: Iterable[str | Table]) -> Iterator[Figure]:
    """Tables under each other, each with the texts before it, which stay together where a page is enough for them."""
    pages, lines = [[""]], list[str]()
    for block in blocks:
        lines += [*(textwrap.wrap(block, LETTERS) if isinstance(block, str) else narrow(block)), ""]
        if isinstance(block, Table) and len(pages[-1]) + len(lines) <= LINES:
            pages[-1] += lines
        elif isinstance(block, Table):
            pages += [lines[start : start + LINES] for start in range(0, len(lines), LINES)]
        lines = lines if isinstance(block, str) else []
    pages += [lines] if lines else []
    for number, lines in enumerate(filter(any, pages), start=1):
        figure = new_page(title if number == 1 else f"{title} ({number})", footer)
        write_lines(figure, lines)
        yield figure


def write_lines(figure: Figure, lines: Iterable[str]) -> None:
    """From the top of a page on, LINES at most."""
    figure.text(0.02, 0.94, "\n".join(lines), family="monospace", fontsize=SMALL, va="top")


def narrow(table: Table) -> list[str]:
    """Lines of a table; the columns that find no place go under it, beside the first one again."""
    lines = table.text().splitlines()
    if max(map(len, lines)) <= LETTERS or len(table.head) < 3:
        return [line[:LETTERS] for line in lines]
    half = (len(table.head) + 1) // 2
    first, second = (
        Table([*table.head[:1], *table.head[part]], [[*row[:1], *row[part]] for row in table.rows])
        for part in (slice(1, half), slice(half, None))
    )
    return [*narrow(first), "", *narrow(second)]


def grid(figure: Figure, count: int, columns: int | None = None) -> list[Axes]:
    """So many axes in rows, of three or four unless told."""
    columns = columns or min(4 if count > 6 else 3, count)
    cells = figure.add_gridspec(-(-count // columns), columns)
    return [figure.add_subplot(cells[divmod(place, columns)]) for place in range(count)]


def legend(figure: Figure, columns: int = 2) -> None:
    """One for all panels, at the top: that of the one that shows most."""
    handles, labels = max((ax.get_legend_handles_labels() for ax in figure.axes), key=lambda found: len(found[1]))
    figure.legend(handles, labels, loc="outside upper right", ncols=columns)


def above(ax: Axes, head: str = "", columns: int = 1) -> None:
    """The legend of a panel on top of it, where it hides nothing; may be wider than the panel."""
    look: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0.2, "alignment": "left"}
    size = matplotlib.rcParams["legend.fontsize"]
    legend = ax.legend(title=head, title_fontsize=size, handlelength=1.5, labelspacing=0.2, ncols=columns, **look)
    legend.set_in_layout(False)  # its width would take from the panel's; the title keeps its height free
    ax.set_title("\n" * (bool(head) - (-len(legend.get_texts()) // columns)), fontsize=size)


def logarithmic(ax: Axes) -> None:
    """A logarithmic y axis, without powers in small letters."""
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False))


def looks(titles: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Colour and marker of each of some methods, in their order; limits are lines."""
    ours, limits = cycle(LOOKS), cycle(LIMIT_LOOKS)
    return {title: next(limits if uses_truth(title) else ours) for title in titles}


def say(ax: Axes, text: str) -> None:
    """Why a panel is empty."""
    ax.text(0.5, 0.5, text, ha="center", transform=ax.transAxes)
