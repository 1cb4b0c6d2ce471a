"""The registry of what is drawn and written of a run, a file of predictions, or several runs.

An artifact says what it needs, and draws it: `@artifact("my picture", "predictions")` above a function that is given
the source, an `EvaluatedRun` for instance, and yields names of files with their content: pages or a text. Everything
that the source has the needs for is made, also what a plugin registers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from xecgnn.evaluation.config import Style
from xecgnn.evaluation.pages.page import Content, save

__all__ = ["ARTIFACTS", "Artifact", "artifact", "make"]

log = logging.getLogger(__name__)

Draw = Callable[[Any], Iterator[tuple[str, Content]]]


class Artifact(NamedTuple):
    """Something that is made of a source: its needs are attributes of the source, `draw` yields (file, content)."""

    name: str
    needs: tuple[str, ...]
    draw: Draw


ARTIFACTS: dict[str, Artifact] = {}


def artifact(name: str, *needs: str) -> Callable[[Draw], Draw]:
    """Registers the function below it as the artifact of that name."""

    def register(draw: Draw) -> Draw:
        ARTIFACTS[name] = Artifact(name, needs, draw)
        return draw

    return register


def make(source: Any, folder: Path, style: Style = "screen", panels: bool = False) -> list[Path]:
    """Make all artifacts of a source; returns the files. What cannot be made is told in a line of the log.

    Args:
        source: what it is made of; artifacts with needs that its class does not have are not meant for it.
        folder: where the files go.
        style: how they look.
        panels: also a PDF of each panel, with its points as CSV, in panels/.
    """
    meant = [entry for entry in ARTIFACTS.values() if all(hasattr(type(source), need) for need in entry.needs)]
    missing = {entry.name: _missing(source, entry.needs) for entry in meant}
    for why in dict.fromkeys(filter(None, missing.values())):
        log.warning("not drawn: %s (%s)", " and ".join(name for name in missing if missing[name] == why), why)
    files = []
    for entry in meant:
        for name, content in () if missing[entry.name] else entry.draw(source):
            files += save(folder / name, content, style, folder / "panels" if panels else None)
    return files


def _missing(source: Any, needs: tuple[str, ...]) -> str:
    """Why one of the needs is not there; empty where all are."""
    for need in needs:
        try:
            getattr(source, need)
        except (OSError, ValueError) as error:
            return str(error)
    return ""
