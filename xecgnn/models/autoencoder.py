"""Masked autoencoder: the backbone with a light decoder that restores the readings of hidden sensors."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from xecgnn.data.batch import Readings
from xecgnn.detector import Detector
from xecgnn.models.config import DecoderConfig, ModelConfig
from xecgnn.models.encoder import Encoder
from xecgnn.models.masked import ReconstructionNetwork
from xecgnn.models.readout import SensorReadout, TokenGrid, first_lattices, fused_tokens, hex_topologies
from xecgnn.names import HEX, LATTICE
from xecgnn.nn.block import Block
from xecgnn.nn.config import NormalizationConfig
from xecgnn.nn.face_encoder import WINDOW, FaceEncoder
from xecgnn.nn.hex_conv import HexConv
from xecgnn.nn.lattice_conv import LatticeConv
from xecgnn.nn.topology import LatticeTopology

__all__ = ["Decoder", "MaskedAutoencoder"]

Nodes = dict[str, Tensor]  # by node type
PATCH = 4  # a node of the decoder's lattices stands for PATCH x PATCH nodes


class Decoder(nn.Module):
    """Fused tokens -> normalised readings of all sensors.

    Lattices: the 4 x 4 cells of a token are interpolated to a lattice of patches, each of which predicts the readings
    of its 4 x 4 nodes after `depth` ConvNeXt blocks. Hexagonal faces: token + node embedding -> HexNeXt blocks.

    Args:
        detector: the detector of the encoder.
        encoder: whose tokens are decoded.
        config: sizes.
    """

    def __init__(self, detector: Detector, encoder: Encoder, config: DecoderConfig) -> None:
        super().__init__()
        self.faces = tuple(detector.faces)
        dim, outputs = config.decoder_dim, len(config.predict_channels)
        self.shapes = first_lattices(encoder)
        self.patches = {node: (-(-h // PATCH), -(-w // PATCH)) for node, (h, w) in self.shapes.items()}
        self.grid = TokenGrid(encoder.dim, dim, self.patches)
        self.hex_linear = nn.Linear(encoder.dim, dim)

        windows = {n: LatticeTopology(shape, (WINDOW,) * 2, padding=WINDOW // 2) for n, shape in self.patches.items()}
        neighbors, taps = hex_topologies(detector)
        self.lattice, self.hex = FaceEncoder(windows), FaceEncoder(neighbors)
        for _ in range(config.depth):
            lattice = Block(LatticeConv(dim, dim, WINDOW, groups=dim), dim)
            self.lattice.add_layer(lattice, {(n, LATTICE, n): t for n, t in windows.items()})
            self.hex.add_layer(Block(HexConv(dim, taps), dim), {(n, HEX, n): t for n, t in neighbors.items()})
        sizes = {node: t.num_target for node, t in (windows | neighbors).items()}
        self.embedding = nn.ParameterDict(
            {node: nn.init.trunc_normal_(torch.empty(size, dim), std=0.02) for node, size in sizes.items()}
        )
        self.lattice_head = nn.Sequential(nn.LayerNorm(dim, eps=1e-6), nn.Linear(dim, PATCH**2 * outputs))
        self.hex_head = nn.Sequential(nn.LayerNorm(dim, eps=1e-6), nn.Linear(dim, outputs))
        self.readout = SensorReadout(encoder)

    def forward(self, tokens: Nodes) -> Nodes:
        """Tokens (B, D) by node type of the first level -> (B * N, C) by face."""
        patches = {node: self._place(node, x) for node, x in self.grid(tokens).items()}
        patches, _ = self.lattice(patches)
        lattices = {node: self._nodes(node, self.lattice_head(x)) for node, x in patches.items()}
        sensors = {node: self._place(node, self.hex_linear(tokens[node])) for node in self.hex.inputs}
        sensors, _ = self.hex(sensors)
        out = self.readout(lattices) | {node: self.hex_head(x) for node, x in sensors.items()}
        return {face: out[face] for face in self.faces}

    def _place(self, node: str, x: Tensor) -> Tensor:
        """Adds the embedding (M, dim) of each node to x (B * M, dim), or to one vector per event (B, dim)."""
        embedding = self.embedding[node]
        x = x.unsqueeze(1) if node in self.hex.inputs else x.view(-1, *embedding.shape)
        return (x + embedding).flatten(0, 1)

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
        super().__init__(detector, model, normalization)
        self.channels = decoder.predict_channels
        self.decoder = Decoder(detector, self.encoder, decoder)

    def forward(self, batch: Readings, visible: Tensor | None = None) -> Tensor:
        """Normalised predictions (B, S, C), in the order of `predict_channels`.

        Args:
            batch: raw readings.
            visible: (B, S) bool, True = the network may see it; None: all of them.
        """
        decoded = self.decoder(fused_tokens(self.encoder, self.fusion, batch.x, visible))
        return self.encoder.faces.join(decoded)
