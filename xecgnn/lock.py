"""Locks that end with their process, however it ends, and say who holds them."""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import sys
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import IO

__all__ = ["Lock", "claim"]

log = logging.getLogger(__name__)


class Lock:
    """A file beside what it guards, locked while a `with` block or the process lasts, and removed at its end.

    Where the file system has no locks, a warning says so and the work goes on.

    Args:
        path: the lock file; its folder exists.
        what: what it guards, for messages.
        wait: wait for the holder instead of raising.

    Raises:
        BlockingIOError: another process holds it.
    """

    def __init__(self, path: Path, what: str | Path, wait: bool = False) -> None:
        self.path, self.what, self.wait = path, what, wait
        self._file: IO[str] | None = None

    def __enter__(self) -> Lock:
        while not self._file:
            file = self.path.open("a+")
            if not claim(file, self.wait, f"see to it that nothing else writes {self.what}"):
                file.seek(0)
                holder = file.read().strip() or "another process"
                file.close()
                raise BlockingIOError(f"{self.what} is in use by {holder}")
            with suppress(FileNotFoundError):  # a holder that ended just now takes the file with it
                if os.path.samestat(os.fstat(file.fileno()), self.path.stat()):
                    self._file = file
        since, command = datetime.now().isoformat(" ", "seconds"), " ".join(sys.argv)[:200]
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()} since {since}: {command}\n")
        file.flush()
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self.path.unlink(missing_ok=True)
            self._file.close()
            self._file = None


def claim(file: IO[str] | IO[bytes], wait: bool = False, advice: str = "") -> bool:
    """Lock an open file until it is closed; False where another process has it.

    Where there are no locks it is free, with a warning that ends in `advice` if there is one.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        if advice:
            log.warning("%s: no locks on this file system (%s); %s", file.name, error.strerror, advice)
    return True
