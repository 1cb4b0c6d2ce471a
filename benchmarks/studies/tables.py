"""Cells and tables of results: medians over the seeds with their range, and where they stand in a page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import numpy as np

from record import ROOT
from xecgnn.table import number

__all__ = ["NOT_MEASURED", "PAGES", "cell", "filled", "markers"]

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"(<!-- evidence: (?P<name>[^>]+?) -->\n).*?(<!-- end -->)", re.DOTALL)
NOT_MEASURED = "Not measured yet."


def cell(values: Iterable[float]) -> str:
    """The median, and in brackets the smallest and the largest value where they differ."""
    found = list(values)
    if not found:
        return "–"
    low, middle, high = (number(float(value)) for value in (min(found), np.median(found), max(found)))
    return middle if low == high else f"{middle} ({low} to {high})"


def markers(text: str) -> list[str]:
    """Names of the tables that a page wants."""
    return [match["name"] for match in BLOCK.finditer(text)]


def filled(text: str, tables: Mapping[str, str]) -> str:
    """A page with its tables between their markers, `<!-- evidence: NAME -->` and `<!-- end -->`.

    Raises:
        ValueError: a marker that no study has.
    """

    def block(match: re.Match[str]) -> str:
        if match["name"] not in tables:
            raise ValueError(f"no study has a table {match['name']!r}; known tables: {', '.join(sorted(tables))}")
        return f"{match[1]}\n{tables[match['name']].strip()}\n\n{match[3]}"

    return BLOCK.sub(block, text)
