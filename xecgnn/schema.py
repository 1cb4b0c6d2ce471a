"""What the columns of a table of events mean: kind, type, width, unit. Open: a column that nobody declared has a place.

A prediction of a column is called `pred_<column>`, its standard deviation `sigma_<column>`: they follow from what the
column itself is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple, get_args

__all__ = ["ANY", "KINDS", "SENSOR", "Column", "Kind", "Schema", "prediction_of", "sigma_of"]

Kind = Literal["reading", "truth", "prediction", "sigma", "mask", "reference", "identifier", "other"]
KINDS: tuple[Kind, ...] = get_args(Kind)

SENSOR = -1  # as a width: one value per sensor
ANY = 0  # as a width: what comes

PREDICTION, SIGMA = "pred_", "sigma_"


class Column(NamedTuple):
    """One column: values of E events.

    Attributes:
        name: also that of the branch in a file.
        kind: reading (of sensors), truth, prediction, sigma (its standard deviation), mask (bool), reference (the
            result of another reconstruction), identifier (whole numbers that name the event), other.
        dtype: as NumPy writes it; "" keeps what comes.
        width: values per event: 1 is (E,), n is (E, n), SENSOR (E, sensors), ANY either.
        unit: "" where there is none, or it is not known.
        meaning: a few words.
    """

    name: str
    kind: Kind = "other"
    dtype: str = ""
    width: int = ANY
    unit: str = ""
    meaning: str = ""


class Schema:
    """Columns by name. Tables and readers carry the one that they were made with, also into pickles and processes.

    ``schema[name]`` is the declared column, one that follows from a declared one, or else a column of kind "other".
    ``name in schema`` leaves out the last. Iteration gives the declared columns.
    """

    def __init__(self, *columns: Column) -> None:
        self._columns: dict[str, Column] = {}
        self.declare(*columns)

    def declare(self, *columns: Column) -> None:
        """Add columns: `SCHEMA.declare(Column("dose", unit="Gy"))`.

        Raises:
            ValueError: A name is taken by another column, or an unknown kind.
        """
        for column in columns:
            if column.kind not in KINDS:
                raise ValueError(f"column {column.name!r} has kind {column.kind!r}; kinds: {', '.join(KINDS)}")
            if column.name in KINDS or (column.name in self and self[column.name] != column):
                raise ValueError(f"the name {column.name!r} is taken; columns: {', '.join((*self.names(), *KINDS))}")
            self._columns[column.name] = column

    def names(self, *kinds: Kind) -> tuple[str, ...]:
        """Names of the declared columns (of these kinds)."""
        return tuple(column.name for column in self if not kinds or column.kind in kinds)

    def __getitem__(self, name: str) -> Column:
        return self._columns.get(name) or self._derived(name) or Column(name)

    def __contains__(self, name: object) -> bool:
        return name in self._columns or (isinstance(name, str) and self._derived(name) is not None)

    def __iter__(self) -> Iterator[Column]:
        return iter(self._columns.values())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schema) and other._columns == self._columns

    __hash__ = None  # type: ignore[assignment]

    def _derived(self, name: str) -> Column | None:
        """The prediction of a reading or truth, or its sigma."""
        source = self._columns.get(name.removeprefix(PREDICTION))
        if source and source.name != name and source.kind in ("reading", "truth"):
            return source._replace(name=name, kind="prediction", meaning=f"predicted: {source.meaning}")
        source = self._columns.get(name.removeprefix(SIGMA))
        if source and source.name != name and source.kind in ("reading", "truth"):
            meaning = f"standard deviation of the predicted: {source.meaning}"
            return source._replace(name=name, kind="sigma", dtype="float32", meaning=meaning)
        return None


def prediction_of(column: str) -> str:
    """Name of the column with predictions of another one."""
    return PREDICTION + column


def sigma_of(column: str) -> str:
    """Name of the column with the standard deviations of these predictions."""
    return SIGMA + column
