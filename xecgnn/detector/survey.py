"""Survey files: measured positions and normals of sensors, which replace the nominal ones."""

from __future__ import annotations

import csv
from os import PathLike
from pathlib import Path

import numpy as np

from xecgnn.arrays import Floats, Ints

__all__ = ["COLUMNS", "read_survey"]

COLUMNS = ("sensor_id", "x", "y", "z", "nx", "ny", "nz")

UNIT_TOLERANCE = 1e-2
"""A normal whose length is off by more is taken for a mistake; smaller rounding is normalised away."""


def read_survey(path: str | PathLike[str], num_sensors: int) -> tuple[Ints, Floats, Floats]:
    """Read a CSV with the header `sensor_id,x,y,z,nx,ny,nz` (cm; unit vectors into the xenon) for any of the sensors.

    Returns:
        ids (n,), positions (n, 3) cm, unit normals (n, 3).

    Raises:
        FileNotFoundError, ValueError: one line, with the file, the line number and the value found.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no survey file {str(path)!r}")
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        header = tuple(cell.strip() for cell in next(reader, []))
        if header != COLUMNS:
            raise ValueError(f"{path}:1: the header must be {','.join(COLUMNS)!r}, found {','.join(header)!r}")
        rows: dict[int, list[float]] = {}
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            try:
                sensor, values = _parse_row(cells, num_sensors)
                if sensor in rows:
                    raise ValueError(f"sensor id {sensor} appears twice")
            except ValueError as error:
                raise ValueError(f"{path}:{reader.line_num}: {error}") from None
            rows[sensor] = values
    if not rows:
        raise ValueError(f"{path}: no sensor in the survey")
    table = np.array(list(rows.values()))
    position, normal = table[:, :3], table[:, 3:]
    return np.array(list(rows), dtype=np.int64), position, normal / np.linalg.norm(normal, axis=1, keepdims=True)


def _parse_row(cells: list[str], num_sensors: int) -> tuple[int, list[float]]:
    if len(cells) != len(COLUMNS):
        raise ValueError(f"expected {len(COLUMNS)} values, found {len(cells)}")
    sensor, values = int(cells[0]), [float(cell) for cell in cells[1:]]
    if not 0 <= sensor < num_sensors:
        raise ValueError(f"sensor id must be 0 to {num_sensors - 1}, found {sensor}")
    if not np.all(np.isfinite(values)):
        raise ValueError(f"sensor {sensor} has a value that is not finite: {values}")
    length = float(np.linalg.norm(values[3:]))
    if abs(length - 1) > UNIT_TOLERANCE:
        raise ValueError(f"the normal of sensor {sensor} must have length 1, found {length:.4g}")
    return sensor, values
