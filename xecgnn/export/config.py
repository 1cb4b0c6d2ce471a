"""Settings of `xecgnn-export`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from xecgnn.plugins import PluginSettings
from xecgnn.settings import Settings

__all__ = ["ExportAtEnd", "ExportConfig", "VerifyConfig"]


class ExportAtEnd(Settings):
    """What a training exports when it is done."""

    onnx: bool = Field(False, description="write the averaged network as an ONNX file, as xecgnn-export does")


class ExportConfig(PluginSettings):
    """Settings of `xecgnn-export`."""

    checkpoint: Path = Field(description="checkpoint of xecgnn-train; with --encoder of any training")
    output: Path = Field(Path("model.onnx"), description="ONNX file to write")
    tasks: list[str] = Field([], description="tasks to keep (default: all of the checkpoint)")
    normalized_input: bool = Field(False, description="one input (B, sensors, 2), normalised, sentinel where invalid")
    encoder: bool = Field(False, description="the encoder alone: tokens of the faces (B, T, D)")
    inpaint: Path | None = Field(None, description="checkpoint of xecgnn-inpaint that fills dead sensors first")
    data: Path | None = Field(None, description="ROOT file to compare on (default: simulated events)")
    events: int = Field(64, ge=2, description="events to compare on")
    overwrite: bool = Field(False, description="replace an output file that exists")


class VerifyConfig(PluginSettings):
    """Settings of `xecgnn-export --verify`."""

    verify: Path = Field(description="model file to compare with its checkpoint")
    checkpoint: Path = Field(description="checkpoint that it was written from")
    inpaint: Path | None = Field(None, description="checkpoint of the inpainter in it, where there is one")
    data: Path = Field(description="ROOT file to compare on")
    events: int = Field(2000, ge=2, description="events to compare on")
