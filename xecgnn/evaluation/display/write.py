"""Displays of events in a file: unrolled faces on paper (pdf, png), or in space for a browser (html)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from matplotlib.figure import Figure

from xecgnn.data.events import Events
from xecgnn.detector import Detector
from xecgnn.evaluation.display.layers import Scale
from xecgnn.evaluation.display.photon import Photon, describe
from xecgnn.evaluation.display.plane import draw_event
from xecgnn.evaluation.pages.page import save
from xecgnn.names import FILLED, NPHO, RELATIVE_TIME
from xecgnn.output import completed

__all__ = ["display_pages", "write_display"]

DPI = 200  # of png


def display_pages(
    detector: Detector, events: Iterable[Events], scale: Scale | Literal["both"] = "both", head: str = ""
) -> Iterator[Figure]:
    """A page for each of some single events; `head` is a line above what is said of it."""
    return (_page(detector, event, scale, head) for event in events)


def write_display(
    path: Path, detector: Detector, events: list[Events], scale: Scale | Literal["both"] = "both"
) -> None:
    """Draw events in the format that the ending says; more than one only as PDF, a page each.

    Args:
        path: the file, replaced if it exists.
        detector: what recorded the events.
        events: tables of one event: npho and relative_time, truth and predictions where known.
        scale: of npho and time.
    """
    if path.suffix.lower() == ".pdf":
        save(path, display_pages(detector, events, scale))
        return
    (event,) = events
    with completed(path) as part:
        if path.suffix.lower() == ".html":
            from xecgnn.evaluation.display.space import draw_event_3d, write_html

            branches = {name: values[0] for name, values in event.columns.items()}
            write_html(draw_event_3d(detector, **_shown(event), branches=branches, scale=scale), part)
        else:
            _page(detector, event, scale).savefig(part, format="png", dpi=DPI)


def _page(detector: Detector, event: Events, scale: Scale | Literal["both"], head: str = "") -> Figure:
    filled = event[FILLED][0] if FILLED in event else None
    return draw_event(detector, **_shown(event, head), scale=scale, filled=filled)


def _shown(event: Events, head: str = "") -> dict[str, Any]:
    """What is drawn of an event: arguments of `draw_event` and `draw_event_3d`."""
    photons = {"truth": Photon.of(event), "prediction": Photon.of(event, predicted=True)}
    title = "\n".join(filter(None, [head, describe(event)]))
    return {"npho": event[NPHO][0], "time": event[RELATIVE_TIME][0], "title": title, **photons}
