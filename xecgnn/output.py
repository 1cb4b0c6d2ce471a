"""Output files: nothing is replaced unasked, a file has its name only when it is complete."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from xecgnn.lock import claim

__all__ = ["PART", "check_local", "check_new", "completed", "remove_parts", "write_text"]

log = logging.getLogger(__name__)

PART = ".part"


@contextmanager
def completed(path: Path) -> Iterator[Path]:
    """In the `with` block write to ``<path>.part``: it takes the name when the block ends, and is removed if it fails.

    An existing file is replaced only then: whoever must not replace one calls `check_new` before. What a killed process
    left of the part is written over.

    Raises:
        BlockingIOError: another process is writing it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + PART)
    with part.open("ab") as begun:
        if not claim(begun):
            raise BlockingIOError(f"{path} is being written by another process, as {part}")
        try:
            yield part
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file (UTF-8, line ends as they are) in one go."""
    with completed(path) as part:
        part.write_text(text, encoding="utf-8", newline="")


def remove_parts(*folders: Path) -> None:
    """Remove what killed processes left unfinished in folders of ours that no other process uses."""
    for part in (part for folder in folders for part in folder.glob(f"*{PART}")):
        log.info("%s: left by a process that was killed, removed", part)
        part.unlink(missing_ok=True)


def check_local(path: str | Path) -> None:
    """Raise a ValueError where a path is an address, such as `root://host//file.root` (as a path: `root:/host/...`)."""
    if address := re.match(r"(\w[\w+.-]+):/+(?=[^/])", str(path)):
        remote = f"{address[1]}://{str(path)[address.end():]}"
        raise ValueError(f"{remote}: not a file of this machine; copy it here first (xrdcp, rsync), or mount it")


def check_new(*paths: Path, overwrite: bool | None = None, option: str = "--output") -> None:
    """Raise FileExistsError where there is something of a name, unless it may be replaced; ValueError for an address.

    Unfinished files beside them that nobody is at work on are named in a line of the log.

    Args:
        paths: The outputs.
        overwrite: The setting of that name; None where a command has none.
        option: What names the outputs on the command line.
    """
    for path in paths:
        check_local(path)
    for path in () if overwrite else paths:
        if path.exists():
            remedy = "remove it, or choose another name"
            if overwrite is not None:
                remedy = f"choose another {option}, or --overwrite to replace it"
            raise FileExistsError(f"{path} exists; {remedy}")
    for part in sorted({part for path in paths for part in path.parent.glob(f"*{PART}")}):
        with suppress(OSError), part.open("ab") as file:
            if part.with_suffix("") not in paths and claim(file):
                log.info("%s: left by a process that was killed; it can be removed", part)
