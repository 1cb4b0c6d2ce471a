"""Arrays in the form that a schema gives to their column."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from xecgnn.names import UNKNOWN_CLASS, is_valid
from xecgnn.schema import ANY, SENSOR, Column

__all__ = ["as_column", "cast", "known_truth"]


def as_column(column: Column, values: ArrayLike) -> np.ndarray:
    """A read-only view of (E,) or (E, width) values, or a copy in the type of the column where theirs is another one.

    Raises:
        ValueError: They are no numbers, or have another shape.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"column {column.name!r} holds {array.dtype}, expected numbers")
    array = cast(column.name, known_truth(column, array), column.dtype or array.dtype.newbyteorder("=")).view()
    if column.width == ANY and array.shape[1:] == (1,):
        array = array.reshape(-1)
    wide = array.ndim == 2 and array.shape[1] > 0
    fits = {ANY: wide or array.ndim == 1, SENSOR: wide, 1: array.ndim == 1}
    if not fits.get(column.width, wide and array.shape[1] == column.width):
        forms = {ANY: "(E,) or (E, width)", SENSOR: "(E, sensors)", 1: "(E,)"}
        wanted = forms.get(column.width, f"(E, {column.width})")
        raise ValueError(f"column {column.name!r} has shape {array.shape}, expected {wanted}")
    array.flags.writeable = False
    return array


def cast(name: str, values: np.ndarray, dtype: DTypeLike) -> np.ndarray:
    """Values of a column in another type, or uncopied in theirs. Whole numbers neither wrap nor lose a fraction.

    What is beyond the range of a floating-point type becomes infinite, which is invalid wherever it is met.

    Raises:
        ValueError: The type does not hold one of the values.
    """
    wanted = np.dtype(dtype)
    if wanted.kind in "iu" and not np.can_cast(values.dtype, wanted):
        low, high = np.iinfo(wanted).min, np.iinfo(wanted).max
        fits = (values >= low) & (values < high + 1)  # of what kind ever: high itself is no float
        fits &= True if values.dtype.kind in "biu" else np.floor(values) == values
        if not fits.all():
            raise ValueError(f"column {name!r} holds {values[~fits][0]}, expected whole numbers of {low} to {high}")
    with np.errstate(over="ignore"):
        return values.astype(wanted, copy=False)


def known_truth(column: Column, values: np.ndarray) -> np.ndarray:
    """Values of a truth column with one way of saying "unknown": NaN, or UNKNOWN_CLASS where it holds whole numbers.

    Truth enters through here, from files and from arrays: the invalid value of a writer must not be trained on. Other
    columns, and one without unknown values, are returned as they are.
    """
    if column.kind != "truth":
        return values
    dtype = np.dtype(column.dtype or values.dtype)
    if dtype.kind in "iu":  # stored as any type of number
        known = (values >= 0) & (values <= np.iinfo(dtype).max)
        return values if known.all() else np.where(known, values, np.int64(UNKNOWN_CLASS))
    known = is_valid(values)
    return values if known.all() else np.where(known, values, np.float32(np.nan))
