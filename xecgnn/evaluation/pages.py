"""Pages of the PDFs: one look, and a file that appears when it is complete."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

from xecgnn.output import completed

__all__ = ["LOOKS", "STYLE", "new_page", "write_pages"]

STYLE: Any = {  # fonttype 42: text stays text
    "pdf.fonttype": 42,
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}
PAGE = (11.7, 8.3)  # A4 landscape, inches
# Colours of Okabe and Ito, distinct for the colour-blind; the network first.
LOOKS = [("#0072B2", "o"), ("#E69F00", "s"), ("#009E73", "^"), ("#CC79A7", "D")]


def write_pages(path: Path, figures: Iterable[Figure]) -> None:
    """Write figures as they come, a page each."""
    with completed(path) as part, matplotlib.rc_context(STYLE), PdfPages(part) as pdf:
        for figure in figures:
            pdf.savefig(figure)


def new_page(title: str, footer: str) -> Figure:
    """An empty page with its title and, at the bottom, what it was drawn from."""
    figure = Figure(figsize=PAGE, layout="constrained")
    figure.suptitle(title, fontsize=12, x=0.01, ha="left")
    figure.supxlabel(footer, fontsize=8, color="0.4", x=0.99, ha="right")
    return figure
