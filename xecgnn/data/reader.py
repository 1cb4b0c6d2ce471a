"""Read entry ranges of one ROOT file, its branches checked against a schema."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xecgnn.arrays import Bools, Ints
from xecgnn.data.columns import cast, known_truth
from xecgnn.data.config import ReaderConfig
from xecgnn.data.errors import BadFileError, as_bad_file, listed
from xecgnn.names import FEATURES, NPHO, RELATIVE_TIME, SCHEMA, UNKNOWN_CLASS
from xecgnn.output import check_local
from xecgnn.schema import ANY, SENSOR, Column, Schema

__all__ = ["FileScan", "TreeReader", "in_fiducial_volume"]

UVW = "uvwTruth"
TREES = ("TTree", "TNtuple", "TNtupleD")
FIDUCIAL_U, FIDUCIAL_V, FIDUCIAL_W = 23.9, 67.9, (0.0, 38.5)  # cm


class FileScan(NamedTuple):
    """What a look into one file found."""

    path: Path
    num_entries: int
    columns: tuple[str, ...]  # names of those the file can deliver
    left_out: tuple[str, ...]  # of the other branches
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
        keys: What the file holds: name with cycle -> class.
        surplus: Bytes behind the end of the file as ROOT sees it.

    Raises:
        FileNotFoundError: No such file.
        BadFileError: The file is truncated or not ROOT, or has no such tree, or the tree has no events.
    """

    def __init__(self, path: str | Path, config: ReaderConfig, schema: Schema = SCHEMA) -> None:
        import uproot
        from uproot.source.file import MultithreadedFileSource

        self.path, self.config, self.schema = Path(path), config, schema
        check_local(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"no such file: {self.path}")
        # No threads and no memory map: safe in forked workers, and the pages of a mapped file count as our memory.
        trivial = uproot.TrivialExecutor()
        options = {"handler": MultithreadedFileSource, "use_threads": False, "array_cache": None, "object_cache": None}
        options |= {"decompression_executor": trivial, "interpretation_executor": trivial}
        with as_bad_file(f"{self.path}: truncated or not a ROOT file"):
            self._file = uproot.open({str(self.path): None}, **options)
        try:
            with as_bad_file(f"{self.path}: damaged"):
                self.keys: dict[str, str] = self._file.classnames()
                self.tree = self._open_tree()
        except BaseException:
            self.close()
            raise

    def _open_tree(self) -> Any:
        name, size, expected = self.config.tree, self.path.stat().st_size, self._file.file.fEND
        if not self.keys and not self._file.file.fSeekInfo:  # ROOT writes both when it closes a file
            recovers = f"hadd recovered.root '{self.path}'"
            raise BadFileError(f"{self.path}: not closed by its writer; ROOT recovers what it can of it: {recovers}")
        if size < expected:
            raise BadFileError(f"{self.path}: truncated, {size} of {expected} bytes")
        self.surplus = size - expected
        if not self._cycles():
            trees = listed(dict.fromkeys(k.removesuffix(";1") for k, kind in self.keys.items() if kind in TREES))
            other = listed(f"{key} is a {kind}, " for key, kind in self.keys.items() if key.rpartition(";")[0] == name)
            raise BadFileError(f"{self.path}: no tree {name!r}; {other}trees: {trees or 'none'}")
        tree = self._file[name]
        if tree.num_entries <= 0:
            raise BadFileError(f"{self.path}: tree {name!r} is empty")
        return tree

    def _cycles(self) -> list[str]:
        """Keys of trees of the name that is read, `tree;2` and `tree;1`, the newest first; one where it says which."""
        name = self.config.tree
        found = [key for key, kind in self.keys.items() if kind in TREES and name in (key, key.rpartition(";")[0])]
        return sorted(found, key=lambda key: -int(key.rpartition(";")[2]))

    @property
    def others(self) -> list[str]:
        """What else the file holds: `rec;1 (TTree)`."""
        newest = self._cycles()[0]
        return [f"{key} ({kind})" for key, kind in self.keys.items() if key != newest]

    def text(self, name: str) -> str:
        """A string that lies beside the tree; "" where there is none of that name."""
        with as_bad_file(f"{self.path}: {name} is damaged"):
            return str(self._file[name]) if f"{name};1" in self.keys else ""

    def not_read(self) -> list[str]:
        """Trees of the same name with other events than the newest, which is read: `tree;1 (600 events)`.

        ROOT leaves the last but one state of a tree under such a name too: its baskets are among those of the newest.
        """
        others = []
        for key in self._cycles()[1:]:
            with as_bad_file(f"{self.path}: {key} is damaged"):
                other = self._file[key]
                places, there = (np.trim_zeros(tree.branches[0].member("fBasketSeek")) for tree in (other, self.tree))
                if other.num_entries > self.num_entries or not np.array_equal(places, there[: len(places)]):
                    others.append(f"{key} ({other.num_entries} events)")
        return others

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
    def branches(self) -> dict[str, Any]:
        """The uproot branches by name, the first of those that have one name."""
        return {branch.name: branch for branch in reversed(self.tree.branches)}

    @cached_property
    def stored(self) -> dict[str, Column]:
        """Branches that can be read (fixed-size arrays of numbers), in the type and width that they are stored in."""
        found = {name: self._stored_as(self.branches[name]) for name in (branch.name for branch in self.tree.branches)}
        return {name: column for name, column in found.items() if column}

    @property
    def unreadable(self) -> list[str]:
        """The other branches of the tree."""
        return [branch.name for branch in self.tree.branches if branch.name not in self.stored]

    def _stored_as(self, branch: Any) -> Column | None:
        """None also for types that uproot does not know, and branches that were not filled with every event."""
        try:
            interpretation, complete = branch.interpretation, branch.num_entries == self.num_entries
            # Exactly AsDtype: its subclasses and the jagged interpretations are not fixed-size arrays of plain numbers.
            if type(interpretation).__name__ != "AsDtype" or branch.branches or not complete:
                return None  # branches inside a split object are not ours
            base, shape = interpretation.to_dtype.base, interpretation.to_dtype.shape
        except Exception:
            return None
        if base.kind not in "biuf" or len(shape) > 1:
            return None
        return self.schema[branch.name]._replace(dtype=base.newbyteorder("=").str, width=shape[0] if shape else 1)

    def typename(self, branch: str) -> str:
        """The C++ type of a branch, with its number of entries where it is not that of the tree."""
        found = self.branches[branch]
        try:
            entries = "" if found.num_entries == self.num_entries else f" of {found.num_entries} entries"
            return f"{found.typename}{entries}"
        except Exception:
            return "of an unknown type"

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
                form = f"{self.typename(branch)}, not a fixed-size array of numbers in every entry"
                raise ValueError(f"{self.path}: branch {branch!r} is {form}")
            raise ValueError(f"{self.path}: no branch {branch!r}; branches: {listed(self.tree.keys(recursive=False))}")
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
        largest = self.branches[max(branches, key=lambda branch: self.stored[branch].width)]
        with as_bad_file(f"{self.path}: damaged"):
            baskets = np.asarray(largest.entry_offsets, dtype=np.int64)
        if baskets[0] != 0 or baskets[-1] != self.num_entries or (np.diff(baskets) < 0).any():
            raise BadFileError(f"{self.path}: damaged, the baskets of branch {largest.name!r} do not hold its entries")
        return FileScan(self.path, self.num_entries, self._columns(), tuple(self.unreadable), baskets, keep)

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

        The array has type and byte order of the file, whole numbers those of the schema. It may not be written to: it
        is copied where it goes.

        Raises:
            BadFileError: The baskets cannot be read.
            ValueError: Numbers that the type of the column in the schema does not hold.
        """
        from xecgnn.data.baskets import AsStored

        branch, declared = self.branches[self._branch_name(column)], self.schema[column]
        entries = f"entries {start} to {stop} of branch {branch.name!r}"
        with as_bad_file(f"{self.path}: cannot read {entries}"):
            values = branch.array(AsStored(branch.interpretation.from_dtype), start, stop, library="np")
        if len(values) != stop - start:
            raise BadFileError(f"{self.path}: damaged, {len(values)} values for {entries}")
        if values.ndim == 1 or values.shape[1] == 1:
            values = values.reshape(-1, 1) if declared.width == SENSOR else values.reshape(-1)
        values = known_truth(declared, values)
        if np.dtype(declared.dtype or values.dtype).kind in "iu":
            try:
                values = cast(column, values, declared.dtype or values.dtype)
            except ValueError as error:
                raise ValueError(f"{self.path}: {error}") from None
        in_degrees = self.config.angle_unit == "deg" and declared.kind == "truth" and declared.unit == "rad"
        return np.deg2rad(values) if in_degrees else values

    def unknown(self, column: str, count: int) -> np.ndarray:
        """What stands for ``count`` events that cannot be read: NaN, or UNKNOWN_CLASS where there are whole numbers."""
        declared, width = self.schema[column], self.width(column)
        dtype = np.dtype(declared.dtype or self.stored[self._branch_name(column)].dtype)
        shape = (count,) if width == 1 and declared.width != SENSOR else (count, width)
        return np.full(shape, np.nan if dtype.kind == "f" else UNKNOWN_CLASS).astype(dtype)


def in_fiducial_volume(uvw: NDArray[np.floating]) -> Bools:
    """The reference cut on the first interaction point, uvw (E, 3) in cm -> (E,); False where it is NaN."""
    u, v, w = uvw.T
    return (np.abs(u) < FIDUCIAL_U) & (np.abs(v) < FIDUCIAL_V) & (w >= FIDUCIAL_W[0]) & (w < FIDUCIAL_W[1])
