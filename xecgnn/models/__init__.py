"""Assemblies: encoder, Transformer, heads and decoders, and the whole networks."""

from __future__ import annotations

from xecgnn.lazy import lazy_names

_PUBLIC = {
    "Backbone": "backbone",
    "DecoderConfig": "config",
    "Encoder": "encoder",
    "FusionTransformer": "fusion",
    "GraphSpec": "graph",
    "Head": "head",
    "HexLayout": "layouts",
    "Inpainter": "inpainter",
    "InpainterConfig": "config",
    "LatticeLayout": "layouts",
    "Layout": "encoder",
    "MaskedAutoencoder": "autoencoder",
    "ModelConfig": "config",
    "XECModel": "xec",
    "build_batch": "graph",
    "predict_masked": "masked",
    "sensor_graph": "graph",
}

__all__ = [*_PUBLIC]
__getattr__, __dir__ = lazy_names(__name__, _PUBLIC)
