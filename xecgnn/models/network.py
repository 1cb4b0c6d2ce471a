"""What `xecgnn-train` trains: our network, or one of a plugin, by its name in `model.network`."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from torch import Tensor, nn

from xecgnn.data.batch import Readings
from xecgnn.detector import Detector
from xecgnn.models.backbone import Batch
from xecgnn.models.config import ModelConfig
from xecgnn.nn.config import NormalizationConfig
from xecgnn.nn.normalizer import Normalizer
from xecgnn.registry import Registry

if TYPE_CHECKING:
    from xecgnn.tasks.task import Task

__all__ = ["NETWORKS", "Network"]


class Network(nn.Module):
    """Raw readings in, physical quantities out. A subclass gives `raw_outputs` and has a `normalizer`.

    Args:
        detector: the detector whose events it reads; kept as `detector`.
        model: sizes, for the subclass.
        normalization: constants of the readings, for the subclass; they become part of the model.
        tasks: the enabled tasks by name, as from `build_tasks`.

    Attributes:
        backbone: what fine-tuning starts from and may freeze; None unless the subclass has one.
    """

    normalizer: Normalizer
    backbone: nn.Module | None

    def __init__(
        self, detector: Detector, model: ModelConfig, normalization: NormalizationConfig, tasks: nn.ModuleDict
    ) -> None:
        super().__init__()
        if not len(tasks):
            raise ValueError("the model has no task; enable at least one")
        self.detector = detector
        self.tasks = tasks
        self.backbone = None

    def task(self, name: str) -> Task:
        """The task behind one of the heads."""
        return cast("Task", self.tasks[name])

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Predictions in physical units (rad, GeV, s, cm): (B, width) per task, and `<task>_sigma` where predicted.

        Args:
            batch: raw readings, as the loader yields them; or, where the network takes them, graphs, whose edges count.
        """
        predictions: dict[str, Tensor] = {}
        for name, raw in self.raw_outputs(batch).items():
            predictions |= self.task(name).decode(raw)
        return predictions

    def fit_readings(self, readings: Readings) -> None:
        """Take constants from raw readings, and targets, of some training events."""
        self.normalizer.fit(readings.x)

    def raw_outputs(self, batch: Batch) -> dict[str, Tensor]:
        """Outputs of the heads, (B, num_outputs) per task, in the space where the losses act."""
        raise NotImplementedError


NETWORKS: Registry[type[Network]] = Registry("network", {"xecgnn": "xecgnn.models.xec"})
