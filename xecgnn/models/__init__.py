"""Assemblies: encoder, Transformer, heads, and the whole network."""

from __future__ import annotations

from xecgnn.models.config import ModelConfig
from xecgnn.models.encoder import Encoder
from xecgnn.models.fusion import FusionTransformer
from xecgnn.models.head import Head
from xecgnn.models.xec import XECModel

__all__ = ["Encoder", "FusionTransformer", "Head", "ModelConfig", "XECModel"]
