"""Batches of events from files larger than memory: shuffled over all files, sharded over ranks, resumable."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Iterable, Iterator
from multiprocessing import forkserver, resource_tracker
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from xecgnn.data.batch import Readings
from xecgnn.data.blocks import Block, batch_sizes, cut_blocks, deal, group_pieces, stream_order, worker_share
from xecgnn.data.config import DataConfig
from xecgnn.data.files import Paths, common_columns, scan_files
from xecgnn.data.reader import FileScan
from xecgnn.data.stream import EventStream, Share
from xecgnn.detector import Detector
from xecgnn.names import FEATURES, IDENTIFIERS, TARGETS
from xecgnn.signals import blocked
from xecgnn.workers import end_with_user

__all__ = ["EventLoader"]

logger = logging.getLogger(__name__)

BLOCK_EVENTS = 1000  # events read at once: 38 MB of a MEG II file
BLOCKS_IN_BUFFER = 16  # at least so many blocks are mixed where the baskets of the files allow
# What workers need, imported once for all of them; also what scripts import that start them, since each worker runs the
# imports of its script again where Python is older than 3.12.8 ("__main__" alone does not help there).
WORKER_IMPORTS = ("xecgnn.data.loader", "xecgnn.config", "pydantic_settings", "uproot")


class EventLoader:
    """Iterable over the batches of this rank; ``len`` is exact. One iteration is one epoch.

    Shuffling permutes blocks of entries over all files by (seed, epoch) and mixes events within the buffer. All ranks
    have the same number of batches and no event in common: with ``shuffle`` only full batches, the remainder of an
    epoch left out; without, every event in the order of the files. (Several workers take turns with batches from as
    many stretches of the files: that is file order only with one worker, or none.) The order depends on files,
    settings, seed, epoch and rank alone; the global random state is neither read nor changed.

    ``state_dict`` holds the epoch and the number of batches delivered; after ``load_state_dict`` the next iteration
    goes on with the very next batch. An iteration that was left early counts as an epoch.

    Workers live from the first batch of an iteration to the last, so that training and validation never hold theirs at
    the same time. They start as those of ``multiprocessing`` with "forkserver" do: a script that uses them runs its
    code under ``if __name__ == "__main__":``.

    Where ``on_bad_file`` is skip, events of a damaged basket come without readings and truth: no number of events or
    batches changes.

    Args:
        paths: Files, globs, directories.
        detector: Must have as many sensors as the files.
        config: Batch size, buffer, workers, and how to read.
        shuffle: Random order (training) or file order (validation).
        seed: Seed of the order.
        rank: This process.
        world_size: Number of processes that share the events.
        truth: Branches that must be there; targets among them appear in ``y``. None reads the targets that all
            files have. Identification is read where all files have it.

    Raises:
        ValueError, FileNotFoundError: As :func:`xecgnn.data.files.scan_files`; too few events for a batch on each rank.
    """

    def __init__(
        self,
        paths: Paths,
        detector: Detector,
        config: DataConfig,
        *,
        shuffle: bool,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        truth: Iterable[str] | None = None,
    ) -> None:
        if not 0 <= rank < world_size:
            raise ValueError(f"rank {rank} is not in 0 to {world_size - 1}")
        self.detector, self.config, self.shuffle, self.seed = detector, config, shuffle, seed
        self.rank, self.world_size = rank, world_size
        required = tuple(truth or ())
        self._files = scan_files(paths, (*FEATURES, *required), config, detector.num_sensors)
        optional = IDENTIFIERS if truth is not None else (*TARGETS.values(), *IDENTIFIERS)
        self._columns = tuple(dict.fromkeys((*required, *common_columns(self._files, optional))))
        self._consumers = max(1, config.num_workers)
        self._capacity = max(1, config.chunksize // self._consumers)
        target = max(1, min(BLOCK_EVENTS, self._capacity // BLOCKS_IN_BUFFER))
        self._blocks: list[Block] = []
        for number, scan in enumerate(self._files):
            self._blocks += cut_blocks(number, scan.baskets, target, scan.keep)
        self._block_events = np.array([block.num_events for block in self._blocks], dtype=np.int64)
        if not self._blocks:
            raise ValueError(f"none of the events in {len(self._files)} files passes the fiducial cut")
        self._sizes = self._rank_sizes(rank)
        self._epoch, self._batch, self._resumed = 0, 0, False

    @property
    def files(self) -> list[FileScan]:
        """What was found in the files."""
        return self._files

    @property
    def num_events(self) -> int:
        """Events in the files after cuts, those of all ranks together."""
        return int(self._block_events.sum())

    @property
    def epoch(self) -> int:
        """The current epoch, or the last one where none is running."""
        return self._epoch

    def __len__(self) -> int:
        """Batches of this rank (and of every other) in one epoch, also when an epoch is resumed in its middle."""
        return len(self._sizes)

    def __iter__(self) -> Iterator[Readings]:
        if self._batch and not self._resumed:
            self._epoch, self._batch = self._epoch + 1, 0
        return self._iterate()

    def state_dict(self) -> dict[str, Any]:
        """Position in the order of events, and the settings that this order depends on; plain numbers."""
        return {"epoch": self._epoch, "batch": self._batch, "num_batches": len(self), "order": self._order()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after the last batch delivered; at the start of that epoch where files or settings have changed."""
        self._epoch, self._batch, self._resumed = state["epoch"], state["batch"], True
        if self._batch >= state["num_batches"]:
            self._epoch, self._batch = self._epoch + 1, 0
        changed = [name for name, value in self._order().items() if state["order"].get(name) != value]
        if self._batch and changed:
            logger.warning("%s changed: epoch %d starts again", ", ".join(changed), self._epoch)
            self._batch = 0

    def _order(self) -> dict[str, Any]:
        return {
            "num_events": self.num_events,
            "batch_size": self.config.batch_size,
            "chunksize": self.config.chunksize,
            "workers": self._consumers,
            "world_size": self.world_size,
            "shuffle": self.shuffle,
            "seed": self.seed,
        }

    def _rank_sizes(self, rank: int) -> list[int]:
        return batch_sizes(self.num_events, self.config.batch_size, rank, self.world_size, drop_remainder=self.shuffle)

    def _share(self, worker: int) -> Share:
        """What is left of this epoch for one worker."""
        order = stream_order(len(self._blocks), self.shuffle, self.seed, self._epoch)
        sizes = worker_share(self._sizes, worker, self._consumers)
        start = sum(sum(self._rank_sizes(rank)) for rank in range(self.rank))
        start += sum(sum(worker_share(self._sizes, before, self._consumers)) for before in range(worker))
        pieces = list(deal(order, self._block_events, start, start + sum(sizes)))
        rounds, turn = divmod(self._batch, self._consumers)
        delivered = rounds + (worker < turn)
        return Share(
            groups=group_pieces(pieces, self._capacity - self.config.batch_size if self.shuffle else 1),
            seed=(self.seed, self._epoch, self.rank, worker) if self.shuffle else None,
            skip=sum(sizes[:delivered]),
            sizes=sizes[delivered:],
        )

    def _iterate(self) -> Iterator[Readings]:
        self._resumed = False  # here, with the first batch: Lightning makes an iterator that it does not use
        # Workers take turns, and a DataLoader always begins with its first: that one gets the share whose turn it is.
        shares = [self._share((self._batch + worker) % self._consumers) for worker in range(self._consumers)]
        capacity = self._capacity if self.shuffle else 1
        stream = EventStream(
            self._files, self._blocks, self.detector.num_sensors, self._columns, self.config, shares, capacity
        )
        source = iter(self._source(stream))
        for batch in source:
            if isinstance(batch, Exception):
                raise batch
            self._batch += 1
            if self._batch == len(self):
                next(source, None)  # ends the workers now: who counts the batches (Lightning) never asks for another
            yield batch

    def _source(self, stream: EventStream) -> Iterable[Readings | Exception]:
        if not self.config.num_workers:
            return stream
        # Not forked from here: a worker would keep a copy of every page of the training that changes after its start,
        # and with them as much memory as the training itself. The server that they are forked from has only imports.
        multiprocessing.set_forkserver_preload(["__main__", *WORKER_IMPORTS])
        resource_tracker.ensure_running()  # before: it ends with SIGTERM let through
        with blocked():  # SIGTERM to all processes of a job: the training needs its workers until it has ended in order
            forkserver.ensure_running()
        return DataLoader(
            stream,
            batch_size=None,
            num_workers=self.config.num_workers,
            multiprocessing_context="forkserver",
            worker_init_fn=end_with_user,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),  # or it would draw from the global one
        )
