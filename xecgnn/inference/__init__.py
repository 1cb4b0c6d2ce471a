"""Apply a trained network to files of any size."""

from __future__ import annotations

from xecgnn.inference.fill import FillConfig, fill_file
from xecgnn.inference.predict import InferConfig, predict_files
from xecgnn.inference.predictor import CheckpointPredictor, Predictor, load_predictor

__all__ = [
    "CheckpointPredictor",
    "FillConfig",
    "InferConfig",
    "Predictor",
    "fill_file",
    "load_predictor",
    "predict_files",
]
