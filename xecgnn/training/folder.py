"""The folder of a run: its name, who works in it, and what it holds at any moment.

At the end of an epoch the row in metrics/ comes first, then checkpoint_best, then checkpoint_last: whatever is there
after a `kill`, the newest checkpoint goes on, and epochs that are done again give the same.
"""

from __future__ import annotations

import logging
import shutil
from contextlib import ExitStack
from datetime import datetime
from itertools import count, repeat
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_only

from xecgnn.lock import Lock
from xecgnn.output import PART, remove_parts
from xecgnn.training.metrics.history import METRICS

__all__ = ["BEST", "LAST", "LOCK", "check_space", "dated", "newest_checkpoint", "open_run_folder"]

log = logging.getLogger(__name__)

BEST, LAST = "checkpoint_best", "checkpoint_last"
LOCK = "lock"
BEGUN = {"config.yaml", METRICS, LOCK, f"{BEST}.pth", f"{LAST}.pth"}  # whole or not, before the first checkpoint
COPIES = 12  # bytes on disk per byte of weights: averaged, trained, two of the optimiser; best, last and one on its way


def dated(name: str) -> str:
    """A run name of its own: name, date and time."""
    return f"{name}_{datetime.now():%Y%m%d_%H%M%S}"


def newest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint that a run goes on from, if there is one."""
    return next((path for name in (LAST, BEST) if (path := folder / f"{name}.pth").is_file()), None)


def open_run_folder(folder: Path, locks: ExitStack, new_name: bool = False, continues: bool = False) -> Path:
    """The folder of a run, made and locked by rank 0 until `locks` end; one with results in it is not begun again.

    Args:
        folder: where it is to be.
        locks: hold the lock.
        new_name: nobody chose the name: where it is taken, another one is found.
        continues: a run in it goes on.

    Raises:
        BlockingIOError: another process works in it.
        FileExistsError: a run in it has checkpoints, or there is something else in it.
    """
    if rank_zero_only.rank != 0:  # type: ignore[attr-defined]
        return folder
    names = map("{}_{}".format, repeat(folder.name), count(2))
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=not new_name)
            break
        except FileExistsError:
            if not new_name:
                raise FileExistsError(f"{folder} is no folder; choose another --run_name") from None
            folder = folder.with_name(next(names))
    locks.enter_context(Lock(folder / LOCK, folder))
    if not continues and (checkpoint := newest_checkpoint(folder)):
        hint = f"choose another --run_name, or continue it with --resume_from {checkpoint}"
        raise FileExistsError(f"{folder} exists; {hint}")
    found = {path.name for path in folder.iterdir()}
    if not continues and {name.removesuffix(PART) for name in found} - BEGUN:
        raise FileExistsError(f"{folder} exists; choose another --run_name")
    remove_parts(folder, folder / METRICS)
    if not continues and METRICS in found:
        log.info("%s: a run that did not come to a checkpoint begins again.", folder)
        shutil.rmtree(folder / METRICS)
    return folder


def check_space(folder: Path, weights: int) -> None:
    """Raise OSError where there is no room for the checkpoints of a network with so many bytes of weights."""
    needed, free = COPIES * weights, shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(f"{folder}: {free / 1e6:.0f} MB free, the checkpoints need about {needed / 1e6:.0f} MB")
