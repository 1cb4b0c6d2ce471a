"""What a model file says about itself, as the texts of ONNX's `metadata_props`:

| key | text |
|---|---|
| `xecgnn_version` | version of this package that wrote the file |
| `kind` | "regression", or "encoder" (tokens of the faces) |
| `input` | "raw" (`npho`, `relative_time`) or "normalized" (`readings`) |
| `tasks` | JSON list |
| `output_units` | JSON, output name -> unit ("" where it has none) |
| `normalization` | JSON, scheme and constants of `NormalizationConfig` |
| `detector`, `detector_hash`, `detector_yaml` | name, sha256 of faces, ids and edges, source text |
| `config` | JSON, all settings of the training; `data.npho_branch` is the branch that the network was trained on |
| `run_name`, `run_id` | folder of the training, and its MLflow run ("" without MLflow) |
| `model_hash` | sha256 of the network's weights |
| `inpainter_hash` | sha256 of the inpainter's weights; only where it fills dead sensors first |
| `onnxruntime` | oldest version of ONNX Runtime that reads the file |
| `sha256` | of the file without its last 76 bytes, which are this entry; compared on loading, see `export.seal` |
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from torch import nn

import xecgnn
from xecgnn.export.onnx_file import OLDEST_RUNTIME
from xecgnn.export.raw_model import RawModel
from xecgnn.names import FEATURES
from xecgnn.nn.config import NormalizationConfig
from xecgnn.nn.normalizer import Normalizer
from xecgnn.provenance import content_hash

__all__ = ["describe", "normalization_of", "weights_hash"]


def describe(raw: RawModel, model: nn.Module, run: Mapping[str, Any]) -> dict[str, str]:
    """The texts of a file.

    Args:
        raw: what is exported.
        model: the network in it, as its checkpoint has it.
        run: the entry of the checkpoint about its training, see `training.checkpoint.describe_run`.
    """
    metadata = {
        "xecgnn_version": xecgnn.__version__,
        "kind": "encoder" if raw.encoder_only else "regression",
        "input": "normalized" if raw.input_names != FEATURES else "raw",
        "tasks": json.dumps([task.name for task in raw.tasks]),
        "output_units": json.dumps(raw.units),
        "normalization": normalization_of(raw.normalizer).model_dump_json(),
        "detector": raw.detector.name,
        "detector_hash": raw.detector.hash,
        "detector_yaml": raw.detector.yaml,
        "config": json.dumps(run["config"]),
        "run_name": str(run["config"].get("run_name") or ""),
        "run_id": str(run.get("mlflow_run_id") or ""),
        "model_hash": weights_hash(model),
        "onnxruntime": OLDEST_RUNTIME,
    }
    if raw.inpainter is not None:
        metadata["inpainter_hash"] = weights_hash(raw.inpainter)
    return metadata


def weights_hash(module: nn.Module) -> str:
    """sha256 (hex) over names, shapes and values of all parameters and saved buffers, whatever their order."""
    return content_hash(sorted(module.state_dict().items()))


def normalization_of(normalizer: Normalizer) -> NormalizationConfig:
    """The constants as the network has them: those of the checkpoint, whatever its settings say."""
    constants = {name: float(values) for name, values in normalizer.named_buffers()}
    bound = constants.pop("bound")
    bounds = {"bound": bound} if math.isfinite(bound) else {}
    return NormalizationConfig(npho_scheme=normalizer.npho_scheme, **constants, **bounds)
