"""Reads one worker's share of an epoch: pieces of blocks into a buffer, batches out of it."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from torch.utils.data import IterableDataset, get_worker_info

from xecgnn.arrays import Rows
from xecgnn.data.batch import Readings
from xecgnn.data.blocks import Block, Piece
from xecgnn.data.buffer import EventBuffer
from xecgnn.data.config import ReaderConfig
from xecgnn.data.errors import BadFileError, warn_once
from xecgnn.data.reader import FileScan, TreeReader
from xecgnn.names import FEATURES, SCHEMA, TARGETS

__all__ = ["EventStream", "Share"]

MAX_OPEN_FILES = 16  # shuffled blocks hop between files: keep some open

# glibc hands freed memory back to the system beyond twice the largest block freed so far (at most 32 MiB count). Each
# basket would fault its pages in again, 10 per event and a third of the time: so free one such block first.
LARGE_BLOCK = 31 << 20


class Share(NamedTuple):
    """What a worker delivers: ``groups`` of pieces, less ``skip`` events at the start, in batches of ``sizes`` events.

    Each group is mixed event by event, seeded by ``seed`` and its number, or kept in order where ``seed`` is None.
    """

    groups: list[list[Piece]]
    seed: tuple[int, ...] | None
    skip: int
    sizes: Sequence[int]


class EventStream(IterableDataset[Readings]):
    """The side of :class:`EventLoader` that runs in a worker: files are opened here, not in the training process.

    The buffer is filled with a group; while its events leave in random order, pieces of the next one take the free
    rows. So reading is spread evenly over the batches, and memory stays at ``capacity`` events.

    Args:
        files: The scanned files, by number.
        blocks: All blocks, by number.
        num_sensors: S.
        columns: What to read beside npho and relative_time.
        config: How to read.
        shares: One per worker.
        capacity: Events in the buffer of a worker; exceeded only where a group and a batch need more.
    """

    def __init__(
        self,
        files: Sequence[FileScan],
        blocks: Sequence[Block],
        num_sensors: int,
        columns: Sequence[str],
        config: ReaderConfig,
        shares: Sequence[Share],
        capacity: int,
    ) -> None:
        self.files, self.blocks, self.num_sensors, self.columns = files, blocks, num_sensors, columns
        self.config, self.shares, self.capacity = config, shares, capacity
        # Those of plugins too, which a worker does not import:
        self.schema, self.targets = SCHEMA, dict(TARGETS)
        self._open: OrderedDict[int, TreeReader] = OrderedDict()

    def __iter__(self) -> Iterator[Readings | Exception]:  # type: ignore[override]
        worker = get_worker_info()
        np.empty(LARGE_BLOCK, np.uint8)
        try:
            yield from self._batches(self.shares[worker.id if worker else 0])
        except (ValueError, OSError) as error:
            yield error  # for the loader to raise: raised here, it would arrive wrapped in a worker's traceback
        finally:
            while self._open:
                self._open.popitem()[1].close()

    def _batches(self, share: Share) -> Iterator[Readings]:
        if not share.sizes:
            return
        totals = np.cumsum([sum(piece.num_events for piece in group) for group in share.groups])
        first = int(np.searchsorted(totals, share.skip, side="right"))  # groups before were delivered: not read again
        skip = share.skip - (int(totals[first - 1]) if first else 0)
        unread = deque(piece for group in share.groups[first:] for piece in group)
        # Beside the largest group there are the events of the group before that do not fill a batch.
        capacity = max(self.capacity, int(np.diff(totals, prepend=0).max()) + max(share.sizes))
        capacity = min(capacity, sum(piece.num_events for piece in unread))
        columns = [self.schema[name] for name in self.columns]
        buffer = EventBuffer(capacity, self.num_sensors, columns, self.targets)
        read: deque[Rows] = deque()  # rows of the pieces in the buffer
        sizes = deque(share.sizes)
        rows = np.empty(0, np.intp)
        for number, group in enumerate(share.groups[first:], start=first):
            while len(read) < len(group):
                read.append(self._read(unread.popleft(), buffer))
            mixed = np.concatenate([read.popleft() for _ in group])
            if share.seed is not None:
                mixed = mixed[np.random.default_rng([*share.seed, number]).permutation(len(mixed))]
            buffer.free(mixed[:skip])
            rows, skip = np.concatenate([rows, mixed[skip:]]), 0
            while sizes and sizes[0] <= len(rows):
                taken, rows = rows[: sizes[0]], rows[sizes.popleft() :]
                yield buffer.take(taken)
                while unread and unread[0].num_events <= buffer.room:
                    read.append(self._read(unread.popleft(), buffer))

    def _read(self, piece: Piece, buffer: EventBuffer) -> Rows:
        """Put the events of a piece into the buffer: one entry range, less what the cuts remove. Returns their rows."""
        block = self.blocks[piece.block]
        keep = self.files[block.file].keep
        entries = np.arange(block.start, block.stop)
        if keep is not None:
            entries = entries[keep[block.start : block.stop]]
        entries = entries[piece.start : piece.stop]
        start, stop = int(entries[0]), int(entries[-1]) + 1
        reader, rows = self._reader(block.file), buffer.reserve(len(entries))
        damaged: BadFileError | None = None
        for name in (*FEATURES, *self.columns):
            # One column at a time: only its baskets are in memory, and those of the next one take their place.
            try:
                values = reader.read_column(name, start, stop)
            except BadFileError as error:
                damaged, values = error, reader.unknown(name, stop - start)
                if self.config.on_bad_file == "stop":
                    raise
            buffer.fill(rows, name, values if stop - start == len(entries) else values[entries - start])
        if damaged:
            # The numbers of events and batches are those that all processes count on: these events stay, unknown.
            warn_once(f"skipped {damaged}")
            for name in (*FEATURES, *(n for n in self.columns if self.schema[n].kind != "identifier")):
                buffer.fill(rows, name, reader.unknown(name, len(rows)))
        return rows

    def _reader(self, file: int) -> TreeReader:
        """The open file; the one not used for longest is closed where there are too many."""
        if file not in self._open:
            if len(self._open) >= MAX_OPEN_FILES:
                self._open.popitem(last=False)[1].close()
            self._open[file] = TreeReader(self.files[file].path, self.config, self.schema)
        self._open.move_to_end(file)
        return self._open[file]
