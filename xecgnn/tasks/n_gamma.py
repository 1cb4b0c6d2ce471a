"""How many photons are in the event."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from xecgnn.names import TARGETS
from xecgnn.schema import prediction_of
from xecgnn.tasks.config import NGammaConfig
from xecgnn.tasks.registry import TASKS
from xecgnn.tasks.task import Task, as_column

if TYPE_CHECKING:
    from torchmetrics import Metric, MetricCollection

__all__ = ["NGamma"]


@TASKS.register("n_gamma")
class NGamma(Task):
    """Number of photons, 0 to 4: a classification. Targets outside count as unknown.

    `decode` gives the probabilities (B, 5), the output column the likeliest class.
    """

    branch = TARGETS["n_gamma"]
    settings = NGammaConfig
    width = 1
    num_classes = 5
    baselines: ClassVar = {"most frequent": ("class_frequency",)}

    @property
    def num_outputs(self) -> int:
        return self.num_classes

    def valid(self, target: Tensor) -> Tensor:
        return ((target >= 0) & (target < self.num_classes)).all(-1)  # False for NaN

    def mirrored(self, target: Tensor, axis: str) -> Tensor:
        return target

    def losses(self, raw: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(raw, target.squeeze(-1).long(), reduction="none")

    def decode(self, raw: Tensor) -> dict[str, Tensor]:
        return {self.name: raw.float().softmax(-1)}

    def columns(self, outputs: dict[str, Tensor]) -> dict[str, NDArray[np.generic]]:
        return {prediction_of(self.branch): as_column(outputs[self.name].argmax(-1).int())}

    def metric_units(self) -> dict[str, str]:
        return {"n_gamma_accuracy": ""}

    def _metrics(self) -> dict[str, Metric | MetricCollection]:
        from xecgnn.tasks.metrics import Accuracy

        return {"accuracy": Accuracy("n_gamma_accuracy")}
