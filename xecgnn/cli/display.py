"""xecgnn-display: pictures of single events, on unrolled faces (pdf, png) or in space (html)."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field
from pydantic_settings import CliPositionalArg

from xecgnn.cli.command import parse_command, run_command
from xecgnn.data.config import ReaderConfig
from xecgnn.names import NPHO, RELATIVE_TIME, TREE
from xecgnn.settings import Settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xecgnn.detector import Detector

__all__ = ["DisplayConfig", "display", "main"]

log = logging.getLogger("xecgnn.display")

FORMATS = (".pdf", ".png", ".html")
DPI = 200  # of png


class DisplayConfig(Settings):
    """Which events, from which files, and how they are drawn."""

    data: CliPositionalArg[list[str]] = Field(description="data files: names, globs or directories")
    event: list[int] = Field([], description="events, counted over all files from 0; with --run: their event numbers")
    run: int | None = Field(None, description="run number of the events")
    worst: int | None = Field(None, ge=1, description="draw so many events with the largest loss, or error, instead")
    predictions: Path | None = Field(None, description="ROOT file with predictions, found by run and event")
    output: Path = Field(Path("event.pdf"), description="file to write; its ending says which kind: pdf, png or html")
    scale: Literal["log", "linear", "both"] = Field("both", description="scale of npho and time")
    detector: str = Field("meg2", description="name of a detector or path of its YAML file")
    tree: str = Field(TREE, description="name of the tree in each file")
    npho_branch: str = Field(NPHO, description="branch drawn as npho")
    time_branch: str = Field(RELATIVE_TIME, description="branch drawn as time (s)")
    angle_unit: Literal["rad", "deg"] = Field("rad", description="unit of the branch emiAng in the data")
    overwrite: bool = Field(False, description="replace output files that exist")


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of `xecgnn-display`."""

    def command() -> None:
        settings, _ = parse_command(
            DisplayConfig,
            argv,
            prog="xecgnn-display",
            description="Draw events: unrolled faces on paper (pdf, png), or in space for a browser (html).",
            usage="DATA [DATA ...] --event N --output FILE [options]",
        )
        display(settings)

    run_command(command)


def display(config: DisplayConfig) -> list[Path]:
    """Draw the events, a page each; several in png or html become files with numbers before the ending.

    Raises:
        FileNotFoundError, ValueError: data, predictions or an event that cannot be found, an unknown ending.
        FileExistsError: an output exists and `overwrite` is not set.
    """
    if bool(config.event) == (config.worst is not None):
        raise ValueError("choose the events with either --event or --worst")
    if config.run is not None and not config.event:
        raise ValueError(f"--run {config.run} needs --event")
    if config.output.suffix.lower() not in FORMATS:
        raise ValueError(f"--output {config.output} ends in {config.output.suffix!r}; allowed: {', '.join(FORMATS)}")
    from xecgnn.detector import load_detector
    from xecgnn.evaluation.lookup import EventLookup

    detector = load_detector(config.detector)
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
    for path in paths:
        if path.exists() and not config.overwrite:
            raise FileExistsError(f"{path} exists; choose another --output, or --overwrite to replace it")
    config.output.parent.mkdir(parents=True, exist_ok=True)
    for path, page in zip(paths, pages, strict=True):
        _write(path, detector, page, config.scale)
    log.info("wrote %s", ", ".join(map(str, paths)))
    return paths


def _write(path: Path, detector: Detector, events: Sequence[Mapping[str, NDArray]], scale: str) -> None:
    """One file, under its name only when complete; more than one event only as PDF."""
    from xecgnn.evaluation.photon import PREDICTED, Photon, describe

    def draw(function: Callable[..., Any], event: Mapping[str, NDArray], **more: Any) -> Any:
        photons = {"truth": Photon.from_columns(event), "prediction": Photon.from_columns(event, PREDICTED)}
        readings = event[NPHO], event[RELATIVE_TIME]
        return function(detector, *readings, **photons, title=describe(event), scale=scale, **more)

    part = path.with_name(path.name + ".part")
    if path.suffix.lower() == ".html":
        from xecgnn.evaluation.display3d import draw_event_3d, write_html

        write_html(draw(draw_event_3d, events[0], branches=events[0]), part)
    else:
        import matplotlib
        from matplotlib.backends.backend_pdf import PdfPages

        from xecgnn.evaluation.display import draw_event

        if path.suffix.lower() == ".png":
            draw(draw_event, events[0]).savefig(part, format="png", dpi=DPI)
        else:
            with matplotlib.rc_context({"pdf.fonttype": 42}), PdfPages(part) as pdf:  # text stays text
                for event in events:
                    pdf.savefig(draw(draw_event, event))
    os.replace(part, path)


if __name__ == "__main__":
    main()
