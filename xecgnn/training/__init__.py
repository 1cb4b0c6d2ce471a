"""Training: one Lightning trainer for every objective."""

from __future__ import annotations

from xecgnn.lazy import lazy_names

_PUBLIC = {
    "CheckpointConfig": "config",
    "LoggingConfig": "config",
    "TrainingConfig": "config",
    "load_model": "checkpoint",
}

__all__ = [*_PUBLIC]
__getattr__, __dir__ = lazy_names(__name__, _PUBLIC)
