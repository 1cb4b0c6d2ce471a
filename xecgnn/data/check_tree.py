"""The branches of a tree against those that a data file has, and how they lie in the file."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from xecgnn.data.reader import TreeReader
from xecgnn.detector import Detector
from xecgnn.names import BRANCHES, IDENTIFIERS, NPHO, RELATIVE_NPHO, RELATIVE_TIME, SENSOR, TARGETS

__all__ = ["BranchLayout", "Problem", "basket_problems", "branch_layouts", "branch_problems", "usable_branches"]

MIN_PER_BASKET, MAX_BASKET = 50, 200e6  # events, bytes
DOCS = "docs/data_format.md"


class Problem(NamedTuple):
    """`error`: the file cannot be used as it is; `warning`: it can, but look at it."""

    level: str
    where: str
    text: str


class BranchLayout(NamedTuple):
    """A branch as it is stored."""

    name: str
    type: str  # float32[4760]
    unit: str
    events_per_basket: int
    basket_bytes: int  # uncompressed
    compression: str
    ratio: float  # stored / uncompressed size


def branch_layouts(reader: TreeReader) -> list[BranchLayout]:
    """All branches of the file; those that are not fixed-size arrays of numbers with the name of their C++ type."""
    readable, _ = reader.layout()
    found = []
    for branch in reader.tree.branches:
        baskets, size = max(branch.num_baskets, 1), max(branch.uncompressed_bytes, 1)
        stored = branch.typename
        if branch.name in readable:
            dtype, width = readable[branch.name]
            stored = np.dtype(dtype).name + (f"[{width}]" if width > 1 else "")
        unit = BRANCHES[branch.name].unit if branch.name in BRANCHES else "(not used)"
        compression = str(branch.compression or branch.file.compression or "none")  # uproot writes it to the file
        ratio = branch.compressed_bytes / size
        per_basket = -(-reader.num_entries // baskets)
        found.append(BranchLayout(branch.name, stored, unit, per_basket, size // baskets, compression, ratio))
    return found


def usable_branches(reader: TreeReader, detector: Detector) -> list[str]:
    """Names of `BRANCHES` that are there with the right number of values."""
    readable, _ = reader.layout()
    return [name for name in BRANCHES if name in readable and readable[name][1] == _width(name, detector)]


def branch_problems(reader: TreeReader, detector: Detector) -> list[Problem]:
    """What is missing, or has another form."""
    readable, unreadable = reader.layout()
    problems = []

    def add(level: str, text: str) -> None:
        problems.append(Problem(level, str(reader.path), text))

    for name in BRANCHES:
        width = _width(name, detector)
        if name in unreadable:
            kind = "I" if BRANCHES[name].dtype == "int32" else "F"
            leaf = f"{name}[{width}]/{kind}" if width > 1 else f"{name}/{kind}"
            stored = reader.tree[name].typename
            add("error", f"branch {name!r} is {stored}, not a fixed-size array of numbers: write {leaf!r} ({DOCS})")
        elif name in readable and readable[name][1] != width:
            whose = f" for detector {detector.name}" if BRANCHES[name].width == SENSOR else ""
            add("error", f"branch {name!r} has {readable[name][1]} values per event, expected {width}{whose}")
    present = {*readable, *unreadable}
    if NPHO not in present and RELATIVE_NPHO in present:
        add("warning", f"no branch 'npho', but {RELATIVE_NPHO!r}: train with data.npho_branch {RELATIVE_NPHO}")
    elif NPHO not in present:
        add("error", f"no branch 'npho'; branches: {', '.join(reader.tree.keys())}")
    if RELATIVE_TIME not in present:
        add("error", f"no branch 'relative_time'; branches: {', '.join(reader.tree.keys())}")
    missing = [name for name in IDENTIFIERS if name not in readable]
    if missing:
        add("warning", f"no branch {' and '.join(missing)}: events cannot be told apart, nor matched with other files")
    if not present & set(TARGETS.values()):
        add("warning", "no truth: good for inference only")
    return problems


def basket_problems(reader: TreeReader, layouts: list[BranchLayout]) -> list[Problem]:
    """Baskets of the readings that are so small that reading is slow, or so large that they do not fit into memory."""
    problems = []
    for entry in layouts:
        if entry.name in BRANCHES and BRANCHES[entry.name].width == SENSOR:
            events, size, text = entry.events_per_basket, entry.basket_bytes, ""
            if events < min(MIN_PER_BASKET, reader.num_entries):
                text = f"{events} events per basket make reading slow: rewrite the file with 500"
            elif size > MAX_BASKET:
                text = f"baskets of {size / 1e6:.0f} MB fill the memory: rewrite the file with 500 events in each"
            if text:
                problems.append(Problem("warning", str(reader.path), f"branch {entry.name!r}: {text} ({DOCS})"))
    return problems


def _width(name: str, detector: Detector) -> int:
    return detector.num_sensors if BRANCHES[name].width == SENSOR else BRANCHES[name].width
