"""Displays of events in a file: unrolled faces on paper (pdf, png), or in space for a browser (html)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from xecgnn.detector import Detector
from xecgnn.evaluation.display import draw_event
from xecgnn.evaluation.layers import Scale
from xecgnn.evaluation.pages import write_pages
from xecgnn.evaluation.photon import PREDICTED, Photon, describe
from xecgnn.names import NPHO, RELATIVE_TIME
from xecgnn.output import completed

__all__ = ["write_display"]

DPI = 200  # of png


def write_display(
    path: Path,
    detector: Detector,
    events: Sequence[Mapping[str, NDArray]],
    scale: Scale | Literal["both"] = "both",
    head: str = "",
) -> None:
    """Draw events in the format that the ending says; more than one only as PDF, a page each.

    Args:
        path: the file, replaced if it exists.
        detector: what recorded the events.
        events: the branches of each: readings (S,), truth and `pred_<truth>` (width,), what `EventLookup` finds.
        scale: of npho and time.
        head: line above what is said of each event.
    """

    def draw(function: Callable[..., Any], event: Mapping[str, NDArray], **more: Any) -> Any:
        photons = {"truth": Photon.from_columns(event), "prediction": Photon.from_columns(event, PREDICTED)}
        readings, title = (event[NPHO], event[RELATIVE_TIME]), "\n".join(filter(None, [head, describe(event)]))
        return function(detector, *readings, **photons, title=title, scale=scale, **more)

    if path.suffix.lower() == ".pdf":
        write_pages(path, (draw(draw_event, event) for event in events))
        return
    (event,) = events
    with completed(path) as part:
        if path.suffix.lower() == ".html":
            from xecgnn.evaluation.display3d import draw_event_3d, write_html

            write_html(draw(draw_event_3d, event, branches=event), part)
        else:
            draw(draw_event, event).savefig(part, format="png", dpi=DPI)
