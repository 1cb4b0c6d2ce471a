"""Training: one Lightning trainer for every objective."""

from __future__ import annotations

from importlib import import_module
from typing import Any

# Resolved on first use: the settings classes are needed by every command, Lightning only by those that train.
_PUBLIC = {
    "CheckpointConfig": "config",
    "LoggingConfig": "config",
    "TrainingConfig": "config",
    "load_model": "checkpoint",
}

__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; public names: {', '.join(__all__)}")
    return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
