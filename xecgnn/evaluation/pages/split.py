"""A page taken apart: each panel as a PDF of its own, with what is drawn in it as a table of points."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import Collection, QuadMesh
from matplotlib.container import BarContainer, Container, ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import StepPatch
from matplotlib.transforms import Bbox

from xecgnn.output import completed, write_text
from xecgnn.table import Table

__all__ = ["points", "save_panels"]

COLUMNS = ["series", "x", "x_low", "x_high", "y", "y_low", "y_high", "value"]
MARGIN = 0.08  # inches around a panel
Point = tuple[float | str, ...]  # x, x_low, x_high, y, y_low, y_high, value; "" where there is none


def save_panels(figure: Figure, folder: Path, stem: str) -> list[Path]:
    """Write <stem>_<n>.pdf and .csv of each panel of a page; returns the files. The page itself is of no use after."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # everything stays where it is while other panels are hidden
    for legend in figure.findobj(Legend):
        legend.set_in_layout(True)
    files = []
    for number, panel in enumerate(_panels(figure), start=1):
        for artist in figure.get_children():
            artist.set_visible(artist in [*panel, figure.patch])
        if panel[0].get_legend_handles_labels()[0] and not panel[0].get_legend():
            panel[0].legend(fontsize="small")  # the one of the page is not there
        boxes = [box for ax in panel if (box := ax.get_tightbbox())]
        area = Bbox.union(boxes).transformed(figure.dpi_scale_trans.inverted()).padded(MARGIN)
        path = folder / f"{stem}_{number}.pdf"
        with completed(path) as part:
            figure.savefig(part, format="pdf", bbox_inches=area)
        write_text(path.with_suffix(".csv"), points(panel).csv())
        files += [path, path.with_suffix(".csv")]
    return files


def points(panel: list[Axes]) -> Table:
    """What is drawn in a panel, a row per point, bin, or sensor."""
    table = Table(COLUMNS)
    panel = [ax for ax in panel if not hasattr(ax, "_colorbar")]
    for ax in panel:
        name = ax.get_ylabel() if len(panel) > 1 else ""
        shown = [bar.lines[0] for bar in ax.containers if isinstance(bar, ErrorbarContainer)]
        artists: list[Artist | Container] = [*ax.containers, *ax.lines, *ax.patches, *ax.collections, *ax.images]
        for artist in artists:
            label = str(artist.get_label())
            series = ": ".join(filter(None, [name, "" if label.startswith("_") else label]))
            if artist not in shown:
                table.rows += [(series, *point) for point in _points(artist)]
    return table


def _panels(figure: Figure) -> list[list[Axes]]:
    """Axes that belong together: those on one x axis, with the bars of their colours."""
    bars = {ax: ax._colorbar.mappable.norm for ax in figure.axes if hasattr(ax, "_colorbar")}
    panels: dict[Axes, list[Axes]] = {}  # by the first of them
    for ax in figure.axes:
        if ax not in bars and (ax.axison or ax.collections):
            first = next((first for first in panels if ax.get_shared_x_axes().joined(ax, first)), ax)
            panels.setdefault(first, []).append(ax)
    for panel in panels.values():
        norms = [getattr(artist, "norm", None) for ax in panel for artist in [*ax.collections, *ax.images]]
        panel += [bar for bar, norm in bars.items() if norm in norms]
    return [*panels.values()]


def _points(artist: Artist | Container) -> Iterator[Point]:
    match artist:
        case ErrorbarContainer() if artist.lines[0]:  # else those of bars
            x, y = map(np.asarray, artist.lines[0].get_data())
            ends = [np.array(bars.get_segments()) for bars in artist.lines[2]]  # [n, 2, 2] each
            x_ends = ends[0][..., 0] if artist.has_xerr else np.stack([x, x], 1)
            y_ends = ends[-1][..., 1] if artist.has_yerr else np.stack([y, y], 1)
            yield from ((x[i], *x_ends[i], y[i], *y_ends[i], "") for i in range(len(x)))
        case BarContainer():
            ends = (
                artist.errorbar.lines[2][0].get_segments() if artist.errorbar else [np.full((2, 2), "")] * len(artist)
            )
            for bar, error in zip(artist, ends, strict=True):
                (left, low), (right, high) = bar.get_bbox().get_points()
                if artist.orientation == "horizontal":
                    yield bar.get_width(), *error[:, 0], (low + high) / 2, low, high, ""
                else:
                    yield (left + right) / 2, left, right, bar.get_height(), *error[:, 1], ""
        case StepPatch() if not artist.get_fill():
            values, edges = map(np.asarray, artist.get_data()[:2])
            yield from (((a + b) / 2, a, b, y, "", "", "") for y, a, b in zip(values, edges, edges[1:], strict=False))
        case QuadMesh():
            x, y = np.moveaxis(np.asarray(artist.get_coordinates()), -1, 0)  # of the corners
            values = np.ma.masked_invalid(np.ma.asarray(artist.get_array()))
            for i, j in np.argwhere(~np.ma.getmaskarray(values)):
                left, right, low, high = x[i, j], x[i, j + 1], y[i, j], y[i + 1, j]
                yield (left + right) / 2, left, right, (low + high) / 2, low, high, values[i, j]
        case AxesImage():
            yield from ((j, "", "", i, "", "", v) for (i, j), v in np.ndenumerate(np.asarray(artist.get_array())))
        case Collection() if artist.get_array() is not None:
            for (x, y), value in zip(np.asarray(artist.get_offsets()), np.asarray(artist.get_array()), strict=True):
                yield x, "", "", y, "", "", value
        case Line2D():
            yield from ((x, "", "", y, "", "", "") for x, y in np.asarray(artist.get_xydata()))
