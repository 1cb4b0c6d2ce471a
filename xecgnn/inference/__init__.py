"""Apply a trained network to files of any size."""

from __future__ import annotations

from xecgnn.lazy import lazy_names

_PUBLIC = {
    "CheckpointPredictor": "predictor",
    "FillConfig": "config",
    "InferConfig": "config",
    "Judge": "predictor",
    "ModelPredictor": "predictor",
    "Predictor": "predictor",
    "fill_file": "fill",
    "load_predictor": "predictor",
    "predict": "predictions",
    "predict_files": "infer",
}

__all__ = [*_PUBLIC]
__getattr__, __dir__ = lazy_names(__name__, _PUBLIC)
