"""Graph learning for the MEG II liquid-xenon calorimeter."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Public name -> module that holds it. Resolved on first use, so that `import xecgnn` costs nothing.
_PUBLIC = {
    "Detector": "xecgnn.detector",
    "load_detector": "xecgnn.detector",
    "EventArrays": "xecgnn.data",
    "read_events": "xecgnn.data",
    "build_batch": "xecgnn.data",
    "simulate_events": "xecgnn.simulation",
    "load_config": "xecgnn.config",
    "build_model": "xecgnn.config",
    "load_model": "xecgnn.training",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'xecgnn' has no attribute {name!r}; public names: {', '.join(__all__)}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
