"""What made a run: an entry for each time that a command worked on it, in metrics/provenance.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xecgnn.data.reader import FileScan
from xecgnn.detector import Detector
from xecgnn.output import write_text
from xecgnn.provenance import made_by, source
from xecgnn.training.metrics.history import METRICS

__all__ = ["add_start", "read_starts"]

FILE = f"{METRICS}/provenance.json"


def add_start(folder: Path, detector: Detector, files: Mapping[str, Sequence[FileScan]]) -> None:
    """Say that this process works on the run in a folder, with these files of each sample."""
    data = [{"sample": name, **source(scan.path, scan.num_entries)} for name, scans in files.items() for scan in scans]
    start = made_by() | {"detector": f"{detector.name}, {detector.hash}", "data": data}
    write_text(folder / FILE, json.dumps([*read_starts(folder), start], indent=1) + "\n")


def read_starts(folder: Path) -> list[dict[str, Any]]:
    """The entries, oldest first; none where nothing was written."""
    path = folder / FILE
    try:
        return list(json.loads(path.read_text())) if path.is_file() else []
    except ValueError:
        raise ValueError(f"{path}: not a list of what made the run") from None
