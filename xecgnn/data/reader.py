"""Read entry ranges of one ROOT file, its branches checked against a schema."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xecgnn.arrays import Bools, Ints
from xecgnn.data.columns import known_truth
from xecgnn.data.config import ReaderConfig
from xecgnn.names import FEATURES, NPHO, RELATIVE_TIME, SCHEMA
from xecgnn.schema import ANY, SENSOR, Column, Schema

__all__ = ["BadFileError", "FileScan", "TreeReader", "in_fiducial_volume"]

UVW = "uvwTruth"
FIDUCIAL_U, FIDUCIAL_V, FIDUCIAL_W = 23.9, 67.9, (0.0, 38.5)  # cm


class BadFileError(ValueError):
    """A file that cannot be read at all (empty, truncated, not ROOT, no such tree): ``on_bad_file`` may skip it."""


class FileScan(NamedTuple):
    """What a look into one file found."""

    path: Path
    num_entries: int
    columns: tuple[str, ...]  # names of those the file can deliver
    baskets: Ints  # first entry of each basket of the readings, then num_entries
    keep: Bools | None  # (num_entries,) events in the fiducial volume; None = all


class TreeReader:
    """One open file. A context manager; reads columns of entry ranges.

    Args:
        path: The ROOT file.
        config: Names of tree and branches, angle unit.
        schema: What the columns are. With an empty one each branch is read as it is stored.

    Attributes:
        tree: The uproot tree.

    Raises:
        FileNotFoundError: No such file.
        BadFileError: The file is truncated or not ROOT, or has no such tree, or the tree has no events.
    """

    def __init__(self, path: str | Path, config: ReaderConfig, schema: Schema = SCHEMA) -> None:
        import uproot
        from uproot.source.file import MultithreadedFileSource

        self.path, self.config, self.schema = Path(path), config, schema
        if not self.path.is_file():
            raise FileNotFoundError(f"no such file: {self.path}")
        # No threads and no memory map: safe in forked workers, and the pages of a mapped file count as our memory.
        trivial = uproot.TrivialExecutor()
        options = {"handler": MultithreadedFileSource, "use_threads": False, "array_cache": None, "object_cache": None}
        options |= {"decompression_executor": trivial, "interpretation_executor": trivial}
        try:
            self._file = uproot.open({str(self.path): None}, **options)
        except Exception as error:  # uproot raises a dozen types for broken files
            raise BadFileError(f"{self.path}: truncated or not a ROOT file ({_first_line(error)})") from error
        try:
            self.tree = self._open_tree()
        except BaseException:
            self.close()
            raise

    def text(self, name: str) -> str:
        """A string that lies beside the tree; "" where there is none of that name."""
        return str(self._file[name]) if f"{name};1" in self._file.classnames() else ""

    def _open_tree(self) -> Any:
        size, expected = self.path.stat().st_size, self._file.file.fEND
        if size < expected:
            raise BadFileError(f"{self.path}: truncated, {size} of {expected} bytes")
        classes = self._file.classnames(cycle=False)
        if classes.get(self.config.tree) != "TTree":
            trees = [name for name, kind in classes.items() if kind == "TTree"]
            raise BadFileError(f"{self.path}: no tree {self.config.tree!r}; trees: {', '.join(trees) or 'none'}")
        tree = self._file[self.config.tree]
        if tree.num_entries == 0:
            raise BadFileError(f"{self.path}: tree {self.config.tree!r} is empty")
        return tree

    def __enter__(self) -> TreeReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def num_entries(self) -> int:
        """Events in the tree."""
        return int(self.tree.num_entries)

    @cached_property
    def stored(self) -> dict[str, Column]:
        """Branches that can be read (fixed-size arrays of numbers), in the type and width that they are stored in."""
        branches = self.tree.branches  # those inside a split object are not ours
        found = {branch.name: None if branch.branches else self._stored_as(branch.name) for branch in branches}
        return {name: column for name, column in found.items() if column}

    @property
    def unreadable(self) -> list[str]:
        """The other branches of the tree."""
        return [branch.name for branch in self.tree.branches if branch.name not in self.stored]

    def _stored_as(self, branch: str) -> Column | None:
        interpretation = self.tree[branch].interpretation
        # Exactly AsDtype: its subclasses and the jagged interpretations are not fixed-size arrays of plain numbers.
        if type(interpretation).__name__ != "AsDtype":
            return None
        base, shape = interpretation.to_dtype.base, interpretation.to_dtype.shape
        if base.names or len(shape) > 1:
            return None
        return self.schema[branch]._replace(dtype=base.newbyteorder("=").str, width=shape[0] if shape else 1)

    def _branch_name(self, column: str) -> str:
        """The branch of the file that is read as ``column``."""
        return {NPHO: self.config.npho_branch, RELATIVE_TIME: self.config.time_branch}.get(column, column)

    def width(self, column: str) -> int:
        """Values per event of a column.

        Raises:
            ValueError: The file has no such branch, or it is not a fixed-size array of the width in the schema.
        """
        branch, expected = self._branch_name(column), self.schema[column].width
        if branch not in self.stored:
            if branch in self.unreadable:
                raise ValueError(f"{self.path}: branch {branch!r} is not a fixed-size array of numbers")
            raise ValueError(f"{self.path}: no branch {branch!r}; branches: {', '.join(self.tree.keys())}")
        width = self.stored[branch].width
        if expected not in (SENSOR, ANY, width):
            raise ValueError(f"{self.path}: branch {branch!r} has width {width}, expected {expected}")
        return width

    def scan(self, columns: Sequence[str], num_sensors: int | None = None) -> FileScan:
        """Check that ``columns`` can be read, with ``num_sensors`` values where there is one per sensor."""
        for column in columns:
            width = self.width(column)
            if self.schema[column].width == SENSOR and num_sensors not in (None, width):
                branch = self._branch_name(column)
                raise ValueError(f"{self.path}: branch {branch!r} has {width} sensors, the detector has {num_sensors}")
        keep = in_fiducial_volume(self.read([UVW])[UVW]) if self.config.fiducial else None
        branches = [self._branch_name(column) for column in columns] or [*self.stored]
        if not branches:
            raise ValueError(f"{self.path}: no branch is a fixed-size array of numbers")
        largest = self.tree[max(branches, key=lambda branch: self.stored[branch].width)]
        baskets = np.asarray(largest.entry_offsets, dtype=np.int64)
        return FileScan(self.path, self.num_entries, self._columns(), baskets, keep)

    def _columns(self) -> tuple[str, ...]:
        """Columns of the schema that are there, readable or not, and all others that can be read; in file order."""
        present = [branch.name for branch in self.tree.branches]
        known = [name for name in dict.fromkeys((*FEATURES, *present)) if self._branch_name(name) in present]
        return tuple(name for name in known if name in self.schema or name in self.stored)

    def read(self, columns: Iterable[str], start: int = 0, stop: int | None = None) -> dict[str, np.ndarray]:
        """``read_column`` for each of ``columns``, all entries unless told. Errors as ``width``."""
        stop = self.num_entries if stop is None else min(stop, self.num_entries)
        widths = {name: self.width(name) for name in columns}
        return {name: self.read_column(name, start, stop) for name in widths}

    def read_column(self, column: str, start: int, stop: int) -> np.ndarray:
        """Entries ``start`` to ``stop``, (E,) or (E, width); angles of the truth in rad, unknown truth as NaN.

        The array has type and byte order of the file and may not be written to: it is copied where it goes.

        Raises:
            BadFileError: The baskets cannot be read.
        """
        from xecgnn.data.baskets import AsStored

        branch, declared = self.tree[self._branch_name(column)], self.schema[column]
        try:
            values = branch.array(AsStored(branch.interpretation.from_dtype), start, stop, library="np")
        except Exception as error:
            raise BadFileError(f"{self.path}: cannot read entries {start} to {stop} ({_first_line(error)})") from error
        if values.ndim == 1 or values.shape[1] == 1:
            values = values.reshape(-1, 1) if declared.width == SENSOR else values.reshape(-1)
        values = known_truth(declared, values)
        in_degrees = self.config.angle_unit == "deg" and declared.kind == "truth" and declared.unit == "rad"
        return np.deg2rad(values) if in_degrees else values


def in_fiducial_volume(uvw: NDArray[np.floating]) -> Bools:
    """The reference cut on the first interaction point, uvw (E, 3) in cm -> (E,); False where it is NaN."""
    u, v, w = uvw.T
    return (np.abs(u) < FIDUCIAL_U) & (np.abs(v) < FIDUCIAL_V) & (w >= FIDUCIAL_W[0]) & (w < FIDUCIAL_W[1])


def _first_line(error: Exception) -> str:
    """An error of another library in one line."""
    return " ".join(str(error).split("\n\n")[0].split()) or type(error).__name__
