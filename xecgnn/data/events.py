"""The columns of a few events, as read from a tree: what the simulation writes and the reader returns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TypeAlias, overload

import numpy as np
import numpy.typing as npt

from xecgnn.names import BRANCHES, IDENTIFIERS, SENSOR, UNKNOWN_CLASS, is_valid

__all__ = ["EventArrays", "known_truth"]

Rows: TypeAlias = "slice | npt.NDArray[np.integer] | npt.NDArray[np.bool_] | list[int]"


class EventArrays:
    """Immutable columns of E events, one per name of :data:`xecgnn.names.BRANCHES`.

    Scalars are (E,), vectors (E, width), readings (E, num_sensors); units are those of ``BRANCHES``, angles always rad.
    ``events["emiAng"]`` and ``events.emiAng`` are one column; ``events[10:20]``, a list, an index array or a mask
    selects events (a slice shares memory); ``len(events)`` counts events, ``events.fields`` names the columns.

    Args:
        columns: Name -> array. Converted to the type of the branch (float32 or int32) where it differs, else shared.
            Unknown truth becomes what ``known_truth`` says.

    Raises:
        KeyError: A name that is not in ``BRANCHES``.
        ValueError: No columns, or columns of different length or width.
    """

    __slots__ = ("_columns",)
    _columns: Mapping[str, np.ndarray]

    def __init__(self, columns: Mapping[str, npt.ArrayLike]) -> None:
        if not columns:
            raise ValueError("EventArrays needs at least one column, found none")
        checked = {name: _column(name, values) for name, values in columns.items()}
        lengths = {name: len(values) for name, values in checked.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"columns of different length: {lengths}")
        object.__setattr__(self, "_columns", MappingProxyType(checked))

    @classmethod
    def concatenate(cls, parts: Iterable[EventArrays]) -> EventArrays:
        """Join the events of parts that have the same fields, in the order given."""
        parts = list(parts)
        if not parts:
            raise ValueError("nothing to concatenate: the list of EventArrays is empty")
        for part in parts[1:]:
            if set(part.fields) != set(parts[0].fields):
                raise ValueError(f"parts differ in fields: {sorted(parts[0].fields)} and {sorted(part.fields)}")
        if len(parts) == 1:
            return parts[0]
        return cls({name: np.concatenate([part._columns[name] for part in parts]) for name in parts[0].fields})

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
    def __getitem__(self, key: Rows) -> EventArrays: ...
    def __getitem__(self, key: str | Rows) -> np.ndarray | EventArrays:
        if isinstance(key, str):
            if key not in self._columns:
                raise KeyError(f"no column {key!r}; columns: {', '.join(self.fields)}")
            return self._columns[key]
        if isinstance(key, int | np.integer):
            raise TypeError(f"events are selected by a slice or an array, found {key}: use [{key}:{key + 1}]")
        rows = key if isinstance(key, slice) else np.asarray(key, dtype=None if len(key) else np.int64)
        return EventArrays({name: values[rows] for name, values in self._columns.items()})

    def __getattr__(self, name: str) -> np.ndarray:
        if name.startswith("_") or name not in self._columns:
            raise AttributeError(f"EventArrays has no column {name!r}")
        return self._columns[name]

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"EventArrays is immutable: cannot set {name!r}")

    def __len__(self) -> int:
        return len(next(iter(self._columns.values())))

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __eq__(self, other: object) -> bool:
        """Same fields with the same values (NaN equals NaN)."""
        if not isinstance(other, EventArrays) or set(other.fields) != set(self.fields):
            return False
        return all(np.array_equal(values, other[name], equal_nan=True) for name, values in self._columns.items())

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[type[EventArrays], tuple[dict[str, np.ndarray]]]:
        return EventArrays, (dict(self._columns),)

    def __repr__(self) -> str:
        return f"EventArrays({len(self)} events: {', '.join(self.fields)})"


def known_truth(name: str, values: np.ndarray) -> np.ndarray:
    """A column of a truth branch with one way of saying "unknown": NaN, or UNKNOWN_CLASS where it holds whole numbers.

    Truth enters through here, from files and from arrays: the invalid value of a writer must not be trained on. Other
    columns, and one without unknown values, are returned as they are.
    """
    branch = BRANCHES.get(name)
    if branch is None or branch.width == SENSOR or name in IDENTIFIERS:
        return values
    if np.issubdtype(branch.dtype, np.integer):  # stored as any type of number
        known = (values >= 0) & (values <= np.iinfo(branch.dtype).max)
        return values if known.all() else np.where(known, values, np.int64(UNKNOWN_CLASS))
    known = is_valid(values)
    return values if known.all() else np.where(known, values, np.float32(np.nan))


def _column(name: str, values: npt.ArrayLike) -> np.ndarray:
    """A read-only view of one column in the type of its branch."""
    if name not in BRANCHES:
        raise KeyError(f"unknown column {name!r}; columns: {', '.join(BRANCHES)}")
    branch = BRANCHES[name]
    column = np.asarray(known_truth(name, np.asarray(values)), dtype=branch.dtype).view()
    scalar = branch.width == 1
    if column.ndim != (1 if scalar else 2) or (branch.width > 1 and column.shape[1] != branch.width):
        wanted = "(E,)" if scalar else f"(E, {branch.width if branch.width > 1 else 'sensors'})"
        raise ValueError(f"column {name!r} has shape {column.shape}, expected {wanted}")
    column.flags.writeable = False
    return column
