"""Dead-channel recovery: each hidden sensor from the sensors around it and from the event as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn.module_dict import ModuleDict

from xecgnn.data.batch import Readings
from xecgnn.detector import Detector, Face
from xecgnn.models.config import InpainterConfig, ModelConfig
from xecgnn.models.masked import ReconstructionNetwork
from xecgnn.models.readout import SensorReadout, TokenGrid, first_lattices, fused_tokens, hex_topologies
from xecgnn.names import FEATURES, HEX, INVALID_LIMIT, INVALID_VALUE, LATTICE
from xecgnn.nn.block import Block
from xecgnn.nn.config import NormalizationConfig
from xecgnn.nn.face_encoder import FaceEncoder
from xecgnn.nn.hex_conv import HexConv
from xecgnn.nn.lattice_conv import LatticeConv
from xecgnn.nn.topology import LatticeTopology, Topology

__all__ = ["Inpainter", "NeighborMean"]

Nodes = dict[str, Tensor]  # by node type
WINDOW = 5  # side of the window around a sensor of a lattice
LARGEST = INVALID_LIMIT / 2  # photons: whatever is predicted, a filled reading is a valid one


class NeighborMean(nn.Module):
    """Mean of the visible readings around each sensor; without any, of its face; without any at all, 0.

    Around a sensor of a plain lattice are the 5 x 5 nearest, with binomial weights (1, 4, 6, 4, 1 in each direction);
    elsewhere the sensors that touch it, with equal weights. The sensor itself never counts.

    Args:
        face: a face of the detector.
    """

    weights: Tensor  # (5, 5) window, or (N, N) [target, source]

    def __init__(self, face: Face) -> None:
        super().__init__()
        self.plain = face.cells is not None and face.block is None
        self.shape = face.shape if self.plain else (len(face),)
        if self.plain:
            row = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0])
            weights = torch.outer(row, row)
            weights[WINDOW // 2, WINDOW // 2] = 0
        else:
            source, target = torch.as_tensor(face.edge_index)
            weights = torch.zeros(len(face), len(face))
            weights[target, source] = (source != target).float()
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, values: Tensor, visible: Tensor) -> Tensor:
        """Means (B * N, C) of `values` (B * N, C), zero where `visible` (B * N, C) of 0 and 1 is 0."""
        columns = torch.cat([values, visible], 1)  # [B*N, 2C]
        with torch.autocast(values.device.type, enabled=False):
            near, seen = self._around(columns).chunk(2, -1)  # [B, N, C]
        total, count = columns.view(near.size(0), -1, columns.size(-1)).sum(1, keepdim=True).chunk(2, -1)  # [B, 1, C]
        mean = torch.where(seen > 0, near / torch.where(seen > 0, seen, 1), total / count.clamp(min=1))
        return mean.flatten(0, 1)

    def _around(self, columns: Tensor) -> Tensor:
        """Weighted sums (B * N, C) -> (B, N, C)."""
        channels, weights = columns.size(-1), self.weights
        grid = columns.view(-1, *self.shape, channels)
        if not self.plain:
            return weights @ grid
        window = weights.expand(channels, 1, WINDOW, WINDOW)
        grid = F.conv2d(grid.permute(0, 3, 1, 2), window, padding=WINDOW // 2, groups=channels)
        return grid.permute(0, 2, 3, 1).flatten(1, 2)


class LocalContext(nn.Module):
    """Features of each node from the visible nodes around it: Linear, blocks over the visible nodes, and one mixer
    whose target may be hidden.

    Args:
        mixers: `depth` + 1 depthwise convolutions of `dim` channels.
        dim: channels.
        topologies: neighbours on each face, by node type.
        relation: name of those edges.
    """

    def __init__(self, mixers: list[nn.Module], dim: int, topologies: Mapping[str, Topology], relation: str) -> None:
        super().__init__()
        self.stem = nn.Linear(2, dim)
        self.blocks = FaceEncoder(topologies)
        for mixer in mixers[:-1]:
            self.blocks.add_layer(Block(mixer, dim), {(node, relation, node): t for node, t in topologies.items()})
        self.last, self.topologies = mixers[-1], ModuleDict(dict(topologies))

    def forward(self, nodes: Nodes, visible: Nodes) -> Nodes:
        """Normalised readings (B * N, 2) and visibility (B * N, 1) -> (B * N, dim)."""
        x = {node: self.stem(nodes[node]) * visible[node] for node in self.blocks.inputs}
        x, _ = self.blocks(x, visible)
        return {node: self.last(x[node], t, visible=visible[node]) for node, t in self.topologies.items()}


class SensorHead(nn.Sequential):
    """LayerNorm -> Linear -> GELU -> Linear: (B * N, dim) -> corrections (B * N, 2), zero at the start."""

    def __init__(self, dim: int) -> None:
        last = nn.Linear(2 * dim, 2)
        super().__init__(nn.LayerNorm(dim, eps=1e-6), nn.Linear(dim, 2 * dim), nn.GELU(), last)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)


class Inpainter(ReconstructionNetwork):
    """Mean of the visible neighbours + a correction from local features and from the fused token of the face.

    Args:
        detector: the detector whose events it reads; kept as `detector`.
        model: sizes of the backbone.
        normalization: constants of the readings; they become part of the model.
        config: sizes of the local part.
    """

    channels = FEATURES  # that are predicted
    hides_invalid: ClassVar[bool] = True  # dead sensors look as masked ones do

    def __init__(
        self, detector: Detector, model: ModelConfig, normalization: NormalizationConfig, config: InpainterConfig
    ) -> None:
        super().__init__(detector, model, normalization)
        dim, shapes = config.local_dim, first_lattices(self.encoder)
        windows = {node: LatticeTopology(shape, (WINDOW,) * 2, padding=WINDOW // 2) for node, shape in shapes.items()}
        neighbors, taps = hex_topologies(detector)
        layers = range(config.depth + 1)
        convolutions: list[nn.Module] = [LatticeConv(dim, dim, WINDOW, groups=dim) for _ in layers]
        self.lattice_local = LocalContext(convolutions, dim, windows, LATTICE)
        self.hex_local = LocalContext([HexConv(dim, taps) for _ in layers], dim, neighbors, HEX)
        self.lattice_global = TokenGrid(self.encoder.dim, dim, shapes)
        self.hex_global = nn.Linear(self.encoder.dim, dim)
        self.readout = SensorReadout(self.encoder)
        self.lattice_head, self.hex_head = SensorHead(dim), SensorHead(dim)
        self.neighbor_mean = ModuleDict({name: NeighborMean(face) for name, face in detector.faces.items()})

    def forward(self, batch: Readings, visible: Tensor) -> Tensor:
        """Normalised (npho, relative_time), (B, S, 2), for all sensors.

        Args:
            batch: raw readings.
            visible: (B, S) bool, True = the network may see it; a valid npho is required.
        """
        tokens = fused_tokens(self.encoder, self.fusion, batch.x, visible)  # [B, D]
        nodes, seen = self.encoder.normalized(batch.x, visible)
        around = self.lattice_global(tokens)
        lattices = {node: x + around[node] for node, x in self.lattice_local(nodes, seen).items()}
        correction = {face: self.lattice_head(x) for face, x in self.readout(lattices).items()}
        for face, local in self.hex_local(nodes, seen).items():
            context = self.hex_global(tokens[face]).unsqueeze(1)  # [B, 1, dim]
            features = local.view(context.size(0), -1, local.size(-1)) + context
            correction[face] = self.hex_head(features.flatten(0, 1))
        return self.neighbor_means(batch, visible) + self.encoder.faces.join(correction)

    def neighbor_means(self, batch: Readings, visible: Tensor) -> Tensor:
        """What the correction starts from: normalised (B, S, 2); arguments as for `forward`."""
        shown = torch.stack(self.encoder.normalizer.validity(batch.x), -1) & visible.unsqueeze(-1)
        values = torch.where(shown, self.encoder.normalizer(batch.x, *shown.unbind(-1)), 0)
        faces = self.encoder.faces
        columns = [faces.split(part) for part in (values, shown.to(values.dtype))]
        return faces.join({face: mean(*(part[face] for part in columns)) for face, mean in self.neighbor_mean.items()})

    def fill(self, batch: Readings, dead: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Replaces invalid and dead sensors by predictions; the others, and events without a visible one, stay.

        A filled time is valid where the filled npho reaches the normaliser's threshold.

        Args:
            batch: raw readings.
            dead: (B, S) bool, sensors not to be trusted though their reading looks valid.

        Returns:
            The readings (B, S, 2), and which of them were filled, (B, S) bool.
        """
        normalizer = self.encoder.normalizer
        visible = normalizer.validity(batch.x)[0]
        if dead is not None:
            visible = visible & ~dead
        npho, time = normalizer.inverse(self(batch, visible).to(batch.x.dtype)).unbind(-1)
        npho = npho.clamp(0.0, LARGEST)
        time = torch.where(npho >= normalizer.npho_threshold, time, INVALID_VALUE)
        filled = ~visible & visible.any(1, keepdim=True)
        return torch.where(filled.unsqueeze(-1), torch.stack([npho, time], -1), batch.x), filled
