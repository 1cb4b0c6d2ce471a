"""xecgnn-check: tells whether data files are usable, and what is wrong with them."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field
from pydantic_settings import CliPositionalArg

from xecgnn.cli.command import parse_command, run_command
from xecgnn.names import TREE
from xecgnn.output import check_new, completed
from xecgnn.settings import Settings

__all__ = ["CheckConfig", "main"]


class CheckConfig(Settings):
    """What to look at, and where the findings go."""

    files: CliPositionalArg[list[str]] = Field(description="data files: names, globs or directories")
    detector: str = Field("meg2", description="name of a detector or path of its YAML file")
    tree: str = Field(TREE, description="name of the tree in each file")
    against: list[str] = Field([], description="files that must not share (run, event) with those checked")
    json_file: Path | None = Field(None, description="also write the findings as JSON")
    dead_channels: Path | None = Field(None, description="write the ids of dead sensors, one per line")
    overwrite: bool = Field(False, description="replace output files that exist")


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of `xecgnn-check`; exit code 0: usable, 1: not, 2: nothing could be checked."""

    def check() -> None:
        from xecgnn.data.check import check_files
        from xecgnn.detector import load_detector

        settings, _ = parse_command(
            CheckConfig,
            argv,
            prog="xecgnn-check",
            description="Check whether ROOT files are usable: branches, units, sensors, duplicates, baskets.",
            usage="FILE [FILE ...] [options]",
        )
        outputs = [path for path in (settings.json_file, settings.dead_channels) if path]
        check_new(*outputs, overwrite=settings.overwrite, option="name")
        report = check_files(settings.files, load_detector(settings.detector), settings.against, settings.tree)
        sys.stdout.write(report.text)
        if settings.json_file:
            _write(settings.json_file, json.dumps(report.as_dict(), indent=1) + "\n")
        if settings.dead_channels:
            head = f"# dead sensors of {settings.detector} in {report.totals.num_events} events"
            _write(settings.dead_channels, "\n".join([head, *map(str, report.totals.dead), ""]))
        sys.exit(not report.usable)

    run_command(check)


def _write(path: Path, text: str) -> None:
    with completed(path) as part:
        part.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
