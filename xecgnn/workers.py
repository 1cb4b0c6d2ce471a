"""Work ahead of a consumer, in threads or processes, in order, with a bounded number of items on their way."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import closing
from typing import TypeVar

__all__ = ["ahead", "end_with_user", "in_order", "usable_cores"]

S = TypeVar("S")
T = TypeVar("T")

GRACE = 30.0  # s


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ahead(items: Generator[T], depth: int) -> Generator[T]:
    """The same items, made in a thread while the caller works; at most `depth` of them wait, or are being made.

    An exception in `items` is raised here once. To be closed if left early: then the thread ends after its item.
    """
    end = object()
    with closing(items), ThreadPoolExecutor(1) as pool:
        waiting = [pool.submit(next, items, end) for _ in range(depth)]
        try:
            while (item := waiting.pop(0).result()) is not end:
                waiting.append(pool.submit(next, items, end))
                yield item  # type: ignore[misc]
        finally:
            for future in waiting:
                future.cancel()


def in_order(pool: Executor, function: Callable[[S], T], items: Generator[S], depth: int) -> Generator[T]:
    """`function` of each item, in the order of the items; at most `depth` wait, or are being made by the pool.

    To be closed if left early: what has not begun is cancelled.
    """
    waiting: deque[Future[T]] = deque()
    with closing(items):
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= depth:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def end_with_user(*_: object) -> None:
    """In a worker process: end with the process that uses it, also when that is killed.

    Ctrl-C, and what a cluster sends to all processes of a job, are for that process: it needs its workers to end in
    order (one that dies while it sends a result is waited for for ever), so that SIGTERM ends them only GRACE later.
    Takes and ignores what a pool tells its workers, such as their number.
    """
    for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: _in_time())
    user = multiprocessing.parent_process()
    assert user is not None

    def wait() -> None:
        user.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _in_time() -> None:
    timer = threading.Timer(GRACE, os._exit, [1])
    timer.daemon = True
    timer.start()
