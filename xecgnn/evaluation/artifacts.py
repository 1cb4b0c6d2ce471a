"""The registry of what is drawn and written of a run, a file of predictions, or several runs.

An artifact says what it needs, and draws it: `@artifact("my picture", "predictions")` above a function that is given
the source, an `EvaluatedRun` for instance, and yields names of files with their content: pages or a text. Everything
that the source has the needs for is made, also what a plugin registers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from xecgnn.evaluation.config import Style
from xecgnn.evaluation.pages.page import Content, save
from xecgnn.registry import Registry

__all__ = ["ARTIFACTS", "Artifact", "artifact", "make"]

log = logging.getLogger(__name__)

Draw = Callable[..., Iterator[tuple[str, Content]]]  # of a source, which can be of any class


class Artifact:
    """Something that is made of a source: its needs are attributes of the source, `draw` yields (file, content)."""

    def __init__(self, draw: Draw, needs: tuple[str, ...]) -> None:
        self.draw, self.needs = draw, needs
        self.__module__ = draw.__module__  # whose it is


ARTIFACTS: Registry[Artifact] = Registry(
    "artifact",
    {
        "resolution profiles": "xecgnn.evaluation.report",
        "saliency": "xecgnn.evaluation.report",
        "worst events": "xecgnn.evaluation.report",
        "training report": "xecgnn.evaluation.report",
        "inpainting": "xecgnn.evaluation.sensors",
        "validation": "xecgnn.evaluation.validation",
        "comparison": "xecgnn.evaluation.compare",
    },
)


def artifact(name: str, *needs: str) -> Callable[[Draw], Draw]:
    """Registers the function below it as the artifact of that name."""

    def register(draw: Draw) -> Draw:
        ARTIFACTS.register(name)(Artifact(draw, needs))
        return draw

    return register


def make(source: object, folder: Path, style: Style = "screen", panels: bool = False) -> list[Path]:
    """Make all artifacts of a source; returns the files. What cannot be made is told in a line of the log.

    Args:
        source: what it is made of; artifacts with needs that its class does not have are not meant for it. Those of
            ours are registered by the modules that make the sources.
        folder: where the files go.
        style: how they look.
        panels: also a PDF of each panel, with its points as CSV, in panels/.
    """
    entries = ARTIFACTS.loaded().items()
    meant = {name: entry for name, entry in entries if all(hasattr(type(source), need) for need in entry.needs)}
    missing = {name: _missing(source, entry.needs) for name, entry in meant.items()}
    for why in dict.fromkeys(filter(None, missing.values())):
        log.warning("not drawn: %s (%s)", " and ".join(name for name in missing if missing[name] == why), why)
    files = []
    for name, entry in meant.items():
        for file, content in () if missing[name] else entry.draw(source):
            files += save(folder / file, content, style, folder / "panels" if panels else None)
    return files


def _missing(source: object, needs: tuple[str, ...]) -> str:
    """Why one of the needs is not there; empty where all are."""
    try:
        for need in needs:
            getattr(source, need)
    except (OSError, ValueError) as error:
        return f"no {error.filename}" if isinstance(error, FileNotFoundError) and error.filename else str(error)
    return ""
