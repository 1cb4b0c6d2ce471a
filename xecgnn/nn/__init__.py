"""Parts of the network: topologies, convolutions on them, blocks, normalisation, pooling."""

from __future__ import annotations

from xecgnn.nn.block import GRN, Block, DropPath, Resample
from xecgnn.nn.face_encoder import HexEncoder, LatticeEncoder
from xecgnn.nn.faces import Faces
from xecgnn.nn.hex_conv import HexConv
from xecgnn.nn.lattice_conv import LatticeConv
from xecgnn.nn.masking import Masker, MaskingConfig, TimeMaskingConfig
from xecgnn.nn.normalizer import NormalizationConfig, Normalizer
from xecgnn.nn.pooling import GridPool, MeanPool
from xecgnn.nn.position import PositionEmbedding
from xecgnn.nn.spread import Spread
from xecgnn.nn.topology import HexTopology, LatticeTopology, SpreadTopology, Topology

__all__ = [
    "GRN",
    "Block",
    "DropPath",
    "Faces",
    "GridPool",
    "HexConv",
    "HexEncoder",
    "HexTopology",
    "LatticeConv",
    "LatticeEncoder",
    "LatticeTopology",
    "Masker",
    "MaskingConfig",
    "MeanPool",
    "NormalizationConfig",
    "Normalizer",
    "PositionEmbedding",
    "Resample",
    "Spread",
    "SpreadTopology",
    "TimeMaskingConfig",
    "Topology",
]
