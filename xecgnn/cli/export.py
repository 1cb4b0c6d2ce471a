"""xecgnn-export: write a trained network as an ONNX file and compare the two; or repeat that comparison."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field
from pydantic_settings import CliPositionalArg

from xecgnn.cli.command import command
from xecgnn.export.config import ExportConfig, VerifyConfig

__all__ = ["main"]


class ExportCommand(ExportConfig):
    """The settings, with the checkpoint in front, and a flag of an earlier program that scripts may still give."""

    checkpoint: CliPositionalArg[Path] = Field(description="checkpoint of xecgnn-train; with --encoder of any training")
    multi_task: bool = Field(False, description="changes nothing: all tasks are exported anyhow")


class VerifyCommand(VerifyConfig):
    """The settings, with the data last."""

    data: CliPositionalArg[Path] = Field(description="ROOT file to compare on")


@command(
    ExportCommand,
    prog="xecgnn-export",
    description="Write a trained network as an ONNX file, from raw readings to physical units, and compare the two. "
    "To repeat the comparison: --verify MODEL --checkpoint CHECKPOINT DATA.",
    usage="CHECKPOINT --output MODEL [options]",
)
def export(settings: ExportCommand) -> None:
    from xecgnn.export.convert import export_checkpoint

    export_checkpoint(settings)


@command(
    VerifyCommand,
    prog="xecgnn-export",
    description="Compare a model file with the checkpoint that it was written from.",
    usage="--verify MODEL --checkpoint CHECKPOINT [options] DATA",
)
def verify(settings: VerifyCommand) -> None:
    from xecgnn.export.convert import verify_file

    verify_file(settings)


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of `xecgnn-export`."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    (verify if any(a.partition("=")[0] == "--verify" for a in arguments) else export)(arguments)


if __name__ == "__main__":
    main()
