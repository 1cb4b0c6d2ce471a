from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from matplotlib.colors import LogNorm, to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread

from xecgnn.evaluation.artifacts import ARTIFACTS, artifact, make
from xecgnn.evaluation.config import Style
from xecgnn.evaluation.pages.curves import training_pictures
from xecgnn.evaluation.pages.page import Content, new_page, save
from xecgnn.evaluation.pages.split import points
from xecgnn.registry import Registry


class Source(NamedTuple):
    """Has a number, and a text that cannot be read."""

    number: int

    @property
    def text(self) -> str:
        raise ValueError("no text today")


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xecgnn.evaluation.artifacts.ARTIFACTS", Registry("artifact"))


@pytest.fixture
def figure() -> Figure:
    """A page with a profile of two panels, a histogram, a map with its colours, bars, and an image."""
    figure = new_page("A page", "of a test")
    upper, lower = figure.add_gridspec(2, 1)
    left, right = upper.subgridspec(1, 2)
    top, bottom = left.subgridspec(2, 1, hspace=0).subplots(sharex=True)
    top.errorbar([1.0, 2.0], [3.0, 4.0], [[0.5, 0.5], [1.0, 1.0]], [[0.25, 0.25], [0.5, 0.5]], fmt="o", label="network")
    top.set_ylabel("width")
    bottom.plot([1, 2], [0.5, np.nan], label="network")
    bottom.set(ylabel="bias", xlabel="x")
    ax = figure.add_subplot(right)
    ax.stairs([2, 3], [0, 1, 2], fill=True, alpha=0.2)
    ax.stairs([2, 3], [0, 1, 2], label="residuals")
    mapped, barred, image = lower.subgridspec(1, 3).subplots()
    mesh = mapped.pcolormesh([0, 1, 2], [0, 1], [[5.0, np.nan]], norm=LogNorm(1, 10))
    figure.colorbar(mesh, ax=mapped, label="events")
    barred.barh([0, 1], [7, 8], xerr=[1, 2])
    image.imshow([[1.0, 2.0]])
    return figure


def test_what_the_source_has_is_made_and_the_rest_is_told(
    registry: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    @artifact("a number", "number")
    def first(source: Source) -> Iterator[tuple[str, Content]]:
        yield "number.md", f"{source.number}\n"
        assert (tmp_path / "number.md").is_file()  # written before the next is drawn
        yield "deep/picture.png", [Figure()]

    @artifact("a text", "number", "text")
    def second(source: Source) -> Iterator[tuple[str, Content]]:
        yield "text.md", source.text

    @artifact("another text", "text")
    def third(source: Source) -> Iterator[tuple[str, Content]]:
        yield "other.md", source.text

    @artifact("of another kind", "events")
    def fourth(source: object) -> Iterator[tuple[str, Content]]:
        raise AssertionError

    files = make(Source(7), tmp_path)
    assert files == [tmp_path / "number.md", tmp_path / "deep/picture.png"]
    assert files[0].read_text() == "7\n"
    assert caplog.messages == ["not drawn: a text and another text (no text today)"]


def test_a_picture_of_ones_own_is_one_function(registry: None, tmp_path: Path) -> None:
    @artifact("spectrum", "number")
    def spectrum(source: Source) -> Iterator[tuple[str, Content]]:
        figure = new_page("Spectrum", "mine")
        figure.subplots().plot([0, source.number])
        yield "spectrum.pdf", [figure]

    make(Source(3), tmp_path, panels=True)
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")} == {
        "spectrum.pdf", "panels/spectrum_1_1.pdf", "panels/spectrum_1_1.csv",
    }  # fmt: skip


def test_ours_are_registered_with_what_they_need() -> None:
    names = {"resolution profiles", "saliency", "worst events", "training report"}
    assert names | {"comparison", "inpainting", "validation"} <= set(ARTIFACTS)
    assert all(entry.needs for _, entry in ARTIFACTS.items())


@pytest.mark.parametrize(("style", "ground", "ink"), [("screen", "#0e1117", "#e6e6e6"), ("paper", "white", "black")])
def test_paper_is_white_and_the_screen_dark_for_pictures(tmp_path: Path, style: Style, ground: str, ink: str) -> None:
    pages: list[Figure] = []
    for name, content in training_pictures({"loss_mean": {0: 1.0, 1: 0.5}}, "run"):
        (path,) = save(tmp_path / name, (pages.append(page) or page for page in content), style)
        np.testing.assert_allclose(imread(path)[0, 0, :3], to_rgb(ground), atol=0.002)
    assert {to_hex(page.axes[0].xaxis.label.get_color()) for page in pages} == {to_hex(ink)}


def test_a_panel_is_a_page_of_its_own_with_its_points(tmp_path: Path, figure: Figure) -> None:
    files = save(tmp_path / "page.pdf", [figure], panels=tmp_path / "panels")
    assert [path.name for path in files[1:]] == [f"page_1_{n}.{end}" for n in range(1, 6) for end in ("pdf", "csv")]
    assert all(path.stat().st_size > 20 for path in files)
    rows = [list(csv.DictReader(path.read_text().splitlines())) for path in files[2::2]]
    profile, histogram, mesh, bars, image = rows
    assert [row["series"] for row in profile] == ["width: network"] * 2 + ["bias: network"] * 2
    assert [float(value) for value in list(profile[0].values())[1:7]] == [1.0, 0.75, 1.5, 3.0, 2.5, 4.0]
    assert [(row["series"], row["x_low"], row["y"]) for row in histogram] == [
        ("residuals", "0", "2"),
        ("residuals", "1", "3"),
    ]
    assert [(row["x"], row["y"], row["value"]) for row in mesh] == [("0.5", "0.5", "5.0")]
    assert [[float(row[key]) for key in ("x", "x_low", "x_high", "y")] for row in bars] == [[7, 6, 8, 0], [8, 6, 10, 1]]
    assert [(row["x"], row["value"]) for row in image] == [("0", "1.0"), ("1", "2.0")]


def test_an_empty_panel_has_no_points() -> None:
    assert points([Figure().subplots()]).rows == []
