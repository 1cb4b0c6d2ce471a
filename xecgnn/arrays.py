"""Arrays by what they hold; how many dimensions of what, and in which unit, stands where one is used."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bools", "Floats", "Ints", "Rows", "Singles"]

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Rows = NDArray[np.intp]  # places in an array
Floats = NDArray[np.float64]
Singles = NDArray[np.float32]  # readings, and what is computed for each sensor
