"""The loop of every command that turns files into a file: reading, computing and writing overlap, memory is constant.

Files are cut into blocks where their baskets end, blocks into batches; consecutive blocks make a part of the output.
All this follows from the files alone, so that a job goes on after an interruption as if there had been none.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TypeVar

import torch

import xecgnn
from xecgnn.data.blocks import Block, cut_blocks
from xecgnn.data.config import ReaderConfig
from xecgnn.data.events import Events
from xecgnn.data.files import read_blocks
from xecgnn.data.parts import PartFiles
from xecgnn.data.reader import FileScan
from xecgnn.names import SCHEMA
from xecgnn.progress import Progress
from xecgnn.schema import Schema
from xecgnn.workers import ahead
from xecgnn.workers import in_order as ordered

__all__ = ["Job", "ahead", "batch_size", "in_batches", "in_order", "run_job"]

log = logging.getLogger(__name__)

S = TypeVar("S")
T = TypeVar("T")

BLOCK_EVENTS = 500  # events read at once: 19 MB of a MEG II file
BLOCKS_AHEAD = 2
PART_EVENTS = 5000  # at least so many events in a part; an interruption costs no more than this
CPU_BATCH, GPU_BATCH = 8, 128
BATCHES_AHEAD = 4  # computed, not yet written, beside one for each worker


@dataclass(frozen=True)
class Job:
    """What is done to the events of some files.

    Attributes:
        files: the scanned files, in the order of the output.
        config: how they are read.
        columns: what is read.
        apply: events as read -> events of the output, in the same order.
        depends_on: what the output depends on beside the files, as text by name.
        schema: what the columns are.
    """

    files: Sequence[FileScan]
    config: ReaderConfig
    columns: Sequence[str]
    apply: Callable[[Iterator[Events]], Generator[Events]]
    depends_on: Mapping[str, str] = field(default_factory=dict)
    schema: Schema = field(default_factory=lambda: SCHEMA)


def run_job(
    job: Job, output: Path, notes: Mapping[str, str], before_publishing: Callable[[Path], None] | None = None
) -> int:
    """Read, compute, write; goes on with what an interrupted job left in `<output>.parts`.

    Args:
        job: what to do.
        output: ROOT file to write.
        notes: name -> text, stored beside the tree.
        before_publishing: called with the complete file, before it gets the name `output`.

    Returns:
        Number of events in the output.

    Raises:
        FileExistsError, ValueError: as `PartFiles`; no event passes the cuts.
        BadFileError: a file cannot be read.
    """
    all_parts = dict(enumerate(_cut_parts(job.files)))
    if not all_parts:
        raise ValueError(f"none of the events in {len(job.files)} files passes the fiducial cut")
    with PartFiles(output, _signature(job)) as parts:
        todo = {part: blocks for part, blocks in all_parts.items() if not parts.done(part)}
        total, left = (sum(b.num_events for blocks in some.values() for b in blocks) for some in (all_parts, todo))
        if left < total:
            log.info("%s: going on after %d of %d events", output, total - left, total)
        try:
            # Read ahead through all parts: a part ends while the next one is on its way.
            with (
                Progress(output.name, total, done=total - left) as shown,
                closing(ahead(_read(job, todo), BLOCKS_AHEAD)) as blocks,
            ):
                for part, some in groupby(blocks, key=lambda block: block[0]):
                    read = (events for _, events in some)
                    with parts.write(part) as writer, closing(job.apply(read)) as results:
                        for events in results:
                            writer.write(events)
                            shown.advance(len(events))
        except KeyboardInterrupt:
            kept = f"The same command goes on from what is in {parts.folder}"
            log.info("\nInterrupted. %s", kept if parts.complete() else "No part was complete yet.")
            raise
        merged, total = parts.merge(notes)
        if before_publishing:
            before_publishing(merged)
        parts.publish(merged)
    return total


def in_batches(
    function: Callable[[Events], Events], events: Iterable[Events], size: int | None, on_gpu: bool
) -> Generator[Events]:
    """`function` of the events in batches, in their order, while others are read and written.

    Args:
        function: of events; called by several threads.
        events: of any sizes; not joined.
        size: of a batch; None: 8 on a CPU, where small ones stay in its caches, 128 on a GPU.
        on_gpu: `function` uses a GPU, one batch at a time. On a CPU as many are computed at the same time as PyTorch
            has threads, each on one thread: half as fast again as one batch on all threads.
    """
    size = batch_size(size, on_gpu)
    batches = (some[start : start + size] for some in events for start in range(0, len(some), size))
    workers = 1 if on_gpu else torch.get_num_threads()
    return in_order(function, batches, workers, workers + BATCHES_AHEAD)


def batch_size(size: int | None, on_gpu: bool) -> int:
    """Events in a batch of `in_batches`."""
    return size or (GPU_BATCH if on_gpu else CPU_BATCH)


def in_order(function: Callable[[S], T], items: Generator[S], workers: int, depth: int) -> Generator[T]:
    """`function` of each item in threads; several of them use one PyTorch thread each. See `workers.in_order`."""
    before = torch.get_num_threads()
    one_thread = partial(torch.set_num_threads, 1) if workers > 1 else None
    with (
        ThreadPoolExecutor(workers, initializer=one_thread) as pool,
        closing(ordered(pool, function, items, depth)) as results,
    ):
        try:
            yield from results
        finally:
            torch.set_num_threads(before)


def _read(job: Job, todo: Mapping[int, Sequence[Block]]) -> Generator[tuple[int, Events]]:
    """Part and events of each block."""
    for part, blocks in todo.items():
        for columns in read_blocks(job.files, blocks, job.columns, job.config, job.schema):
            yield part, Events(columns, job.schema)


def _cut_parts(files: Sequence[FileScan]) -> list[list[Block]]:
    """Blocks of each part of the output."""
    parts: list[list[Block]] = []
    events = PART_EVENTS
    for number, scan in enumerate(files):
        for block in cut_blocks(number, scan.baskets, BLOCK_EVENTS, scan.keep):
            if events >= PART_EVENTS:
                parts.append([])
                events = 0
            parts[-1].append(block)
            events += block.num_events
    return parts


def _signature(job: Job) -> dict[str, str]:
    """What the parts depend on. Sizes of blocks and parts belong to the version of the package."""
    signature = {"version": f"{xecgnn.__version__}, {BLOCK_EVENTS}, {PART_EVENTS}"}
    signature |= {name: str(value) for name, value in job.config.model_dump().items()} | dict(job.depends_on)
    for number, scan in enumerate(job.files):
        status = scan.path.stat()
        found = f"{status.st_size} bytes of {status.st_mtime_ns}, {scan.num_entries} events"
        signature[f"input {number}"] = f"{scan.path.resolve()} ({found})"
    return signature
