"""What a training looked like: numbers of each epoch, eleven pictures of them, and a report."""

from __future__ import annotations

from importlib import import_module
from typing import Any

# Resolved on first use: the pictures need matplotlib and the callback Lightning, the tracker neither.
_PUBLIC = {
    "EpochMetrics": "tracker",
    "METRICS": "tracker",
    "MetricsCallback": "callback",
    "MetricsTracker": "tracker",
    "compute_grad_norm": "tracker",
    "generate_all_plots": "report",
    "generate_report": "report",
}

__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; public names: {', '.join(__all__)}")
    return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
