"""Settings of the reader and of the loader."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from xecgnn.names import NPHO, RELATIVE_TIME, TREE
from xecgnn.settings import Paths, Settings

__all__ = ["CompressionName", "DataConfig", "ReaderConfig"]

CompressionName = Literal["zstd", "lz4", "zlib", "none"]


class ReaderConfig(Settings):
    """How a tree is read."""

    tree: str = Field(TREE, description="name of the tree in each file")
    npho_branch: str = Field(NPHO, description="branch read as npho: npho (photons) or relative_npho")
    time_branch: str = Field(RELATIVE_TIME, description="branch read as relative_time (s)")
    angle_unit: Literal["rad", "deg"] = Field("rad", description="unit of the branch emiAng in the files: rad or deg")
    fiducial: bool = Field(False, description="keep only abs(u) < 23.9, abs(v) < 67.9, 0 <= w < 38.5 cm of uvwTruth")
    on_bad_file: Literal["stop", "skip"] = Field(
        "stop", description="stop at a file that is empty, truncated or not ROOT, or skip it with a warning"
    )


class DataConfig(ReaderConfig):
    """Which files are read, and in what portions."""

    train_path: Paths = Field(["data/train/*.root"], description="training files: names, globs or directories")
    val_path: Paths = Field(["data/val/*.root"], description="validation files: names, globs or directories")
    # On the command line, null comes as a list of one.
    test_path: Annotated[Paths | None, BeforeValidator(lambda value: None if value == [None] else value)] = Field(
        None,
        description="files for the numbers and plots at the end (null: the validation files, which chose the epoch)",
    )
    batch_size: int = Field(256, ge=1, description="events per batch and process")
    chunksize: int = Field(16384, ge=1, description="events in the shuffle buffers of all workers together")
    num_workers: int = Field(1, ge=0, description="reading processes per training process; 0: none")
