"""xecgnn-check: tells whether data files are usable, and what is wrong with them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pydantic import Field
from pydantic_settings import CliPositionalArg

from xecgnn.cli.command import command
from xecgnn.names import TREE
from xecgnn.output import check_new, write_text
from xecgnn.settings import AnyPath, Paths, Settings

__all__ = ["CheckConfig", "main"]


class CheckConfig(Settings):
    """What to look at, and where the findings go."""

    files: CliPositionalArg[Paths] = Field(description="data files: names, globs or directories")
    detector: AnyPath = Field("meg2", description="name of a detector or path of its YAML file")
    tree: str = Field(TREE, description="name of the tree in each file")
    against: Paths = Field([], description="files that must not share (run, event) with those checked")
    json_file: Path | None = Field(None, description="also write the findings as JSON")
    dead_channels: Path | None = Field(None, description="write the ids of dead sensors, one per line")
    overwrite: bool = Field(False, description="replace output files that exist")


@command(
    CheckConfig,
    prog="xecgnn-check",
    description="Check whether ROOT files are usable: branches, units, sensors, duplicates, baskets.",
    usage="FILE [FILE ...] [options]",
)
def main(settings: CheckConfig) -> None:
    """Entry point of `xecgnn-check`; exit code 0: usable, 1: not, 2: nothing could be checked."""
    from xecgnn.data.check import check_files
    from xecgnn.detector import load_detector

    outputs = [path for path in (settings.json_file, settings.dead_channels) if path]
    check_new(*outputs, overwrite=settings.overwrite, option="name")
    report = check_files(settings.files, load_detector(settings.detector), settings.against, settings.tree)
    sys.stdout.write(report.text)
    if settings.json_file:
        write_text(settings.json_file, json.dumps(report.as_dict(), indent=1) + "\n")
    if settings.dead_channels:
        head = f"# dead sensors of {settings.detector} in {report.totals.num_events} events"
        write_text(settings.dead_channels, "\n".join([head, *map(str, report.totals.dead), ""]))
    sys.exit(not report.usable)


if __name__ == "__main__":
    main()
