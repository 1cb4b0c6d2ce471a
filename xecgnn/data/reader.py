"""Read entry ranges of one ROOT file, its branches checked against :data:`xecgnn.names.BRANCHES`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from xecgnn.data.config import ReaderConfig
from xecgnn.data.events import known_truth
from xecgnn.names import BRANCHES, IDENTIFIERS, NPHO, RELATIVE_TIME, SENSOR

__all__ = ["BadFileError", "FileScan", "TreeReader", "event_keys", "in_fiducial_volume"]

UVW = "uvwTruth"
FIDUCIAL_U, FIDUCIAL_V, FIDUCIAL_W = 23.9, 67.9, (0.0, 38.5)  # cm


class BadFileError(ValueError):
    """A file that cannot be read at all (empty, truncated, not ROOT, no such tree): ``on_bad_file`` may skip it."""


class FileScan(NamedTuple):
    """What a look into one file found."""

    path: Path
    num_entries: int
    columns: frozenset[str]  # names of BRANCHES the file can deliver
    baskets: npt.NDArray[np.int64]  # first entry of each basket of the readings, then num_entries
    keep: npt.NDArray[np.bool_] | None  # (num_entries,) events in the fiducial volume; None = all


class TreeReader:
    """One open file. A context manager; reads columns of entry ranges.

    Args:
        path: The ROOT file.
        config: Names of tree and branches, angle unit.

    Raises:
        FileNotFoundError: No such file.
        BadFileError: The file is truncated or not ROOT, or has no such tree, or the tree has no events.
    """

    def __init__(self, path: str | Path, config: ReaderConfig) -> None:
        import uproot
        from uproot.source.file import MultithreadedFileSource

        self.path, self.config = Path(path), config
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
            self._tree = self._open_tree()
        except BaseException:
            self.close()
            raise
        present = set(self._tree.keys())
        self._branches = {name: self._branch_name(name) for name in BRANCHES if self._branch_name(name) in present}

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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def num_entries(self) -> int:
        """Events in the tree."""
        return int(self._tree.num_entries)

    def layout(self) -> tuple[dict[str, tuple[str, int]], list[str]]:
        """All branches of the tree, known names or not.

        Returns:
            Those that ``read_branch`` can read, name -> (dtype, width) as ``TreeWriter`` takes them; names of the rest.
        """
        branches = self._tree.branches  # those inside a split object are not ours to write
        stored = {branch.name: None if branch.branches else self._stored_as(branch.name) for branch in branches}
        return {k: v for k, v in stored.items() if v}, [name for name, v in stored.items() if not v]

    def _stored_as(self, branch: str) -> tuple[str, int] | None:
        """(dtype, values per event), or None for all but fixed-size arrays of plain numbers."""
        interpretation = self._tree[branch].interpretation
        # Exactly AsDtype: its subclasses and the jagged interpretations are not fixed-size arrays of plain numbers.
        if type(interpretation).__name__ != "AsDtype":
            return None
        base, shape = interpretation.to_dtype.base, interpretation.to_dtype.shape
        return None if base.names or len(shape) > 1 else (base.newbyteorder("=").str, *(shape or (1,)))

    def _branch_name(self, column: str) -> str:
        """The branch of the file that is read as ``column``."""
        return {NPHO: self.config.npho_branch, RELATIVE_TIME: self.config.time_branch}.get(column, column)

    @property
    def tree(self) -> Any:
        """The uproot tree, for what is not a column of `BRANCHES`."""
        return self._tree

    def width(self, column: str) -> int:
        """Values per event of a column.

        Raises:
            ValueError: The file has no such branch, or it is not a fixed-size array of the width in ``BRANCHES``.
        """
        if column not in self._branches:
            present = ", ".join(self._tree.keys())
            raise ValueError(f"{self.path}: no branch {self._branch_name(column)!r}; branches: {present}")
        stored = self._stored_as(self._branches[column])
        if stored is None:
            raise ValueError(f"{self.path}: branch {self._branches[column]!r} is not a fixed-size array of numbers")
        width = stored[1]
        if BRANCHES[column].width not in (SENSOR, width):
            expected = BRANCHES[column].width
            raise ValueError(f"{self.path}: branch {self._branches[column]!r} has width {width}, expected {expected}")
        return width

    def scan(self, columns: Sequence[str], num_sensors: int | None = None) -> FileScan:
        """Check that ``columns`` can be read, with ``num_sensors`` values where there is one per sensor."""
        for column in columns:
            width = self.width(column)
            if BRANCHES[column].width == SENSOR and num_sensors not in (None, width):
                branch = self._branches[column]
                raise ValueError(f"{self.path}: branch {branch!r} has {width} sensors, the detector has {num_sensors}")
        keep = None
        if self.config.fiducial:
            self.width(UVW)
            keep = in_fiducial_volume(self.read([UVW], 0, self._tree.num_entries)[UVW])
        largest = max(columns, key=lambda column: BRANCHES[column].width == SENSOR)
        baskets = np.asarray(self._tree[self._branches[largest]].entry_offsets, dtype=np.int64)
        return FileScan(self.path, self._tree.num_entries, frozenset(self._branches), baskets, keep)

    def read(self, columns: Iterable[str], start: int, stop: int) -> dict[str, np.ndarray]:
        """``read_column`` for each of ``columns``."""
        return {column: self.read_column(column, start, stop) for column in columns}

    def read_column(self, column: str, start: int, stop: int) -> np.ndarray:
        """Entries ``start`` to ``stop``, (E,) for scalars, else (E, width); ``emiAng`` in rad, unknown truth as NaN.

        The array has type and byte order of the file and may not be written to: it is copied where it goes.

        Raises:
            BadFileError: The baskets cannot be read.
        """
        values = known_truth(column, self.read_branch(self._branches[column], start, stop))
        if column == "emiAng" and self.config.angle_unit == "deg":
            values = np.deg2rad(values)
        return values

    def read_branch(self, name: str, start: int, stop: int) -> np.ndarray:
        """As ``read_column`` for any branch of ``layout``, by its name in the file and as it is stored."""
        from xecgnn.data.baskets import AsStored

        branch = self._tree[name]
        try:
            values = branch.array(AsStored(branch.interpretation.from_dtype), start, stop, library="np")
        except Exception as error:
            raise BadFileError(f"{self.path}: cannot read entries {start} to {stop} ({_first_line(error)})") from error
        return values.reshape(-1) if values.shape[1:] == (1,) else values

    def load(self, names: Iterable[str], start: int = 0, stop: int | None = None) -> dict[str, np.ndarray]:
        """``read_branch`` for each of ``names``, all entries unless told, in native byte order: for arithmetic.

        Unknown truth is NaN here too.
        """
        stop = self.num_entries if stop is None else min(stop, self.num_entries)
        read = {name: known_truth(name, self.read_branch(name, start, stop)) for name in names}
        return {name: values.astype(values.dtype.newbyteorder("="), copy=False) for name, values in read.items()}

    def event_keys(self) -> npt.NDArray[np.int64]:
        """``event_keys`` of all entries."""
        return event_keys(self.load(self.layout()[0].keys() & set(IDENTIFIERS)))


def event_keys(columns: Mapping[str, np.ndarray]) -> npt.NDArray[np.int64]:
    """One number per event (E,) from run and event, ``(run << 32) + event``; none where one of the two is missing."""
    if not set(IDENTIFIERS) <= columns.keys():
        return np.empty(0, np.int64)
    run, event = (columns[name].astype(np.int64) for name in IDENTIFIERS)
    return (run << 32) + event


def in_fiducial_volume(uvw: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
    """The reference cut on the first interaction point, uvw (E, 3) in cm -> (E,); False where it is NaN."""
    u, v, w = uvw.T
    return (np.abs(u) < FIDUCIAL_U) & (np.abs(v) < FIDUCIAL_V) & (w >= FIDUCIAL_W[0]) & (w < FIDUCIAL_W[1])


def _first_line(error: Exception) -> str:
    """An error of another library in one line."""
    return " ".join(str(error).split("\n\n")[0].split()) or type(error).__name__
