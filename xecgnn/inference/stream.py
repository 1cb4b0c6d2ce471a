"""The loop of every command that turns files into a file: reading, computing and writing overlap, memory is constant.

Files are cut into blocks where their baskets end, blocks into batches; consecutive blocks make a part of the output.
All this follows from the files alone, so that a job goes on after an interruption as if there had been none.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from tqdm import tqdm

import xecgnn
from xecgnn.data.blocks import Block, cut_blocks
from xecgnn.data.config import ReaderConfig
from xecgnn.data.parts import Layout, PartFiles
from xecgnn.data.reader import BadFileError, FileScan, TreeReader
from xecgnn.workers import ahead
from xecgnn.workers import in_order as ordered

__all__ = ["Columns", "Job", "ahead", "file_hash", "in_order", "run_job"]

log = logging.getLogger(__name__)

S = TypeVar("S")
T = TypeVar("T")
Columns = dict[str, np.ndarray]  # name -> (E,) or (E, width)

BLOCK_EVENTS = 500  # events read at once: 19 MB of a MEG II file
PART_EVENTS = 5000  # at least so many events in a part; an interruption costs no more than this
CPU_BATCH, GPU_BATCH = 8, 128
BATCHES_AHEAD = 4  # computed, not yet written, beside one for each worker


class Result(NamedTuple):
    """Some events of a part of the output; None marks its end."""

    part: int
    columns: Columns | None


@dataclass(frozen=True)
class Job:
    """What is done to the events of some files.

    Attributes:
        files: the scanned files, in the order of the output.
        config: how they are read.
        batch_size: events per call of `compute`; None: 8 on a CPU, where small ones stay in its caches, 128 on a GPU.
        read: (open file, start, stop) -> columns of these entries.
        compute: columns of a batch -> columns of the output; called by several threads.
        layout: branches of the output.
        depends_on: what the output depends on beside the files, as text by name.
        on_gpu: `compute` uses a GPU, one batch at a time. On a CPU as many are computed at the same time as PyTorch has
            threads, each on one thread: half as fast again as one batch on all threads.
    """

    files: Sequence[FileScan]
    config: ReaderConfig
    batch_size: int | None
    read: Callable[[TreeReader, int, int], Columns]
    compute: Callable[[Columns], Columns]
    layout: Layout
    depends_on: Mapping[str, str] = field(default_factory=dict)
    on_gpu: bool = False


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
    with PartFiles(output, job.layout, _signature(job)) as parts:
        todo = {part: blocks for part, blocks in all_parts.items() if not parts.done(part)}
        total, left = (sum(b.num_events for blocks in some.values() for b in blocks) for some in (all_parts, todo))
        if left < total:
            log.info("%s: going on after %d of %d events", output, total - left, total)
        # A line that moves is for people: nothing where the output is not a terminal.
        bar = tqdm(total=total, initial=total - left, unit="event", desc=output.name, disable=None)
        try:
            with bar, closing(_results(job, todo)) as results:
                _write(results, parts, bar)
        except KeyboardInterrupt:
            kept = f"The same command goes on from what is in {parts.folder}"
            log.info("\nInterrupted. %s", kept if parts.complete() else "No part was complete yet.")
            raise
        merged, events = parts.merge(notes)
        if before_publishing:
            before_publishing(merged)
        parts.publish(merged)
    return events


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


def _results(job: Job, todo: Mapping[int, Sequence[Block]]) -> Generator[Result]:
    """Columns of the output batch by batch: one thread reads, the workers compute, the caller writes."""

    def compute(batch: Result) -> Result:
        return batch if batch.columns is None else Result(batch.part, job.compute(batch.columns))

    workers = 1 if job.on_gpu else torch.get_num_threads()
    return in_order(compute, _batches(job, ahead(_read(job, todo), 1)), workers, workers + BATCHES_AHEAD)


def _write(results: Iterable[Result], parts: PartFiles, bar: tqdm) -> None:
    for part, batches in groupby(results, key=lambda result: result.part):
        with parts.write(part) as writer:
            for _, columns in batches:
                if columns is None:  # complete: it gets its name before the next part is waited for
                    break
                writer.write(columns)
                bar.update(_size(columns))


def _batches(job: Job, blocks: Generator[Result]) -> Generator[Result]:
    with closing(blocks):
        for part, columns in blocks:
            if columns is None:
                yield Result(part, None)
                continue
            for start in range(0, _size(columns), _batch_size(job)):
                rows = slice(start, start + _batch_size(job))
                yield Result(part, {name: values[rows] for name, values in columns.items()})


def _read(job: Job, todo: Mapping[int, Sequence[Block]]) -> Generator[Result]:
    for part, blocks in todo.items():
        empty = True
        for columns in _read_blocks(job, blocks):
            yield Result(part, columns)
            empty = False
        if not empty:
            yield Result(part, None)


def _read_blocks(job: Job, blocks: Sequence[Block]) -> Iterator[Columns]:
    """Columns of each block after the cuts; one that cannot be read is left out where the settings say so."""
    for file, some in groupby(blocks, key=lambda block: block.file):
        scan = job.files[file]
        with TreeReader(scan.path, job.config) as reader:
            for block in some:
                try:
                    columns = job.read(reader, block.start, block.stop)
                except BadFileError as error:
                    if job.config.on_bad_file == "stop":
                        raise
                    log.warning("skipped %s", error)
                    continue
                keep = slice(None) if scan.keep is None else scan.keep[block.start : block.stop]
                yield {name: values[keep] for name, values in columns.items()}


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


def _batch_size(job: Job) -> int:
    return job.batch_size or (GPU_BATCH if job.on_gpu else CPU_BATCH)


def _size(columns: Columns) -> int:
    return len(next(iter(columns.values())))


def _signature(job: Job) -> dict[str, str]:
    """What the parts depend on. Sizes of blocks and parts belong to the version of the package."""
    signature = {"version": f"{xecgnn.__version__}, {BLOCK_EVENTS}, {PART_EVENTS}", "batch": str(_batch_size(job))}
    signature |= {name: str(value) for name, value in job.config.model_dump().items()} | dict(job.depends_on)
    for number, scan in enumerate(job.files):
        status = scan.path.stat()
        found = f"{status.st_size} bytes of {status.st_mtime_ns}, {scan.num_entries} events"
        signature[f"input {number}"] = f"{scan.path.resolve()} ({found})"
    return signature


def file_hash(path: Path) -> str:
    """SHA-256 of a file (hex), as `sha256sum` prints it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
