"""xecgnn-display: pictures of single events, on unrolled faces (pdf, png) or in space (html)."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import CliPositionalArg

from xecgnn.cli.command import command
from xecgnn.data.config import ReaderConfig
from xecgnn.names import NPHO, RELATIVE_TIME, TREE
from xecgnn.output import check_new
from xecgnn.plugins import PluginSettings
from xecgnn.settings import AnyPath, Paths

__all__ = ["DisplayConfig", "main"]

log = logging.getLogger("xecgnn.display")

FORMATS = (".pdf", ".png", ".html")


class DisplayConfig(PluginSettings):
    """Which events, from which files, and how they are drawn."""

    data: CliPositionalArg[Paths] = Field(description="data files: names, globs or directories")
    event: list[int] = Field([], description="events, counted over all files from 0; with --run: their event numbers")
    run: int | None = Field(None, description="run number of the events")
    worst: int | None = Field(None, ge=1, description="draw so many events with the largest loss, or error, instead")
    predictions: Path | None = Field(None, description="ROOT file with predictions, found by run and event")
    output: Path = Field(Path("event.pdf"), description="file to write; its ending says which kind: pdf, png or html")
    scale: Literal["log", "linear", "both"] = Field("both", description="scale of npho and time")
    detector: AnyPath = Field("meg2", description="name of a detector or path of its YAML file")
    survey: Path | None = Field(None, description="CSV of surveyed sensor positions (id, x, y, z, nx, ny, nz) in cm")
    tree: str = Field(TREE, description="name of the tree in each file")
    npho_branch: str = Field(NPHO, description="branch drawn as npho")
    time_branch: str = Field(RELATIVE_TIME, description="branch drawn as time (s)")
    angle_unit: Literal["rad", "deg"] = Field("rad", description="unit of the branch emiAng in the data")
    overwrite: bool = Field(False, description="replace output files that exist")


@command(
    DisplayConfig,
    prog="xecgnn-display",
    description="Draw events: unrolled faces on paper (pdf, png), or in space for a browser (html).",
    usage="DATA [DATA ...] --event N --output FILE [options]",
)
def main(config: DisplayConfig) -> None:
    """Entry point of `xecgnn-display`: a page each; several in png or html become files with numbered names."""
    if bool(config.event) == (config.worst is not None):
        raise ValueError("choose the events with either --event or --worst")
    if config.run is not None and not config.event:
        raise ValueError(f"--run {config.run} needs --event")
    if config.output.suffix.lower() not in FORMATS:
        raise ValueError(f"--output {config.output} ends in {config.output.suffix!r}; allowed: {', '.join(FORMATS)}")
    from xecgnn.detector import load_detector
    from xecgnn.evaluation.display.write import write_display
    from xecgnn.evaluation.lookup import EventLookup

    detector = load_detector(config.detector, config.survey)
    reader = ReaderConfig(**config.model_dump(include={"tree", "npho_branch", "time_branch", "angle_unit"}))
    lookup = EventLookup(config.data, detector.num_sensors, reader, config.predictions)
    if config.worst is not None:
        events = lookup.worst(config.worst)
    elif config.run is not None:
        events = [lookup.by_id(config.run, event) for event in config.event]
    else:
        events = [lookup.by_entry(entry) for entry in config.event]
    pages = [events] if config.output.suffix.lower() == ".pdf" else [[event] for event in events]  # one list per file
    paths = [config.output]
    if len(pages) > 1:
        paths = [config.output.with_stem(f"{config.output.stem}_{number}") for number in range(1, len(pages) + 1)]
    check_new(*paths, overwrite=config.overwrite)
    for path, page in zip(paths, pages, strict=True):
        write_display(path, detector, page, config.scale)
    log.info("wrote %s", ", ".join(map(str, paths)))


if __name__ == "__main__":
    main()
