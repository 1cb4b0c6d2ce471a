"""Settings of `xecgnn-infer` and `xecgnn-fill`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from xecgnn.data.config import ReaderConfig
from xecgnn.names import NPHO, RELATIVE_TIME, TREE
from xecgnn.plugins import PluginSettings
from xecgnn.settings import Paths

__all__ = ["FillConfig", "InferConfig"]


class InferConfig(ReaderConfig, PluginSettings):
    """Settings of `xecgnn-infer`."""

    onnx: Path = Field(description="model: ONNX file of xecgnn-export, or checkpoint of xecgnn-train")
    input: Paths = Field(description="ROOT files: names, globs or directories")
    output: Path = Field(description="ROOT file to write")
    csv: Path | None = Field(None, description="CSV file to write beside it")
    batch: int | None = Field(None, ge=1, description="events per call of the network (null: 8 on a CPU, 128 on a GPU)")
    copy_branches: list[str] = Field([], description="further branches to copy, for example another reconstruction's")
    npho_branch: str = Field(NPHO, description="branch read as npho, if not the one that the network was trained with")
    time_branch: str = Field(
        RELATIVE_TIME, description="branch read as relative_time (s), if not the one of the training"
    )


class FillConfig(PluginSettings):
    """Settings of `xecgnn-fill`."""

    checkpoint: Path = Field(description="checkpoint of xecgnn-inpaint")
    input: Path = Field(description="ROOT file to fill")
    output: Path = Field(description="ROOT file to write")
    dead_channels: Path | None = Field(
        None, description="text file with the ids of sensors to fill whatever they read, # for comments"
    )
    tree: str = Field(TREE, description="name of the tree in the input")
    batch: int | None = Field(None, ge=1, description="events per call of the network (null: 8 on a CPU, 128 on a GPU)")
