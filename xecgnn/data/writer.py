"""Write tables of events: trees in the layout of the experiment, or CSV; no half-written files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any, get_args

import numpy as np

from xecgnn.data.checksums import CHECKSUMS, Checksums
from xecgnn.data.config import CompressionName
from xecgnn.data.events import Events
from xecgnn.names import TREE
from xecgnn.output import completed

__all__ = ["BASKET_EVENTS", "TreeWriter", "write", "write_csv"]

# A reading of all sensors is 19 kB per event: at ROOT's default basket size every event would be a basket of its own.
BASKET_EVENTS = 500


def write(events: Events | Iterable[Events], path: str | Path, **options: Any) -> int:
    """Write events, or a stream of them with the same columns, to a file that appears when it is complete.

    Args:
        events: What to write.
        path: With ``.csv`` a table as ``write_csv`` makes it, else a tree.
        **options: Those of :class:`TreeWriter`.

    Returns:
        Number of events.

    Raises:
        ValueError: Nothing to write, not even an empty table.
    """
    path = Path(path)
    stream = iter([events] if isinstance(events, Events) else events)
    first = next(stream, None)  # mistakes show before a file is begun
    if first is None:
        raise ValueError(f"{path}: nothing to write")
    if path.suffix == ".csv":
        return write_csv(chain([first], stream), path)
    with TreeWriter(path, **options) as writer:
        for some in chain([first], stream):
            writer.write(some)
    return writer.num_events


class TreeWriter:
    """Stream events into one ROOT file, ``BASKET_EVENTS`` per basket whatever the sizes of the single writes.

    The file grows as ``<path>.part`` and takes its name when the ``with`` block ends; after an exception it is removed.
    An existing file of that name is replaced only then: whoever must not overwrite checks before. The branches are the
    columns of the first events; a single value makes a scalar branch. Beside the tree lie ``checksums`` of its columns.

    Args:
        path: The file to write.
        compression: zstd (small), lz4 (fast to read), zlib (readable by any ROOT), none.
        tree: Name of the tree.
        notes: Name -> text, stored beside the tree (as TObjString).

    Raises:
        ValueError: An unknown compression; in ``write``, other columns than before, or one of another shape or
            larger type.
    """

    def __init__(
        self,
        path: str | Path,
        compression: CompressionName = "zstd",
        tree: str = TREE,
        notes: Mapping[str, str] | None = None,
    ) -> None:
        if compression not in get_args(CompressionName):
            raise ValueError(f"unknown compression {compression!r}; allowed: {', '.join(get_args(CompressionName))}")
        self.path = Path(path)
        self.num_events = 0
        self._compression, self._tree_name, self._notes = compression, tree, dict(notes or {})
        self._file: Any = None
        self._tree: Any = None
        self._filled = 0
        self._buffer: dict[str, np.ndarray] = {}
        self._checksums = Checksums()

    def __enter__(self) -> TreeWriter:
        import uproot

        codecs = {"zstd": uproot.ZSTD(1), "lz4": uproot.LZ4(1), "zlib": uproot.ZLIB(1), "none": None}
        with ExitStack() as stack:
            part = stack.enter_context(completed(self.path))
            self._file = stack.enter_context(uproot.recreate(part, compression=codecs[self._compression]))
            stack.push(self._finish)
            self._stack = stack.pop_all()  # finishes the tree, closes the file, then names it
        return self

    def write(self, events: Events) -> None:
        """Append events."""
        columns = {name: v.reshape(-1) if v.shape[1:] == (1,) else v for name, v in events.columns.items()}
        if self._tree is None:
            self._begin(columns)
        if set(columns) != set(self._buffer):
            raise ValueError(f"columns {sorted(columns)} do not match the branches {sorted(self._buffer)}")
        size, start = len(events), 0
        for name, buffer in self._buffer.items():
            if columns[name].shape[1:] != buffer.shape[1:]:
                wanted = (size, *buffer.shape[1:])
                raise ValueError(f"branch {name!r} got shape {columns[name].shape}, expected {wanted}")
            if not np.can_cast(columns[name].dtype, buffer.dtype):
                raise ValueError(f"branch {name!r} got {columns[name].dtype}, which {buffer.dtype} does not hold")
        while start < size:
            count = min(size - start, BASKET_EVENTS - self._filled)
            for name, buffer in self._buffer.items():
                buffer[self._filled : self._filled + count] = columns[name][start : start + count]
            start, self._filled = start + count, self._filled + count
            if self._filled == BASKET_EVENTS:
                self._flush()

    def _begin(self, columns: Mapping[str, np.ndarray]) -> None:
        self._buffer = {name: np.empty((BASKET_EVENTS, *v.shape[1:]), v.dtype) for name, v in columns.items()}
        layout = {name: np.dtype((v.dtype, v.shape[1:])) for name, v in columns.items()}
        self._tree = self._file.mktree(self._tree_name, layout)
        for name, text in self._notes.items():
            self._file[name] = text

    def _flush(self) -> None:
        """One ``extend`` is one basket per branch."""
        if self._filled:
            values = {name: buffer[: self._filled] for name, buffer in self._buffer.items()}
            self._checksums.add(values)
            self._tree.extend(values)
            self.num_events += self._filled
            self._filled = 0

    def _finish(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._flush()
            self._file[CHECKSUMS] = self._checksums.text()

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)


def write_csv(stream: Iterable[Events], path: Path) -> int:
    """A head, then one row per event; several values are columns <name>_0, <name>_1, ...; all read back exactly."""
    total, before = 0, None
    with completed(path) as part, part.open("w", encoding="utf-8") as file:
        for events in stream:
            names, values, formats = [], [], []
            for name, column in events.columns.items():
                wide = [column] if column.ndim == 1 else list(column.T)
                names += [name] if len(wide) == 1 else [f"{name}_{number}" for number in range(len(wide))]
                values += [single.tolist() for single in wide]
                number = "%d" if column.dtype.kind != "f" else "%.9g" if column.itemsize <= 4 else "%.17g"
                formats += [number] * len(wide)
            if before is None:
                file.write(",".join(names) + "\n")
            elif names != before:
                raise ValueError(f"columns {names} do not match those before, {before}")
            row = ",".join(formats) + "\n"
            file.writelines(row % numbers for numbers in zip(*values, strict=True))
            total, before = total + len(events), names
    return total
