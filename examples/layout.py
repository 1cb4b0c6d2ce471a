"""A layout of one's own: a face whose sensors are read all at once, by two layers that know no neighbours.

    xecgnn-train angle.yaml --plugins examples/layout.py --model.layouts top=together bottom=together
"""

from __future__ import annotations

from torch import nn

from xecgnn.models.config import ModelConfig
from xecgnn.models.encoder import LAYOUTS, Inputs, Layout, Nodes
from xecgnn.models.encoder_graph import EncoderGraph


@LAYOUTS.register("together")
class Together(Layout):
    """Linear -> GELU -> Linear on the readings of all sensors of a face."""

    def __init__(self, nodes: list[str], spec: EncoderGraph, config: ModelConfig) -> None:
        super().__init__(nodes, spec, config)
        width, dim = config.hidden_dim, config.encoder_dim
        self.layers = nn.ModuleDict(
            {n: nn.Sequential(nn.Linear(2 * spec.nodes[n], width), nn.GELU(), nn.Linear(width, dim)) for n in nodes}
        )

    def forward(self, inputs: Inputs) -> Nodes:
        return {n: layers(inputs.nodes[n].view(-1, layers[0].in_features)) for n, layers in self.layers.items()}
