"""From ROOT files to batches of graphs."""

from __future__ import annotations

from xecgnn.lazy import lazy_names

_PUBLIC = {
    "BadFileError": "errors",
    "DataConfig": "config",
    "Events": "events",
    "EventLoader": "loader",
    "ReaderConfig": "config",
    "Readings": "batch",
    "TreeWriter": "writer",
    "find_files": "files",
    "write": "writer",
}

__all__ = [*_PUBLIC]
__getattr__, __dir__ = lazy_names(__name__, _PUBLIC)
