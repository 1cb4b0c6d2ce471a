"""Checksums of the columns of a file, which lie beside its tree: baskets have none unless they are LZ4 or ZLIB."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["CHECKSUMS", "Checksums"]

CHECKSUMS = "xecgnn_checksums"  # name of the string (TObjString) in the file


class Checksums:
    """CRC-32 of the values of columns, in little-endian order, as portions of them pass by."""

    def __init__(self) -> None:
        self.events: dict[str, int] = {}
        self.sums: dict[str, int] = {}

    def add(self, columns: Mapping[str, np.ndarray]) -> None:
        """The next events of these columns, as they are stored."""
        for name, values in columns.items():
            stored = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
            self.sums[name] = zlib.crc32(stored.reshape(-1).view(np.uint8).data, self.sums.get(name, 0))
            self.events[name] = self.events.get(name, 0) + len(values)

    def text(self) -> str:
        """What is written."""
        return json.dumps({name: [self.events[name], value] for name, value in self.sums.items()})

    def differing(self, written: Any) -> list[str]:
        """Columns whose values are not those that were written.

        Columns that were added, or have another number of events since (as of `hadd`), are not compared.

        Args:
            written: `text`, as it was found in a file.
        """
        try:
            known = {name: (int(events), int(value)) for name, (events, value) in json.loads(str(written)).items()}
        except (ValueError, TypeError, AttributeError):
            return [CHECKSUMS]
        found = ((name, self.events[name], value) for name, value in self.sums.items() if name in known)
        return [name for name, events, value in found if known[name][0] == events and known[name][1] != value]
