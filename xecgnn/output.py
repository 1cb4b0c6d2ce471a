"""Output files: nothing is replaced unasked, a file has its name only when it is complete."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["check_local", "check_new", "completed", "write_text"]


@contextmanager
def completed(path: Path) -> Iterator[Path]:
    """In the `with` block write to ``<path>.part``: it takes the name when the block ends, and is removed if it fails.

    An existing file is replaced only then: whoever must not replace one calls `check_new` before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file (UTF-8, line ends as they are) in one go."""
    with completed(path) as part:
        part.write_text(text, encoding="utf-8", newline="")


def check_local(path: str | Path) -> None:
    """Raise a ValueError where a path is an address, such as `root://host//file.root` (as a path: `root:/host/...`)."""
    if address := re.match(r"(\w[\w+.-]+):/+(?=[^/])", str(path)):
        remote = f"{address[1]}://{str(path)[address.end():]}"
        raise ValueError(f"{remote}: not a file of this machine; copy it here first (xrdcp, rsync), or mount it")


def check_new(*paths: Path, overwrite: bool | None = None, option: str = "--output") -> None:
    """Raise FileExistsError where there is something of a name, unless it may be replaced; ValueError for an address.

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
