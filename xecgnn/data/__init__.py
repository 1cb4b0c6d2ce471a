"""From ROOT files to batches of graphs."""

from __future__ import annotations

from xecgnn.data.config import DataConfig, ReaderConfig
from xecgnn.data.events import EventArrays
from xecgnn.data.files import find_files, read_events
from xecgnn.data.graph import build_batch
from xecgnn.data.loader import EventLoader
from xecgnn.data.reader import BadFileError
from xecgnn.data.writer import TreeWriter

__all__ = [
    "BadFileError",
    "DataConfig",
    "EventArrays",
    "EventLoader",
    "ReaderConfig",
    "TreeWriter",
    "build_batch",
    "find_files",
    "read_events",
]
