"""Dead-channel recovery: each hidden sensor from the sensors around it and from the event as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn.module_dict import ModuleDict

from xecgnn.data.batch import Readings
from xecgnn.detector import Detector, Face
from xecgnn.models.backbone import Batch
from xecgnn.models.config import InpainterConfig, ModelConfig
from xecgnn.models.encoder import Inputs, Nodes
from xecgnn.models.encoder_graph import EncoderGraph
from xecgnn.models.masked import ReconstructionNetwork
from xecgnn.models.readout import SensorReadout, TokenContext
from xecgnn.names import FEATURES, HEX, INVALID_LIMIT, INVALID_VALUE, EdgeType
from xecgnn.nn.block import Block
from xecgnn.nn.config import NormalizationConfig
from xecgnn.nn.face_encoder import FaceEncoder
from xecgnn.nn.hex_conv import HexConv
from xecgnn.nn.lattice_conv import LatticeConv

__all__ = ["Inpainter", "NeighborMean"]

AROUND, KERNEL = "around", 5  # relation to the sensors of a window around each one, and its side
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
            weights[KERNEL // 2, KERNEL // 2] = 0
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
        window = weights.expand(channels, 1, KERNEL, KERNEL)
        grid = F.conv2d(grid.permute(0, 3, 1, 2), window, padding=KERNEL // 2, groups=channels)
        return grid.permute(0, 2, 3, 1).flatten(1, 2)


class LocalContext(nn.Module):
    """Features of each node from the visible nodes around it: Linear, blocks over the visible nodes, and one mixer
    whose target may be hidden.

    Args:
        mixers: `depth` + 1 layers of `dim` channels.
        dim: channels.
        num_nodes: nodes of an event, by node type.
        edges: what they act along.
    """

    def __init__(
        self, mixers: Sequence[nn.Module], dim: int, num_nodes: Mapping[str, int], edges: Sequence[EdgeType]
    ) -> None:
        super().__init__()
        self.edges = edges
        self.stem = nn.Linear(2, dim)
        self.blocks = FaceEncoder(num_nodes)
        for mixer in mixers[:-1]:
            self.blocks.add_layer(Block(mixer, dim), edges)
        self.last = mixers[-1]

    def forward(self, inputs: Inputs) -> Nodes:
        """Features (B * N, dim) of each node type."""
        visible, edges = inputs.visible, inputs.edges
        x = {node: self.stem(inputs.nodes[node]) * visible[node] for node, *_ in self.edges}
        x = self.blocks(x, edges, visible)
        return {e[0]: self.last(x[e[0]], edges.index[e], edges.type.get(e), visible=visible[e[0]]) for e in self.edges}


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
        spec = EncoderGraph(detector, model)
        for node, shape in spec.lattices.items():
            spec.add_windows(node, AROUND, shape, KERNEL)
        super().__init__(spec, model, normalization)
        dim, layers = config.local_dim, range(config.depth + 1)
        convolutions = [LatticeConv(dim, dim, KERNEL, groups=dim) for _ in layers]
        lattice = LocalContext(convolutions, dim, spec.nodes, [(node, AROUND, node) for node in spec.lattices])
        attention = [HexConv(dim, spec.hex_taps) for _ in layers]
        hexagonal = LocalContext(attention, dim, spec.nodes, [(node, HEX, node) for node in spec.hexes])
        self.local = nn.ModuleDict({"lattice": lattice, "hex": hexagonal})
        self.context = TokenContext(model.encoder_dim, dim, spec.lattices, spec.hexes)
        self.readout = SensorReadout(spec)
        self.heads = nn.ModuleDict({layout: SensorHead(dim) for layout in ("lattice", "hex")})
        self.neighbor_mean = ModuleDict({name: NeighborMean(face) for name, face in detector.faces.items()})

    def forward(self, batch: Batch, visible: Tensor) -> Tensor:
        """Normalised (npho, relative_time), (B, S, 2), for all sensors.

        Args:
            batch: raw readings, or a graph.
            visible: (B, S) bool, True = the network may see it; a valid npho is required.
        """
        inputs = self.backbone.inputs(batch, visible)
        context = self.context(self.tokens(inputs))
        nodes = self.local["lattice"](inputs) | self.local["hex"](inputs)
        for node, around in context.items():
            nodes[node] = (nodes[node].unflatten(0, (around.size(0), -1)) + around).flatten(0, 1)
        sensors = self.readout(nodes).items()
        correction = {face: self.heads["hex" if face in self.context.hexes else "lattice"](x) for face, x in sensors}
        return self.neighbor_means(batch, visible) + self.backbone.faces.join(correction)

    def neighbor_means(self, batch: Batch, visible: Tensor) -> Tensor:
        """What the correction starts from: normalised (B, S, 2); arguments as for `forward`."""
        x, normalizer, faces = self.backbone.readings(batch), self.backbone.normalizer, self.backbone.faces
        shown = torch.stack(normalizer.validity(x), -1) & visible.unsqueeze(-1)
        values = torch.where(shown, normalizer(x, *shown.unbind(-1)), 0)
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
        normalizer = self.backbone.normalizer
        visible = normalizer.validity(batch.x)[0]
        if dead is not None:
            visible = visible & ~dead
        npho, time = normalizer.inverse(self(batch, visible).to(batch.x.dtype)).unbind(-1)
        npho = npho.clamp(0.0, LARGEST)
        time = torch.where(npho >= normalizer.npho_threshold, time, INVALID_VALUE)
        filled = ~visible & visible.any(1, keepdim=True)
        return torch.where(filled.unsqueeze(-1), torch.stack([npho, time], -1), batch.x), filled
