"""Write a tree in the layout of the experiment: fixed-size arrays, large baskets, no half-written files."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, get_args

import numpy as np

from xecgnn.data.config import CompressionName
from xecgnn.names import TREE
from xecgnn.output import completed

__all__ = ["BASKET_EVENTS", "TreeWriter", "layout_of"]

# A reading of all sensors is 19 kB per event: at ROOT's default basket size every event would be a basket of its own.
BASKET_EVENTS = 500


class TreeWriter:
    """Stream events into one ROOT file, ``BASKET_EVENTS`` per basket whatever the sizes of the single writes.

    The file grows as ``<path>.part`` and takes its name when the ``with`` block ends; after an exception it is removed.
    An existing file of that name is replaced only then: whoever must not overwrite checks before.

    Args:
        path: The file to write.
        branches: Name -> (dtype, width); width 1 makes a scalar branch, fed by (E,) arrays, others by (E, width).
        compression: zstd (small), lz4 (fast to read), zlib (readable by any ROOT), none.
        tree: Name of the tree.
        notes: Name -> text, stored beside the tree (as TObjString).

    Raises:
        ValueError: An unknown compression; in ``write``, missing or unknown branches, or an array of another shape.
    """

    def __init__(
        self,
        path: str | Path,
        branches: Mapping[str, tuple[str, int]],
        compression: CompressionName = "zstd",
        tree: str = TREE,
        notes: Mapping[str, str] | None = None,
    ) -> None:
        if compression not in get_args(CompressionName):
            raise ValueError(f"unknown compression {compression!r}; allowed: {', '.join(get_args(CompressionName))}")
        self.path = Path(path)
        self.num_events = 0
        self._branches = {name: (np.dtype(dtype), width) for name, (dtype, width) in branches.items()}
        self._compression = compression
        self._tree_name = tree
        self._notes = dict(notes or {})
        self._tree: Any = None
        self._filled = 0
        self._buffer: dict[str, np.ndarray] = {}

    def __enter__(self) -> TreeWriter:
        import uproot

        codecs = {"zstd": uproot.ZSTD(1), "lz4": uproot.LZ4(1), "zlib": uproot.ZLIB(1), "none": None}
        layout = self._branches.items()
        self._buffer = {name: np.empty(_shape(width, BASKET_EVENTS), dtype) for name, (dtype, width) in layout}
        with ExitStack() as stack:
            part = stack.enter_context(completed(self.path))
            file = stack.enter_context(uproot.recreate(part, compression=codecs[self._compression]))
            self._tree = file.mktree(self._tree_name, {n: np.dtype((dtype, _shape(w))) for n, (dtype, w) in layout})
            for name, text in self._notes.items():
                file[name] = text
            self._stack = stack.pop_all()  # closes the file, then names it
        return self

    def write(self, columns: Mapping[str, np.ndarray]) -> None:
        """Append events. ``columns`` has exactly the branches of the tree, (E,) or (E, width) each."""
        if set(columns) != set(self._branches):
            raise ValueError(f"columns {sorted(columns)} do not match the branches {sorted(self._branches)}")
        size = len(next(iter(columns.values())))
        for name, (_, width) in self._branches.items():
            if columns[name].shape != _shape(width, size):
                raise ValueError(f"branch {name!r} got shape {columns[name].shape}, expected {_shape(width, size)}")
        start = 0
        while start < size:
            count = min(size - start, BASKET_EVENTS - self._filled)
            for name, buffer in self._buffer.items():
                buffer[self._filled : self._filled + count] = columns[name][start : start + count]
            start, self._filled = start + count, self._filled + count
            if self._filled == BASKET_EVENTS:
                self._flush()

    def _flush(self) -> None:
        """One ``extend`` is one basket per branch."""
        if self._filled:
            self._tree.extend({name: buffer[: self._filled] for name, buffer in self._buffer.items()})
            self.num_events += self._filled
            self._filled = 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._flush()
        except BaseException:
            self._stack.__exit__(*sys.exc_info())
            raise
        self._stack.__exit__(kind, error, traceback)


def layout_of(columns: Mapping[str, np.ndarray]) -> dict[str, tuple[str, int]]:
    """Branches that hold these columns, (E,) or (E, width), as ``TreeWriter`` takes them."""
    return {name: (array.dtype.str, 1 if array.ndim == 1 else array.shape[1]) for name, array in columns.items()}


def _shape(width: int, *events: int) -> tuple[int, ...]:
    """Shape of ``events`` entries of a branch: scalars have no second axis."""
    return (*events, width) if width > 1 else events
