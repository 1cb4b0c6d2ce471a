"""How far a long piece of work has come: a bar on a terminal, else a line a minute; nothing for short work."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol, TypeVar

from tqdm import tqdm

__all__ = ["Progress", "progress", "show_bars"]

log = logging.getLogger(__name__)

LINE_SECONDS = 60.0  # between two lines of a log
BAR_SECONDS = 0.5  # between two looks at the numbers beside a bar
_state = {"bars": True}


class Counted(Protocol):
    """Something with a number of events."""

    def __len__(self) -> int: ...


T = TypeVar("T", bound=Counted)


def show_bars(wanted: bool) -> None:
    """Whether this process shows bars, where it has a terminal."""
    _state["bars"] = wanted


class Progress:
    """Progress of one piece of work, in a `with` block.

    Args:
        what: names the work.
        total: of the units to do; None where it is not known.
        unit: what is counted.
        done: units done before.
    """

    def __init__(self, what: str, total: int | None, unit: str = "event", done: int = 0) -> None:
        self.what, self.total, self.unit, self.done, self._before = what, total, unit, done, done
        self._bar: Any = None
        if _state["bars"] and sys.stderr.isatty():
            self._bar = tqdm(total=total, initial=done, unit=unit, desc=what, leave=False, dynamic_ncols=True)
        self._start = time.monotonic()
        self._next = self._start + (BAR_SECONDS if self._bar else LINE_SECONDS)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.close()

    def advance(self, count: int, numbers: Callable[[], Mapping[str, float]] = dict) -> None:
        """`count` more units are done; `numbers` are read when they are shown."""
        self.done += count
        if self._bar:
            self._bar.update(count)
        now = time.monotonic()
        if now < self._next:
            return
        shown = {name: f"{value:.4g}" for name, value in numbers().items()}
        if self._bar:
            self._bar.set_postfix(shown)
            self._next = now + BAR_SECONDS
            return
        self._next = now + LINE_SECONDS
        rate = (self.done - self._before) / (now - self._start)
        parts = [f"{self.done} of {self.total} {self.unit}s" if self.total else f"{self.done} {self.unit}s"]
        parts += [f"{rate:.3g} {self.unit}s/s", *(f"{name} {value}" for name, value in shown.items())]
        if self.total and rate:
            parts.append(f"{_duration((self.total - self.done) / rate)} left")
        log.info("%s: %s", self.what, ", ".join(parts))


def progress(items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """The same items, while the progress in the events that they hold is shown; `total` as for `Progress`."""
    with Progress(what, total) as shown:
        for item in items:
            yield item
            shown.advance(len(item))


def _duration(seconds: float) -> str:
    """In words, rounded: `2 h 5 min`."""
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
