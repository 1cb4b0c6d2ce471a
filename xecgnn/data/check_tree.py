"""The branches of a tree against those that a data file has, and how they lie in the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from xecgnn.data.errors import as_bad_file, listed
from xecgnn.data.reader import TreeReader
from xecgnn.detector import Detector
from xecgnn.names import IDENTIFIERS, NPHO, RELATIVE_NPHO, RELATIVE_TIME, SCHEMA, TARGETS
from xecgnn.schema import SENSOR

__all__ = ["BranchLayout", "basket_problems", "branch_layouts", "branch_problems", "usable_branches"]

MIN_PER_BASKET, MAX_BASKET = 50, 200.0  # events, MB
ALIKE = "events cannot be told apart, nor matched with other files"
REWRITE = "rewrite the file with 500 events"
DOCS = "docs/data_format.md"
LEAVES = {"float32": "/F", "int32": "/I", "int64": "/L"}  # how ROOT names the types


class BranchLayout(NamedTuple):
    """A branch as it is stored."""

    name: str
    type: str  # float32[4760], or the name of a C++ type that cannot be read
    unit: str
    events_per_basket: int
    basket_bytes: int  # uncompressed
    compression: str
    ratio: float  # stored / uncompressed size


def branch_layouts(reader: TreeReader) -> list[BranchLayout]:
    """All branches of the file."""
    with as_bad_file(f"{reader.path}: damaged"):
        return [_layout(reader, branch) for branch in reader.tree.branches]


def _layout(reader: TreeReader, branch: Any) -> BranchLayout:
    baskets, size = max(branch.num_baskets, 1), max(branch.uncompressed_bytes, 1)
    column = reader.stored.get(branch.name)
    wide = f"[{column.width}]" if column and column.width > 1 else ""
    return BranchLayout(
        name=branch.name,
        type=np.dtype(column.dtype).name + wide if column else reader.typename(branch.name),
        unit=SCHEMA[branch.name].unit if branch.name in SCHEMA else "(not used)",
        events_per_basket=-(-reader.num_entries // baskets),
        basket_bytes=size // baskets,
        compression=str(branch.compression or branch.file.compression or "none"),  # uproot writes it to the file
        ratio=branch.compressed_bytes / size,
    )


def usable_branches(reader: TreeReader, detector: Detector) -> list[str]:
    """Readings, truth and identifiers that are there with the right number of values."""
    stored = reader.stored
    return [name for name, width in _widths(detector).items() if name in stored and stored[name].width == width]


def branch_problems(reader: TreeReader, detector: Detector) -> Iterator[tuple[str, str]]:
    """What is missing, or has another form: (level, text)."""
    readable, unreadable = reader.stored, reader.unreadable
    branches = [branch.name for branch in reader.tree.branches]
    present, names = set(branches), listed(branches)
    for name, width in _widths(detector).items():
        if name in unreadable:
            leaf = name + (f"[{width}]" if width > 1 else "") + LEAVES[SCHEMA[name].dtype]
            form = f"{reader.typename(name)}, not a fixed-size array of numbers in every entry"
            yield "error", f"branch {name!r} is {form}: write {leaf!r} ({DOCS})"
        elif name in readable and readable[name].width != width:
            whose = f" for detector {detector.name}" if SCHEMA[name].width == SENSOR else ""
            yield "error", f"branch {name!r} has {readable[name].width} values per event, expected {width}{whose}"
    unknown = [name for name in IDENTIFIERS if name not in readable]
    rounded = [name for name in IDENTIFIERS if name in readable and np.dtype(readable[name].dtype).kind == "f"]
    twice = [name for name in present if branches.count(name) > 1]
    trees = ", ".join(reader.not_read())
    shares = f"no branch 'npho', but {RELATIVE_NPHO!r}: train with data.npho_branch {RELATIVE_NPHO}"
    for wrong, level, text in (
        (NPHO not in present and RELATIVE_NPHO in present, "warning", shares),
        (not {NPHO, RELATIVE_NPHO} & present, "error", f"no branch 'npho'; branches: {names}"),
        (RELATIVE_TIME not in present, "error", f"no branch 'relative_time'; branches: {names}"),
        (unknown, "warning", f"no branch {' and '.join(unknown)}: {ALIKE}"),
        (trees, "warning", f"holds another {reader.config.tree!r} that is not read: {trees}; it is read with --tree"),
        (twice, "warning", f"branch {listed(twice)} is there more than once; the first is read"),
        (rounded, "warning", f"{listed(rounded)} of floating-point numbers: large ones are rounded; write /L"),
        (not present & set(TARGETS.values()), "warning", "no truth: good for inference only"),
    ):
        if wrong:
            yield level, text


def basket_problems(layouts: Iterable[BranchLayout], num_entries: int) -> Iterator[str]:
    """Baskets of the readings that are so small that reading is slow, or so large that they do not fit into memory."""
    for entry in layouts:
        where, megabytes = f"branch {entry.name!r}", entry.basket_bytes / 1e6
        if SCHEMA[entry.name].kind != "reading":
            continue
        if entry.events_per_basket < min(MIN_PER_BASKET, num_entries):
            yield f"{where}: {entry.events_per_basket} events per basket make reading slow: {REWRITE} in each ({DOCS})"
        elif megabytes > MAX_BASKET:
            yield f"{where}: baskets of {megabytes:.0f} MB fill the memory: {REWRITE} in each ({DOCS})"


def _widths(detector: Detector) -> dict[str, int]:
    """Values per event of the branches of a data file, for this detector."""
    columns = (SCHEMA[name] for name in SCHEMA.names("reading", "truth", "identifier"))
    return {c.name: detector.num_sensors if c.width == SENSOR else c.width for c in columns}
