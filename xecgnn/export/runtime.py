"""A model file in onnxruntime."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from xecgnn.export.raw_model import READINGS
from xecgnn.export.seal import SEAL, is_sealed
from xecgnn.names import FEATURES
from xecgnn.nn.config import NormalizationConfig
from xecgnn.nn.normalizer import Normalizer

__all__ = ["OnnxPredictor", "require"]

log = logging.getLogger(__name__)

Array = NDArray[np.float32]


class OnnxPredictor:
    """A file of `xecgnn-export`, on the GPU where onnxruntime has one, else on as many threads as PyTorch uses, or one.

    Attributes:
        output_names: keys of what `predict` returns.
        metadata: the texts of the file, see `xecgnn.export.metadata`.
        provider: what runs it, for example "onnxruntime CPUExecutionProvider".
        on_gpu: whether that is a GPU.
        num_sensors: S.

    Raises:
        FileNotFoundError: no such file.
        ValueError: onnxruntime is not installed, or the file is not one of `xecgnn-export`, or not what was written.
    """

    def __init__(self, path: str | Path, one_thread: bool = False) -> None:
        self._session = open_session(path, threads=1 if one_thread else None)
        self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
        missing = [key for key in ("detector_hash", "output_units", "normalization") if key not in self.metadata]
        if missing:
            raise ValueError(f"{path}: not a file of xecgnn-export, it has no {missing[0]!r} in its metadata")
        self.output_names = tuple(output.name for output in self._session.get_outputs())
        provider = self._session.get_providers()[0]
        self.provider = f"onnxruntime {provider}"
        self.on_gpu = provider == "CUDAExecutionProvider"
        inputs = self._session.get_inputs()
        self.num_sensors = int(inputs[0].shape[1])
        self._normalizer = None
        if [value.name for value in inputs] == [READINGS]:
            self._normalizer = Normalizer(NormalizationConfig.model_validate_json(self.metadata["normalization"]))

    def predict(self, npho: Array, relative_time: Array) -> dict[str, Array]:
        """Raw readings (B, S), times in s -> name: (B, width) in rad, GeV, s, cm.

        Raises:
            ValueError: another number of sensors.
        """
        for name, values in zip(FEATURES, (npho, relative_time), strict=True):
            if values.ndim != 2 or values.shape[1] != self.num_sensors:
                raise ValueError(f"{name} has shape {values.shape}, the model takes (B, {self.num_sensors})")
        inputs = dict(zip(FEATURES, (_floats(npho), _floats(relative_time)), strict=True))
        if self._normalizer is not None:
            x = torch.from_numpy(np.stack(list(inputs.values()), -1))
            inputs = {READINGS: self._normalizer(x, *self._normalizer.validity(x)).numpy()}
        return dict(zip(self.output_names, self._session.run(None, inputs), strict=True))


def open_session(path: str | Path, profile: bool = False, threads: int | None = None) -> Any:
    """An `onnxruntime.InferenceSession`; with `profile` it writes the time of each operator beside the file."""
    require("onnxruntime")
    import onnxruntime

    if not Path(path).is_file():
        raise FileNotFoundError(f"model {str(path)!r} not found")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    options.log_severity_level = 4  # errors are raised, hints on how a graph could be are not for the user
    sealed = is_sealed(Path(path))  # before onnxruntime, which can take forever over a damaged file
    if profile:
        options.enable_profiling, options.profile_file_prefix = True, str(path)
    # TensorFloat-32 has three digits: not enough to agree with the CPU.
    providers = {"CUDAExecutionProvider": {"use_tf32": 0}, "CPUExecutionProvider": {}}
    available = onnxruntime.get_available_providers()
    try:
        session = onnxruntime.InferenceSession(str(path), options, [p for p in providers.items() if p[0] in available])
        texts = session.get_modelmeta().custom_metadata_map
    except Exception as error:  # a class of its own for each kind of broken file
        raise ValueError(f"{path}: not a readable ONNX file ({type(error).__name__})") from None
    if not sealed and SEAL in texts:
        raise ValueError(f"{path}: changed since it was written; who means that removes {SEAL!r} from its metadata")
    if not sealed:
        log.warning("%s: has no hash of its content at its end: damage would not show", path)
    return session


def require(*packages: str) -> None:
    """Raise a ValueError that names the extra where a package is not installed."""
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise ValueError(f"{missing[0]} is not installed: pip install 'xecgnn[cpu]', or 'xecgnn[gpu]' for CUDA")


def _floats(values: Array) -> Array:
    return np.ascontiguousarray(values, dtype=np.float32)
