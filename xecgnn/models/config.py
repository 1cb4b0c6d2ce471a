"""Settings of the networks."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from xecgnn.nn.config import Pooling, PositionKind
from xecgnn.settings import Settings

__all__ = ["DecoderConfig", "InpainterConfig", "ModelConfig", "SpotConfig"]


class SpotConfig(Settings):
    """What is read around the brightest place of the face that looks at the target."""

    window: int = Field(11, ge=0, description="side of the square of sensors, odd (0: nothing, as the seeds)")
    dim: int = Field(256, ge=1, description="width")
    depth: int = Field(2, ge=0, description="residual layers behind window and moments")
    moments: bool = Field(True, description="also sums, mean positions and spreads of the light of all faces")
    frame: bool = Field(True, description="heads predict directions and places as seen from there")

    @model_validator(mode="after")
    def _has_a_middle(self) -> SpotConfig:
        if self.window and self.window % 2 == 0:
            raise ValueError(f"window {self.window} is not odd")
        return self


class ModelConfig(Settings):
    """Sizes and variants of the network."""

    network: str = Field("xecgnn", description="name of the network: xecgnn, or one of a plugin")
    layouts: dict[str, str] = Field(
        {}, description="face -> layout in which it is read, in place of its own: lattice, hex, or one of a plugin"
    )
    outer_mode: Literal["finegrid", "split"] = Field(
        "finegrid", description="a face with a dense block as one fine lattice, or as two lattices and two tokens"
    )
    outer_fine_pool: tuple[int, int] = Field((3, 3), description="cells of the fine grid pooled into one [phi, z]")
    encoder_dim: int = Field(1024, ge=32, multiple_of=32, description="token dimension, 32 x width of the lattice stem")
    hex_dim: int = Field(96, ge=4, multiple_of=4, description="channels of the hexagonal faces")
    stem_stride: int = Field(
        1, ge=1, le=4, description="nodes of a lattice to one of the first level, each way (fewer on small lattices)"
    )
    depths: tuple[int, int] = Field((2, 3), description="ConvNeXt blocks before and after the downsampling")
    hex_depth: int = Field(4, ge=1, description="HexNeXt blocks")
    drop_path_rate: float = Field(0.0, ge=0, lt=1, description="drop path of the last block, growing from 0")
    token_pooling: Pooling = Field(
        "light", description="how nodes become a token: weighted by light, average, bilinear (hex faces: average)"
    )
    position_embedding: PositionKind = Field("learnable", description="what tells the tokens apart")
    num_fusion_layers: int = Field(2, ge=1, description="Transformer layers")
    num_heads: int = Field(8, ge=1, description="attention heads of the Transformer")
    dim_feedforward: int | None = Field(None, ge=1, description="Transformer feed-forward width; null: 4 x encoder_dim")
    fusion_dropout: float = Field(0.1, ge=0, lt=1, description="dropout in the Transformer")
    execution: Literal["dense", "graph"] = Field(
        "dense", description="static gathers and convolutions, or message passing over edges: the same numbers, slower"
    )
    spot: SpotConfig = SpotConfig()
    hidden_dim: int = Field(256, ge=1, description="hidden width of a head")
    head_dropout: float = Field(0.2, ge=0, lt=1, description="dropout in a head")

    @model_validator(mode="after")
    def _sizes_fit(self) -> ModelConfig:
        if self.encoder_dim % self.num_heads:
            raise ValueError(f"encoder_dim {self.encoder_dim} is not a multiple of num_heads {self.num_heads}")
        if min(self.depths) < 0 or min(self.outer_fine_pool) < 1:
            raise ValueError(f"depths {self.depths} must be >= 0 and outer_fine_pool {self.outer_fine_pool} >= 1")
        return self


class DecoderConfig(Settings):
    """Sizes of the decoder, and what it restores."""

    decoder_dim: int = Field(128, ge=4, multiple_of=4, description="channels")
    depth: int = Field(1, ge=0, description="blocks, ConvNeXt on lattices and HexNeXt on hexagonal faces")
    predict_channels: tuple[Literal["npho"], Literal["relative_time"]] | tuple[Literal["npho"]] = Field(
        ("npho", "relative_time"), description="readings that are restored"
    )


class InpainterConfig(Settings):
    """Sizes of the part that looks at single sensors."""

    local_dim: int = Field(16, ge=4, multiple_of=4, description="channels at each sensor")
    depth: int = Field(1, ge=0, description="blocks over the visible sensors, before hidden ones look at them")
