"""A network of one's own: two layers that see all sensors at once.

    xecgnn-train angle.yaml --plugins examples/network.py --model.network two_layers
"""

from __future__ import annotations

from torch import Tensor, nn

from xecgnn.data.batch import Readings
from xecgnn.detector import Detector
from xecgnn.models.config import ModelConfig
from xecgnn.models.network import NETWORKS, Network
from xecgnn.nn.config import NormalizationConfig
from xecgnn.nn.normalizer import Normalizer


@NETWORKS.register("two_layers")
class TwoLayers(Network):
    """Linear -> GELU -> one linear head per task."""

    def __init__(
        self, detector: Detector, model: ModelConfig, normalization: NormalizationConfig, tasks: nn.ModuleDict
    ) -> None:
        super().__init__(detector, model, normalization, tasks)
        self.normalizer = Normalizer(normalization)
        self.body = nn.Sequential(nn.Linear(2 * detector.num_sensors, model.hidden_dim), nn.GELU())
        self.heads = nn.ModuleDict({name: nn.Linear(model.hidden_dim, self.task(name).num_outputs) for name in tasks})

    def raw_outputs(self, batch: Readings) -> dict[str, Tensor]:
        x = self.normalizer(batch.x, *self.normalizer.validity(batch.x))  # [B, S, 2]
        hidden = self.body(x.flatten(1))
        return {name: head(hidden) for name, head in self.heads.items()}
