"""What got slower: the newest figures of each benchmark beside the best before, on the same machine.

Usage: python benchmarks/track.py [FILE ...]     # results/*.jsonl, which the benchmarks write with --record

Prints figures that are more than 10 % worse, and ends with exit code 1 if there are any. Where a benchmark has ratios
only those are judged: both of their sides were measured in turns, so that other load hardly moves them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from record import RESULTS
from xecgnn.table import Table

__all__ = ["TOLERANCE", "read", "worse"]

TOLERANCE = 0.1
RATIO = "ratio"

Line = Mapping[str, Any]


def read(paths: Iterable[Path]) -> Iterator[Line]:
    """The lines of files, in their order.

    Raises:
        ValueError: one that is none, for example of a file that was cut off; names it.
    """
    for path in paths:
        for number, text in enumerate(path.read_text().splitlines(), start=1):
            try:
                yield json.loads(text)
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}") from None


def worse(lines: Iterable[Line], tolerance: float = TOLERANCE) -> Iterator[tuple[Line, Line, float]]:
    """The newest line of a figure, the best before it, and how much worse it is (0.2: by 20 %), where that is too much.

    A figure is (benchmark, name, processor, threads); one that was measured once is none the worse.
    """
    figures: dict[tuple[Any, ...], list[Line]] = defaultdict(list)
    for line in lines:
        figures[tuple(line[key] for key in ("benchmark", "name", "processor", "threads"))].append(line)
    with_ratios = {benchmark for (benchmark, *_), found in figures.items() if found[-1]["unit"] == RATIO}
    for (benchmark, *_), found in figures.items():
        if len(found) > 1 and (found[-1]["unit"] == RATIO or benchmark not in with_ratios):
            *before, newest = found
            higher = newest["better"] == "higher"
            best = (max if higher else min)(before, key=lambda line: line["value"])
            change = (best["value"] / newest["value"] if higher else newest["value"] / best["value"]) - 1
            if change > tolerance:
                yield newest, best, change


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, default=sorted(RESULTS.glob("*.jsonl")))
    table = Table(["benchmark", "figure", "now", "commit", "best before", "commit ", "worse by", "unit"])
    for now, best, change in worse(read(parser.parse_args().files)):
        figures = now["value"], now["commit"], best["value"], best["commit"], f"{change:.0%}"
        table.add(now["benchmark"], now["name"], *figures, now["unit"])
    if table.rows:
        print(table.text())
        sys.exit(1)


if __name__ == "__main__":
    main()
