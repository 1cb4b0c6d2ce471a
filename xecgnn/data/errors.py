"""What is said of files: one line, once."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache

__all__ = ["BadFileError", "as_bad_file", "listed", "warn_once"]

logger = logging.getLogger(__name__)

SHOWN = 12  # names in a message


class BadFileError(ValueError):
    """A file that cannot be read at all (empty, truncated, not ROOT, no such tree): ``on_bad_file`` may skip it."""


@contextmanager
def as_bad_file(what: str) -> Iterator[None]:
    """Errors of uproot in the block, a dozen types for broken files, as one of ours in one line."""
    try:
        yield
    except BadFileError:
        raise
    except Exception as error:
        first = " ".join(str(error).split("\n\n")[0].split()).removeprefix("while reading") or type(error).__name__
        raise BadFileError(f"{what} ({first})") from error


def listed(names: Iterable[str], shown: int = SHOWN) -> str:
    """Names for a message, not more than a few of them."""
    found = list(names)
    return ", ".join(found[:shown]) + (f", ... ({len(found)} in all)" if len(found) > shown else "")


@cache
def warn_once(text: str) -> None:
    """What is found again whenever the same files are opened is said once."""
    logger.warning(text)
