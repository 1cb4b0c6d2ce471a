"""The table of events: what files, simulation, networks and pictures hand to each other."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xecgnn.arrays import Bools, Rows
from xecgnn.data.columns import as_column
from xecgnn.data.config import ReaderConfig
from xecgnn.data.errors import BadFileError
from xecgnn.data.files import Paths, read_columns
from xecgnn.data.match import event_pairs, match_pairs, repeated_pairs
from xecgnn.names import SCHEMA
from xecgnn.schema import KINDS, Schema

__all__ = ["Events"]

Selection: TypeAlias = "slice | NDArray[np.integer] | Bools | list[int]"

CHUNK_EVENTS = 500  # read at once: 19 MB of a MEG II file


class Events:
    """Immutable columns of E events. What a column means, and with it type and shape, is in ``schema``.

    Scalars are (E,), vectors (E, width), readings (E, num_sensors); units are those of the schema, angles always rad.
    ``events["emiAng"]`` and ``events.emiAng`` are one column; ``events[10:20]``, a list, an index array or a mask
    selects events (a slice shares memory); ``len(events)`` counts events, ``events.fields`` names the columns.

    Args:
        columns: Name -> array. Converted to the type that the schema has for it, else shared. A column that nobody
            declared is of kind "other" and keeps its type. Unknown truth becomes NaN, or -1 where it is a whole number.
        schema: What the columns are; that of the package, or one with further columns: ``SCHEMA.declare(...)``.

    Raises:
        ValueError: No columns, columns of different length, or one of a shape that is not that of the schema.
    """

    __slots__ = ("_columns", "schema")
    _columns: Mapping[str, np.ndarray]
    schema: Schema

    def __init__(self, columns: Mapping[str, ArrayLike], schema: Schema = SCHEMA) -> None:
        if not columns:
            raise ValueError("Events need at least one column, found none")
        checked = {name: as_column(schema[name], values) for name, values in columns.items()}
        lengths = {name: len(values) for name, values in checked.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"columns of different length: {lengths}")
        object.__setattr__(self, "_columns", MappingProxyType(checked))
        object.__setattr__(self, "schema", schema)

    @classmethod
    def concatenate(cls, parts: Iterable[Events]) -> Events:
        """Join the events of parts that have the same fields, in the order given."""
        parts = list(parts)
        if not parts:
            raise ValueError("nothing to concatenate: the list of Events is empty")
        first = parts[0]
        for part in parts[1:]:
            if set(part.fields) != set(first.fields):
                raise ValueError(f"parts differ in fields: {sorted(first.fields)} and {sorted(part.fields)}")
        if len(parts) == 1:
            return first
        return cls({name: np.concatenate([part[name] for part in parts]) for name in first.fields}, first.schema)

    @classmethod
    def read(
        cls,
        paths: Paths,
        columns: Sequence[str] | None = None,
        start: int = 0,
        stop: int | None = None,
        *,
        num_sensors: int | None = None,
        config: ReaderConfig | None = None,
        schema: Schema = SCHEMA,
        **options: Any,
    ) -> Events:
        """Whole (small) files in memory. Arguments and errors are those of ``stream``."""
        blocks = read_columns(paths, columns, sys.maxsize, start, stop, num_sensors, config, schema, **options)
        parts = [cls(block, schema) for block in blocks]
        if not parts:
            raise BadFileError(f"no event can be read: {paths}")
        return cls.concatenate(parts)

    @classmethod
    def stream(
        cls,
        source: Paths,
        columns: Sequence[str] | None = None,
        where: Callable[[Events], Bools] | None = None,
        chunk: int = CHUNK_EVENTS,
        *,
        start: int = 0,
        stop: int | None = None,
        num_sensors: int | None = None,
        config: ReaderConfig | None = None,
        schema: Schema = SCHEMA,
        **options: Any,
    ) -> Iterator[Events]:
        """Events of files of any size, in file order, a few at a time.

        Args:
            source: Files, globs, directories, or a list of these.
            columns: Names; a kind of the schema stands for all columns of that kind that all files have. None reads
                npho, relative_time and every truth and identification that all files have.
            where: Which events to keep: gets some, returns a mask (E,).
            chunk: Largest number of events at a time.
            start: First entry, counted over all files before any cut.
            stop: Entry after the last one; None = all.
            num_sensors: Number of sensors that the files must have; None accepts any.
            config: Reader settings.
            schema: What the columns are; with an empty one, ``Schema()``, each branch comes as it is stored.
            **options: Single reader settings, e.g. ``npho_branch="relative_npho"`` or ``angle_unit="deg"``.

        Raises:
            FileNotFoundError, BadFileError, ValueError: As :func:`xecgnn.data.files.scan_files`; entries that are not
                there.
        """
        found = read_columns(source, columns, chunk, start, stop, num_sensors, config, schema, **options)
        return cls._chunks(found, schema, where, chunk)

    @classmethod
    def _chunks(
        cls,
        blocks: Iterable[Mapping[str, np.ndarray]],
        schema: Schema,
        where: Callable[[Events], Bools] | None,
        chunk: int,
    ) -> Iterator[Events]:
        for columns in blocks:
            events = cls(columns, schema)
            events = events if where is None else events[where(events)]
            for first in range(0, len(events), chunk):
                yield events[first : first + chunk]

    def select(self, *columns: str) -> Events:
        """Only these columns: names, or kinds of the schema for all columns of that kind."""
        chosen = [name for entry in columns for name in self._named(entry)]
        if not chosen:
            raise ValueError(f"no column is {' or '.join(columns) or 'named'}; columns: {', '.join(self.fields)}")
        return self._with({name: self[name] for name in chosen})

    def with_columns(self, columns: Mapping[str, ArrayLike]) -> Events:
        """These events with further columns, or with other values in place of those that they have."""
        return Events({**self._columns, **columns}, self.schema)

    def match(self, other: Events) -> tuple[Rows, Rows]:
        """Rows of the events (run, event) that both have: ``self[rows]`` and ``other[other_rows]``, in this order.

        Raises:
            ValueError: No run and event, or an event is there twice.
        """
        return match_pairs(event_pairs(self._columns), event_pairs(other._columns))

    def repeated(self) -> Bools:
        """(E,) events whose (run, event) is that of an earlier one: ``events[~events.repeated()]`` can be matched."""
        return repeated_pairs(event_pairs(self._columns))

    @property
    def columns(self) -> Mapping[str, np.ndarray]:
        """Read-only mapping of all columns."""
        return self._columns

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self._columns)

    @overload
    def __getitem__(self, key: str) -> np.ndarray: ...
    @overload
    def __getitem__(self, key: Selection) -> Events: ...
    def __getitem__(self, key: str | Selection) -> np.ndarray | Events:
        if isinstance(key, str):
            if key not in self._columns:
                raise KeyError(f"no column {key!r}; columns: {', '.join(self.fields)}")
            return self._columns[key]
        if isinstance(key, int | np.integer):
            raise TypeError(f"events are selected by a slice or an array, found {key}: use [{key}:{key + 1}]")
        rows = key if isinstance(key, slice) else np.asarray(key, dtype=None if len(key) else np.int64)
        return self._with({name: values[rows] for name, values in self._columns.items()})

    def __getattr__(self, name: str) -> np.ndarray:
        if name.startswith("_") or name not in self._columns:
            raise AttributeError(f"Events have no column {name!r}")
        return self._columns[name]

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"Events are immutable: cannot set {name!r}")

    def __len__(self) -> int:
        return len(next(iter(self._columns.values())))

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __eq__(self, other: object) -> bool:
        """Same fields with the same values (NaN equals NaN)."""
        if not isinstance(other, Events) or set(other.fields) != set(self.fields):
            return False
        return all(np.array_equal(values, other[name], equal_nan=True) for name, values in self._columns.items())

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[type[Events], tuple[dict[str, np.ndarray], Schema]]:
        return Events, (dict(self._columns), self.schema)

    def __repr__(self) -> str:
        return f"Events({len(self)} events: {', '.join(self.fields)})"

    def _with(self, columns: Mapping[str, np.ndarray]) -> Events:
        """Some of these events: the columns need no second look."""
        events = object.__new__(Events)
        for values in columns.values():
            values.flags.writeable = False
        object.__setattr__(events, "_columns", MappingProxyType(dict(columns)))
        object.__setattr__(events, "schema", self.schema)
        return events

    def _named(self, entry: str) -> list[str]:
        return [name for name in self.fields if self.schema[name].kind == entry] if entry in KINDS else [entry]
