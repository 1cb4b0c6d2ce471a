"""What ends a process from outside: Ctrl-C, SIGTERM (`scancel`, a time limit), SIGUSR1 before it, a closed terminal."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Ended", "blocked", "handled"]

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)


class Ended(KeyboardInterrupt):
    """A signal has asked this process to end; what cleans up after Ctrl-C does so here."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def _end(number: int, _: FrameType | None) -> None:
    raise Ended(number)


@contextmanager
def handled(handler: Callable[[int, FrameType | None], None] = _end) -> Iterator[None]:
    """In the `with` block of a main thread these signals call the handler, by default one that raises `Ended`.

    Those that are ignored, as after `nohup`, stay so.
    """
    before = {number: signal.getsignal(number) for number in SIGNALS}
    here = threading.current_thread() is threading.main_thread()
    taken = {number: old or signal.SIG_DFL for number, old in before.items() if here and old != signal.SIG_IGN}
    for number in taken:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in taken.items():
            signal.signal(number, old)


@contextmanager
def blocked() -> Iterator[None]:
    """In the `with` block these signals wait; processes that are started in it never get them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
