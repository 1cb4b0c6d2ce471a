"""From a trained network to one ONNX file that takes raw readings, gives physical units, and has checked itself."""

from __future__ import annotations

from xecgnn.export.convert import ExportConfig, VerifyConfig, export_checkpoint, verify_file
from xecgnn.export.raw_model import RawModel
from xecgnn.export.runtime import OnnxPredictor

__all__ = [
    "ExportConfig",
    "OnnxPredictor",
    "RawModel",
    "VerifyConfig",
    "export_checkpoint",
    "verify_file",
]
