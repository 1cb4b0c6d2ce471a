"""From a trained network to one ONNX file that takes raw readings, gives physical units, and has checked itself."""

from __future__ import annotations

from xecgnn.lazy import lazy_names

_PUBLIC = {
    "ExportConfig": "config",
    "OnnxPredictor": "runtime",
    "RawModel": "raw_model",
    "VerifyConfig": "config",
    "export_checkpoint": "convert",
    "verify_file": "convert",
}

__all__ = [*_PUBLIC]
__getattr__, __dir__ = lazy_names(__name__, _PUBLIC)
