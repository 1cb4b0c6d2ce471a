"""Parts of the network: topologies, convolutions on them, blocks, normalisation, pooling."""

from __future__ import annotations

from xecgnn.lazy import lazy_names

_PUBLIC = {
    "Block": "block",
    "DropPath": "block",
    "FaceEncoder": "face_encoder",
    "Faces": "faces",
    "GRN": "block",
    "GridPool": "pooling",
    "HexConv": "hex_conv",
    "LatticeConv": "lattice_conv",
    "Masker": "masking",
    "MaskingConfig": "config",
    "MeanPool": "pooling",
    "NormalizationConfig": "config",
    "Normalizer": "normalizer",
    "PositionEmbedding": "position",
    "Resample": "block",
    "Spread": "spread",
    "Table": "topology",
    "TimeMaskingConfig": "config",
    "Topology": "topology",
}

__all__ = [*_PUBLIC]
__getattr__, __dir__ = lazy_names(__name__, _PUBLIC)
