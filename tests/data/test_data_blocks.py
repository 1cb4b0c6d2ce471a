from __future__ import annotations

from itertools import chain, pairwise

import numpy as np
import pytest

from xecgnn.data.blocks import Piece, batch_sizes, cut_blocks, deal, group_pieces, stream_order, worker_share


@pytest.mark.parametrize("step", [1, 7, 500, 5000])
@pytest.mark.parametrize("target", [1, 100, 1000])
def test_blocks_end_at_baskets_and_stay_small(step, target):
    baskets = np.append(np.arange(0, 3210, step), 3210)
    blocks = cut_blocks(4, baskets, target)
    assert [block.start for block in blocks] == [0, *(block.stop for block in blocks[:-1])]
    assert blocks[-1].stop == 3210
    assert {block.stop for block in blocks} <= set(baskets.tolist())
    assert all(block.file == 4 and block.num_events == block.stop - block.start for block in blocks)
    assert max(block.num_events for block in blocks) <= max(target, step)


def test_blocks_count_the_events_that_pass():
    keep = np.arange(100) >= 50
    blocks = cut_blocks(0, np.arange(0, 101, 20), 20, keep)
    assert [(block.start, block.num_events) for block in blocks] == [(40, 10), (60, 20), (80, 20)]


@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
@pytest.mark.parametrize("num_events", [64, 65, 95, 96, 128, 1000])
def test_every_rank_has_the_same_number_of_batches(num_events, world_size):
    for drop in (True, False):
        ranks = [batch_sizes(num_events, 8, rank, world_size, drop) for rank in range(world_size)]
        assert len({len(sizes) for sizes in ranks}) == 1
        assert all(1 <= size <= 8 for sizes in ranks for size in sizes)
        total = sum(map(sum, ranks))
        assert total == num_events if not drop else num_events - total < 8 * world_size
        assert not drop or {size for sizes in ranks for size in sizes} == {8}


def test_one_rank_gets_full_batches_and_the_rest():
    assert batch_sizes(1000, 256, 0, 1, drop_remainder=False) == [256, 256, 256, 232]


@pytest.mark.parametrize(("events", "drop"), [(15, True), (1, False), (0, False)])
def test_too_few_events(events, drop):
    if not events:
        assert batch_sizes(0, 8, 0, 1, False) == []
        return
    with pytest.raises(ValueError, match=f"{events} events"):
        batch_sizes(events, 8, 1, 2, drop)


@pytest.mark.parametrize("num_batches", [0, 1, 5, 6, 7])
def test_workers_taking_turns_deliver_all_batches(num_batches):
    sizes = list(range(num_batches))
    shares = [list(worker_share(sizes, worker, 3)) for worker in range(3)]
    assert list(chain(*shares)) == sizes
    assert [len(share) for share in shares] == [len(range(worker, num_batches, 3)) for worker in range(3)]


def test_stretches_of_the_stream_tile_it():
    rng = np.random.default_rng(0)
    events = rng.integers(1, 30, 40)
    order = stream_order(40, True, 1, 2)
    whole = list(deal(order, events, 0, int(events.sum())))
    assert whole == [Piece(int(block), 0, int(events[block])) for block in order]
    cuts = [0, 0, 1, 17, 18, 200, 201, 555, int(events.sum())]
    seen = []
    for start, stop in pairwise(cuts):
        pieces = list(deal(order, events, start, stop))
        assert sum(piece.num_events for piece in pieces) == stop - start
        assert all(piece.num_events > 0 for piece in pieces)
        seen += [(piece.block, event) for piece in pieces for event in range(piece.start, piece.stop)]
    assert seen == [(piece.block, event) for piece in whole for event in range(piece.stop)]


def test_order_depends_on_seed_and_epoch_only():
    orders = {(seed, epoch): tuple(stream_order(50, True, seed, epoch)) for seed in range(3) for epoch in range(3)}
    assert len(set(orders.values())) == 9
    assert tuple(stream_order(50, True, 2, 1)) == orders[2, 1]
    assert tuple(stream_order(50, False, 2, 1)) == tuple(range(50))


def test_groups_keep_order_and_capacity():
    pieces = [Piece(i, 0, size) for i, size in enumerate([3, 3, 3, 20, 1, 9, 1])]
    groups = group_pieces(pieces, 10)
    assert list(chain(*groups)) == pieces
    assert [[piece.block for piece in group] for group in groups] == [[0, 1, 2], [3], [4, 5], [6]]
