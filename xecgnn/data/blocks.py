"""The order of events in an epoch: pure functions of sizes, seed and position, so that any process can work it out.

A *block* is an entry range of one file, cut where its baskets end. Blocks, permuted by (seed, epoch) and laid end to
end, are the stream of an epoch. Each worker of each rank takes a contiguous stretch with exactly the events of its
batches, as *pieces* of blocks; a *group* is as many pieces as its shuffle buffer holds, mixed event by event.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from xecgnn.arrays import Bools, Ints

__all__ = ["Block", "Piece", "batch_sizes", "cut_blocks", "deal", "group_pieces", "stream_order", "worker_share"]


class Block(NamedTuple):
    """Entries ``start`` to ``stop`` of a file, of which ``num_events`` pass the cuts."""

    file: int
    start: int
    stop: int
    num_events: int


class Piece(NamedTuple):
    """Events ``start`` to ``stop`` of a block, counted after the cuts."""

    block: int
    start: int
    stop: int

    @property
    def num_events(self) -> int:
        return self.stop - self.start


def cut_blocks(file: int, baskets: Ints, target: int, keep: Bools | None = None) -> list[Block]:
    """Cut a file into blocks of at most ``target`` entries, or of one basket where a basket is larger.

    A basket is decompressed as a whole, so that no block may share one. Blocks without events are left out.

    Args:
        file: Number of the file.
        baskets: First entry of each basket and the end of the last one, ascending.
        keep: (entries,) events that pass the cuts; None = all.
    """
    edges = baskets.tolist()
    blocks, start = [], edges[0]
    for edge, following in zip(edges[1:], [*edges[2:], np.inf], strict=True):
        if following - start > target and edge > start:
            count = edge - start if keep is None else int(np.count_nonzero(keep[start:edge]))
            blocks.append(Block(file, start, edge, count))
            start = edge
    return [block for block in blocks if block.num_events]


def batch_sizes(num_events: int, batch_size: int, rank: int, world_size: int, drop_remainder: bool) -> list[int]:
    """Events in each batch of a rank; every rank has the same number of batches.

    With ``drop_remainder`` all batches are full and fewer than ``world_size * batch_size`` events are left out.
    Without, every event is in one batch of one rank: full batches and a last smaller one (or two, where another rank
    needs one batch more).

    Raises:
        ValueError: Too few events for one batch on each rank.
    """
    if drop_remainder:
        if num_events < world_size * batch_size:
            wanted = f"batch_size {batch_size}" + (f" on each of {world_size} ranks" if world_size > 1 else "")
            raise ValueError(f"{num_events} events do not fill one batch: {wanted}; choose a smaller batch_size")
        return [batch_size] * (num_events // (world_size * batch_size))
    share, extra = divmod(num_events, world_size)
    num_batches = -(-(share + (extra > 0)) // batch_size)
    remaining = share + (rank < extra)
    if remaining < num_batches:
        raise ValueError(f"{num_events} events cannot be spread over {world_size} ranks in batches of {batch_size}")
    sizes = []
    for left in range(num_batches - 1, -1, -1):
        sizes.append(min(batch_size, remaining - left))
        remaining -= sizes[-1]
    return sizes


def worker_share(sizes: Sequence[int], worker: int, num_workers: int) -> Sequence[int]:
    """The consecutive batches of a worker: as many as it delivers when workers take turns, the first one beginning."""
    share, extra = divmod(len(sizes), num_workers)
    start = worker * share + min(worker, extra)
    return sizes[start : start + share + (worker < extra)]


def stream_order(num_blocks: int, shuffle: bool, seed: int, epoch: int) -> Ints:
    """Order of the blocks in an epoch: a permutation by seed and epoch, or that of the files."""
    return np.random.default_rng([seed, epoch]).permutation(num_blocks) if shuffle else np.arange(num_blocks)


def deal(order: Ints, block_events: Ints, start: int, stop: int) -> Iterator[Piece]:
    """Pieces of the blocks that make up events ``start`` to ``stop`` of the stream.

    Args:
        order: (num_blocks,) blocks in the order of the stream.
        block_events: (num_blocks,) events of each block, by block number.
    """
    ends = np.cumsum(block_events[order])
    first = int(np.searchsorted(ends, start, side="right")) if start < stop else len(order)
    for index in range(first, len(order)):
        block, end = int(order[index]), int(ends[index])
        begin = end - int(block_events[block])
        if begin >= stop:
            break
        yield Piece(block, max(start - begin, 0), min(stop, end) - begin)


def group_pieces(pieces: Sequence[Piece], capacity: int) -> list[list[Piece]]:
    """Consecutive pieces in groups of at most ``capacity`` events, or of a single larger piece."""
    groups: list[list[Piece]] = []
    filled = 0
    for piece in pieces:
        if not groups or filled + piece.num_events > capacity:
            groups.append([])
            filled = 0
        groups[-1].append(piece)
        filled += piece.num_events
    return groups
