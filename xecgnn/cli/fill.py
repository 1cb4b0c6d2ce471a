"""xecgnn-fill: write a ROOT file again with its dead sensors filled by an inpainting network."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import CliPositionalArg

from xecgnn.cli.command import command
from xecgnn.inference.config import FillConfig

__all__ = ["main"]


class FillCommand(FillConfig):
    """The settings, with the checkpoint in front."""

    checkpoint: CliPositionalArg[Path] = Field(description="checkpoint of xecgnn-inpaint")


@command(
    FillCommand,
    prog="xecgnn-fill",
    description="Fill the dead sensors of a ROOT file by an inpainting network; an interrupted job goes on.",
    usage="CHECKPOINT --input FILE --output FILE [options]",
)
def main(settings: FillCommand) -> None:
    """Entry point of `xecgnn-fill`."""
    from xecgnn.inference.fill import fill_file

    fill_file(settings)


if __name__ == "__main__":
    main()
