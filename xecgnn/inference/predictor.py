"""One interface to a trained network, whichever file it comes from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

if TYPE_CHECKING:
    from xecgnn.models.xec import XECModel

__all__ = ["CheckpointPredictor", "ModelPredictor", "Predictor", "load_predictor"]

Array = NDArray[np.float32]

ZIP = b"PK"  # a checkpoint is a ZIP archive; an ONNX file never begins so


class Predictor(Protocol):
    """Raw readings of B events in, physical quantities out.

    Attributes:
        output_names: keys of what `predict` returns, as those of `model(batch)`: tasks, `<task>_sigma` where predicted.
        metadata: what the file says about the network, see `xecgnn.export.metadata`.
        provider: what runs it, and where.
        on_gpu: whether that is a GPU.
        num_sensors: S.
    """

    output_names: tuple[str, ...]
    metadata: dict[str, str]
    provider: str
    on_gpu: bool
    num_sensors: int

    def predict(self, npho: Array, relative_time: Array) -> dict[str, Array]:
        """Readings (B, S), times in s -> name: (B, width) in rad, GeV, s, cm."""


class ModelPredictor(Predictor):
    """A network in memory, run by PyTorch on the device where it is; it is put into the state of evaluation."""

    def __init__(self, model: XECModel) -> None:
        from xecgnn.export.raw_model import RawModel

        self.raw = RawModel(model).eval()
        self.device = next(model.parameters()).device
        self.output_names = self.raw.output_names
        self.metadata = {}
        self.provider = f"PyTorch on {self.device}"
        self.on_gpu = self.device.type == "cuda"
        self.num_sensors = self.raw.detector.num_sensors

    def predict(self, npho: Array, relative_time: Array) -> dict[str, Array]:
        inputs = (torch.tensor(values, device=self.device) for values in (npho, relative_time))
        with torch.inference_mode():
            outputs = [values.float().cpu().numpy() for values in self.raw(*inputs)]
        return dict(zip(self.output_names, outputs, strict=True))


class CheckpointPredictor(ModelPredictor):
    """The network of a checkpoint of `xecgnn-train`, on the GPU where there is one."""

    def __init__(self, path: str | Path) -> None:
        from xecgnn.export.metadata import describe
        from xecgnn.training.checkpoint import KEY, load_model, read_checkpoint

        model = load_model(path).to("cuda" if torch.cuda.is_available() else "cpu")
        super().__init__(model)
        self.metadata = describe(self.raw, model, read_checkpoint(path)[KEY])


def load_predictor(path: str | Path, one_thread: bool = False) -> Predictor:
    """The network in a file: a checkpoint, else ONNX.

    Args:
        path: the file.
        one_thread: let onnxruntime use the calling thread only, for several calls at the same time.

    Raises:
        FileNotFoundError: no such file.
        ValueError: neither a checkpoint of `xecgnn-train` nor a model of `xecgnn-export`.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"model {str(path)!r} not found")
    with path.open("rb") as file:
        is_checkpoint = file.read(len(ZIP)) == ZIP
    if is_checkpoint:
        return CheckpointPredictor(path)
    from xecgnn.export.runtime import OnnxPredictor

    return OnnxPredictor(path, one_thread)
