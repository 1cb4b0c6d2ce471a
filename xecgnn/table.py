"""Tables: rows of cells and estimates, as text, Markdown, JSON, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from xecgnn.estimate import Estimate

__all__ = ["Cell", "Table", "number"]

Cell = str | int | float | Estimate  # an estimate is shown with its error, a float with four digits
ESCAPED = {char: f"\\{char}" for char in "&%$#_{}"} | {"±": r"$\pm$", "|": r"\textbar{}", "\\": r"\textbackslash{}"}


@dataclass
class Table:
    """A head and rows of as many cells. In a text, columns of numbers go to the right, those with words to the left."""

    head: Sequence[str]
    rows: list[Sequence[Cell]] = field(default_factory=list)

    def add(self, *cells: Cell) -> None:
        """Add a row.

        Raises:
            ValueError: It has not as many cells as the head.
        """
        if len(cells) != len(self.head):
            raise ValueError(f"a row of {len(cells)} cells in a table of {len(self.head)} columns: {cells[0]!r}")
        self.rows.append(cells)

    def text(self, indent: str = "") -> str:
        """Aligned columns with a rule under the head."""
        head, *rows = ["  ".join(row).rstrip() for row in self._aligned(str, self._to_the_right())]
        rule = "-" * max(map(len, [head, *rows]))
        return "\n".join(indent + line for line in [head, rule, *rows])

    def markdown(self) -> str:
        """A Markdown table that reads well as plain text too."""
        left = [False] * len(self.head)  # whoever shows it decides
        head, *rows = self._aligned(lambda text: text.replace("|", "\\|"), left)
        rule = "|" + "|".join("-" * (len(cell) + 2) for cell in head) + "|"
        return "\n".join(["| " + " | ".join(head) + " |", rule, *("| " + " | ".join(row) + " |" for row in rows)])

    def latex(self) -> str:
        """A `tabular` environment."""
        numbers = self._to_the_right()
        head, *rows = self._aligned(lambda text: "".join(ESCAPED.get(char, char) for char in text), numbers)
        sides = "".join("r" if right else "l" for right in numbers)
        lines = [" & ".join(row) + r" \\" for row in [head, *rows]]
        return "\n".join([rf"\begin{{tabular}}{{{sides}}}", lines[0], r"\hline", *lines[1:], r"\end{tabular}"])

    def json(self) -> list[dict[str, Any]]:
        """A mapping per row; an estimate is one too, None is a number that is not finite."""

        def plain(cell: Cell) -> Any:
            if isinstance(cell, Estimate):
                return cell.as_dict()
            return None if isinstance(cell, float) and not math.isfinite(cell) else cell

        return [dict(zip(self.head, map(plain, row), strict=True)) for row in self.rows]

    def csv(self) -> str:
        """A line per row, numbers in full; an estimate becomes three columns, with <column>_low and <column>_high."""
        wide = [any(isinstance(row[i], Estimate) for row in self.rows) for i in range(len(self.head))]
        lines: list[list[Any]] = [[]]
        for name, three in zip(self.head, wide, strict=True):
            lines[0] += [name, f"{name}_low", f"{name}_high"] if three else [name]
        for row in self.rows:
            lines.append([])
            for cell, three in zip(row, wide, strict=True):
                numbers = [cell.value, cell.low, cell.high] if isinstance(cell, Estimate) else [cell, "", ""]
                lines[-1] += numbers if three else [cell]
        file = io.StringIO()
        csv.writer(file, lineterminator="\n").writerows(lines)
        return file.getvalue()

    def _aligned(self, escape: Callable[[str], str], to_the_right: Sequence[bool]) -> list[list[str]]:
        """Head and rows as texts, those of a column equally long."""
        cells = [[escape(_text(cell)) for cell in row] for row in [self.head, *self.rows]]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        formats = [f"{{:{'>' if right else '<'}{n}}}" for n, right in zip(widths, to_the_right, strict=True)]
        return [[form.format(cell) for form, cell in zip(formats, row, strict=True)] for row in cells]

    def _to_the_right(self) -> list[bool]:
        """Which columns hold numbers, as such or written out; the first one holds names."""
        columns = zip(*self.rows, strict=True) if self.rows else [()] * len(self.head)
        return [i > 0 and all(map(_is_number, column)) for i, column in enumerate(columns)]


def number(value: float) -> str:
    """Four significant digits, at most three decimals, no exponent."""
    digits = 3
    if math.isfinite(value) and value != 0:
        digits = min(max(3 - math.floor(math.log10(abs(value))), 0), 3)
    return f"{round(value, digits) + 0.0:.{digits}f}"  # + 0.0: no "-0.000"


def _text(cell: Cell) -> str:
    return number(cell) if isinstance(cell, float) else str(cell)


def _is_number(cell: Cell) -> bool:
    return not isinstance(cell, str) or cell[:1] in "+-–.0123456789" or cell.startswith("nan")
