"""Lists of dead sensors in text files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from xecgnn.arrays import Ints

__all__ = ["read_dead_channels"]


def read_dead_channels(path: str | Path, num_sensors: int) -> Ints:
    """Sensor ids of a text file: one per line (or several, by white space or commas), `#` starts a comment.

    Args:
        path: The file.
        num_sensors: Number of sensors of the detector.

    Returns:
        The ids, ascending, each once.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Something that is not an id in 0 to num_sensors - 1; names file, line and value.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file of dead channels {str(path)!r}")
    ids: set[int] = set()
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        for word in line.split("#")[0].replace(",", " ").split():
            if not (word.isascii() and word.isdigit() and int(word) < num_sensors):
                raise ValueError(f"{path}, line {number}: {word!r} is not a sensor id, 0 to {num_sensors - 1}")
            ids.add(int(word))
    return np.array(sorted(ids), dtype=np.int64)
