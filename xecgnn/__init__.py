"""Graph learning for the MEG II liquid-xenon calorimeter."""

from __future__ import annotations

from xecgnn.lazy import lazy_names

__version__ = "0.1.0"

_PUBLIC = {
    "Detector": "detector",
    "load_detector": "detector",
    "Events": "data",
    "Readings": "data",
    "build_batch": "models",
    "simulate_events": "simulation",
    "load_config": "config",
    "build_model": "training.kinds",
    "load_model": "training",
    "load_predictor": "inference",
    "predict": "inference",
}

__all__ = ["__version__", *_PUBLIC]
__getattr__, __dir__ = lazy_names(__name__, _PUBLIC)
