"""Masked autoencoder: the backbone with a light decoder that restores the readings of hidden sensors."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from xecgnn.detector import Detector
from xecgnn.models.backbone import Batch
from xecgnn.models.config import DecoderConfig, ModelConfig
from xecgnn.models.encoder import Nodes
from xecgnn.models.encoder_graph import EncoderGraph
from xecgnn.models.masked import ReconstructionNetwork
from xecgnn.models.readout import SensorReadout, TokenContext
from xecgnn.names import HEX, WINDOW
from xecgnn.nn.block import Block
from xecgnn.nn.config import NormalizationConfig
from xecgnn.nn.face_encoder import WINDOW_KERNEL, Edges, FaceEncoder
from xecgnn.nn.hex_conv import HexConv
from xecgnn.nn.lattice_conv import LatticeConv

__all__ = ["Decoder", "MaskedAutoencoder"]

PATCH = 4  # a node of the decoder's lattices stands for PATCH x PATCH nodes


def add_patches(spec: EncoderGraph) -> EncoderGraph:
    """Adds the lattices of patches, `inner_patch` and so on, with their neighbourhoods; gives the graph back."""
    for node, (height, width) in spec.lattices.items():
        spec.add_windows(f"{node}_patch", WINDOW, (-(-height // PATCH), -(-width // PATCH)), WINDOW_KERNEL)
    return spec


class Decoder(nn.Module):
    """Fused tokens -> normalised readings of all sensors.

    Lattices: the 4 x 4 cells of a token are interpolated to a lattice of patches, each of which predicts the readings
    of its 4 x 4 nodes after `depth` ConvNeXt blocks. Hexagonal faces: token + node embedding -> HexNeXt blocks.

    Args:
        spec: the graph of the network, with `add_patches`.
        token_dim: D.
        config: sizes.
    """

    def __init__(self, spec: EncoderGraph, token_dim: int, config: DecoderConfig) -> None:
        super().__init__()
        dim, outputs = config.decoder_dim, len(config.predict_channels)
        self.shapes, self.hexes = spec.lattices, spec.hexes
        self.patches = {node: spec.shapes[f"{node}_patch"] for node in self.shapes}
        self.context = TokenContext(token_dim, dim, self.patches, self.hexes)
        lattice, hexagonal = FaceEncoder(spec.nodes), FaceEncoder(spec.nodes)
        self.blocks = nn.ModuleDict({"lattice": lattice, "hex": hexagonal})
        for _ in range(config.depth):
            block = Block(LatticeConv(dim, dim, WINDOW_KERNEL, groups=dim), dim)
            lattice.add_layer(block, ((f"{n}_patch", WINDOW, f"{n}_patch") for n in self.patches))
            hexagonal.add_layer(Block(HexConv(dim, spec.hex_taps), dim), ((n, HEX, n) for n in self.hexes))
        sizes = {node: rows * cols for node, (rows, cols) in self.patches.items()}
        sizes |= {node: spec.nodes[node] for node in self.hexes}
        self.embedding = nn.ParameterDict(
            {node: nn.init.trunc_normal_(torch.empty(size, dim), std=0.02) for node, size in sizes.items()}
        )
        widths = {"lattice": PATCH**2 * outputs, "hex": outputs}
        self.heads = nn.ModuleDict(
            {name: nn.Sequential(nn.LayerNorm(dim, eps=1e-6), nn.Linear(dim, width)) for name, width in widths.items()}
        )
        self.readout = SensorReadout(spec)

    def forward(self, tokens: Nodes, edges: Edges) -> Nodes:
        """Tokens (B, D) by node type of the first level -> (B * N, C) by face."""
        start = {node: (x + self.embedding[node]).flatten(0, 1) for node, x in self.context(tokens).items()}
        patches = self.blocks["lattice"]({f"{node}_patch": start[node] for node in self.patches}, edges, {})
        sensors = self.blocks["hex"]({node: start[node] for node in self.hexes}, edges, {})
        nodes = {node: self._nodes(node, self.heads["lattice"](patches[f"{node}_patch"])) for node in self.patches}
        return self.readout(nodes | {node: self.heads["hex"](x) for node, x in sensors.items()})

    def _nodes(self, node: str, x: Tensor) -> Tensor:
        """Outputs of the patches (B * rows * cols, 16 C) -> nodes of the lattice (B * H * W, C)."""
        (height, width), (rows, cols) = self.shapes[node], self.patches[node]
        x = x.view(-1, rows, cols, PATCH, PATCH, x.size(-1) // PATCH**2).transpose(2, 3)
        return x.reshape(-1, rows * PATCH, cols * PATCH, x.size(-1))[:, :height, :width].flatten(0, 2)


class MaskedAutoencoder(ReconstructionNetwork):
    """Face encoders -> Transformer -> decoder; hidden sensors influence nothing.

    Args:
        detector: the detector whose events it reads; kept as `detector`.
        model: sizes of the backbone, which regression takes over.
        normalization: constants of the readings; they become part of the model.
        decoder: sizes of the decoder.
    """

    hides_invalid: ClassVar[bool] = False  # the regression that follows sees the sentinel of invalid sensors too

    def __init__(
        self, detector: Detector, model: ModelConfig, normalization: NormalizationConfig, decoder: DecoderConfig
    ) -> None:
        spec = add_patches(EncoderGraph(detector, model))
        super().__init__(spec, model, normalization)
        self.channels = decoder.predict_channels
        self.decoder = Decoder(spec, model.encoder_dim, decoder)

    def forward(self, batch: Batch, visible: Tensor | None = None) -> Tensor:
        """Normalised predictions (B, S, C), in the order of `predict_channels`.

        Args:
            batch: raw readings, or a graph.
            visible: (B, S) bool, True = the network may see it; None: all of them.
        """
        inputs = self.backbone.inputs(batch, visible)
        return self.backbone.faces.join(self.decoder(self.tokens(inputs), inputs.edges))
