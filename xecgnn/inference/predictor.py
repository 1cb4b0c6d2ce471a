"""One interface to a trained network, whichever file it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xecgnn.data.batch import Readings
from xecgnn.export.raw_model import RawModel
from xecgnn.models.network import Network
from xecgnn.names import LOSS
from xecgnn.tasks.task import Task

__all__ = ["CheckpointPredictor", "Judge", "ModelPredictor", "Predictor", "event_losses", "load_predictor"]

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

    def __init__(self, model: Network) -> None:
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


class Judge(ModelPredictor):
    """A network in memory that is told the truth as well, and says by how much each event misses it."""

    def judge(self, batch: Readings) -> dict[str, Array]:
        """What `predict` gives, and `loss` (B,), see `event_losses`, of readings with the targets of all tasks."""
        model, batch = self.raw.model, batch.to(self.device)
        tasks = {name: model.task(name) for name in model.tasks}
        with torch.inference_mode():
            raw = model.raw_outputs(batch)
            found = {LOSS: event_losses(tasks, raw, batch.y)}
            for name, task in tasks.items():
                found |= task.decode(raw[name])
        return {name: values.float().cpu().numpy() for name, values in found.items()}


class CheckpointPredictor(ModelPredictor):
    """The network of a checkpoint of `xecgnn-train`, on the GPU where there is one."""

    def __init__(self, path: str | Path) -> None:
        from xecgnn.export.metadata import describe
        from xecgnn.training.checkpoint import load_network

        model, run = load_network(path, kind="regression")
        super().__init__(model.to("cuda" if torch.cuda.is_available() else "cpu"))
        self.metadata = describe(self.raw, model, run)


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


def event_losses(tasks: Mapping[str, Task], raw: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
    """Loss of each event (B,): sum of weight x loss over the tasks whose target it has; NaN where it has none."""
    found = (task.loss(raw[name], targets[name], judged=True) for name, task in tasks.items())
    losses, valid = zip(*found, strict=True)
    total = sum(task.weight * loss for task, loss in zip(tasks.values(), losses, strict=True))
    return torch.where(torch.stack(valid).any(0), total, torch.nan)
