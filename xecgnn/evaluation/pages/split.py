"""A page taken apart: each panel as a PDF of its own, with what is drawn in it as a table of points."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import Collection, QuadMesh
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import StepPatch
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

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
    files = []
    for number, panel in enumerate(_panels(figure), start=1):
        for artist in figure.get_children():
            if artist is not figure.patch:
                artist.set_visible(artist in panel)
        for ax in panel:
            if ax.get_legend_handles_labels()[0] and not ax.get_legend() and ax is panel[0]:
                ax.legend(fontsize="small")  # the one of the page is not there
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
        artists: list[Any] = [*ax.containers, *ax.lines, *ax.patches, *ax.collections, *ax.images]
        for artist in artists:
            label = str(artist.get_label())
            series = ": ".join(filter(None, [name, "" if label.startswith("_") else label]))
            if artist not in shown:
                table.rows += [(series, *point) for point in _points(artist)]
    return table


def _panels(figure: Figure) -> list[list[Axes]]:
    """Axes that belong together: those on one x axis, with the bars of their colours."""
    bars = {ax: ax._colorbar.mappable.norm for ax in figure.axes if hasattr(ax, "_colorbar")}
    panels: list[list[Axes]] = []
    for ax in figure.axes:
        if ax not in bars and (ax.axison or ax.collections):
            mates = next((panel for panel in panels if ax.get_shared_x_axes().joined(ax, panel[0])), None)
            if mates is None:
                panels.append(mates := [])
            mates.append(ax)
    for panel in panels:
        norms = [getattr(artist, "norm", None) for ax in panel for artist in [*ax.collections, *ax.images]]
        panel += [bar for bar, norm in bars.items() if norm in norms]
    return panels


def _points(artist: Any) -> Iterator[Point]:
    if isinstance(artist, ErrorbarContainer) and artist.lines[0]:  # else those of bars
        x, y = map(np.asarray, artist.lines[0].get_data())
        ends = [np.array(bars.get_segments()) for bars in artist.lines[2]]  # [n, 2, 2] each
        x_ends = ends[0][..., 0] if artist.has_xerr else np.stack([x, x], 1)
        y_ends = ends[-1][..., 1] if artist.has_yerr else np.stack([y, y], 1)
        yield from ((x[i], *x_ends[i], y[i], *y_ends[i], "") for i in range(len(x)))
    elif isinstance(artist, BarContainer):
        ends = artist.errorbar.lines[2][0].get_segments() if artist.errorbar else [np.full((2, 2), "")] * len(artist)
        for bar, error in zip(artist, ends, strict=True):
            (left, low), (right, high) = bar.get_bbox().get_points()
            if artist.orientation == "horizontal":
                yield bar.get_width(), *error[:, 0], (low + high) / 2, low, high, ""
            else:
                yield (left + right) / 2, left, right, bar.get_height(), *error[:, 1], ""
    elif isinstance(artist, StepPatch) and not artist.get_fill():
        values, edges = map(np.asarray, artist.get_data()[:2])
        for value, low, high in zip(values, edges, edges[1:], strict=False):
            yield (low + high) / 2, low, high, value, "", "", ""
    elif isinstance(artist, QuadMesh):
        corners, values = np.asarray(artist.get_coordinates()), np.ma.filled(np.ma.asarray(artist.get_array()), np.nan)
        for i, j in np.argwhere(~np.isnan(values)):
            yield _cell(np.stack([corners[i, j], corners[i + 1, j + 1]]), values[i, j])
    elif isinstance(artist, AxesImage):
        yield from ((j, "", "", i, "", "", value) for (i, j), value in np.ndenumerate(np.asarray(artist.get_array())))
    elif isinstance(artist, Collection) and artist.get_array() is not None:
        for (x, y), value in zip(np.asarray(artist.get_offsets()), np.asarray(artist.get_array()), strict=True):
            yield x, "", "", y, "", "", value
    elif isinstance(artist, Line2D):
        yield from ((x, "", "", y, "", "", "") for x, y in np.asarray(artist.get_xydata()))


def _cell(corners: NDArray, value: float | str) -> Point:
    """A rectangle, from two of its corners (2, 2)."""
    (left, low), (right, high) = corners
    return (left + right) / 2, left, right, (low + high) / 2, low, high, value
