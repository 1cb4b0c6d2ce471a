"""Assemblies: encoder, Transformer, heads and decoders, and the whole networks."""

from __future__ import annotations

from xecgnn.models.autoencoder import DecoderConfig, MaskedAutoencoder
from xecgnn.models.config import ModelConfig
from xecgnn.models.encoder import Encoder
from xecgnn.models.fusion import FusionTransformer
from xecgnn.models.head import Head
from xecgnn.models.inpainter import Inpainter, InpainterConfig
from xecgnn.models.masked import predict_masked
from xecgnn.models.xec import XECModel

__all__ = [
    "DecoderConfig",
    "Encoder",
    "FusionTransformer",
    "Head",
    "Inpainter",
    "InpainterConfig",
    "MaskedAutoencoder",
    "ModelConfig",
    "XECModel",
    "predict_masked",
]
