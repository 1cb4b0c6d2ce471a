"""The reading of sensor 0 and the branch `event` both carry the number of the event: what arrives can be identified."""

from __future__ import annotations

import logging
import multiprocessing
import os
import subprocess
import sys
from itertools import chain

import numpy as np
import psutil
import pytest
import torch

from xecgnn.data import BadFileError, DataConfig, EventLoader, Events, write
from xecgnn.data.reader import TreeReader
from xecgnn.names import SCHEMA, TARGETS
from xecgnn.schema import Column

COUNTS = (700, 51, 450)
TOTAL = sum(COUNTS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, mini):
    path = tmp_path_factory.mktemp("loader")
    first = 0
    for number, count in enumerate(COUNTS):
        events = np.arange(first, first + count)
        npho = np.zeros((count, mini.num_sensors), np.float32) + np.arange(mini.num_sensors, dtype=np.float32) / 1000
        npho += events[:, None]
        columns = {
            "npho": npho,
            "relative_time": -npho,
            "emiAng": np.stack([events, -events], 1),
            "uvwTruth": np.stack([events % 40, 0 * events, 0 * events], 1),
            "event": events,
        }
        write(Events(columns), path / f"{number}.root", compression="zlib")
        first += count
    return path


@pytest.fixture
def make(folder, mini):
    def loader(*, shuffle=True, seed=0, rank=0, world_size=1, truth=("emiAng",), **settings):
        config = DataConfig(**{"batch_size": 64, "chunksize": 400, "num_workers": 0} | settings)
        return EventLoader(
            folder, mini, config, shuffle=shuffle, seed=seed, rank=rank, world_size=world_size, truth=truth
        )

    return loader


def flat(batches) -> list[int]:
    return list(chain.from_iterable(batches))


def epoch(loader) -> list[list[int]]:
    return [batch.event.tolist() for batch in loader]


def test_every_batch_holds_whole_events(make, mini):
    for batch in make():
        event = batch.event.numpy()
        assert len(batch) == 64
        np.testing.assert_array_equal(batch.y["angle"].numpy(), np.stack([event, -event], 1))
        x = batch.x.numpy()
        np.testing.assert_allclose(x[..., 0], event[:, None] + np.arange(mini.num_sensors) / 1000, rtol=1e-6)
        np.testing.assert_array_equal(x[..., 1], -x[..., 0])


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_shuffled_epochs(make, workers):
    loader = make(num_workers=workers)
    epochs = [epoch(loader), epoch(loader)]
    assert loader.num_events == TOTAL
    for batches in epochs:
        assert len(batches) == len(loader) == TOTAL // 64
        assert {len(batch) for batch in batches} == {64}
        assert len(set(flat(batches))) == TOTAL // 64 * 64
    assert epochs[0] != epochs[1]
    assert [epoch(loader) for loader in [make(num_workers=workers)] for _ in range(2)] == epochs
    assert epoch(make(num_workers=workers, seed=1)) != epochs[0]


def test_a_batch_mixes_events_of_distant_blocks(make):
    loader = make(chunksize=2000)
    spread = [np.std(batch) for batch in epoch(loader)]
    assert min(spread) > 0.5 * np.std(np.arange(TOTAL))


@pytest.mark.parametrize("workers", [0, 1])
def test_file_order_delivers_everything(make, workers):
    loader = make(shuffle=False, num_workers=workers)
    for _ in range(2):
        batches = epoch(loader)
        assert flat(batches) == list(range(TOTAL))
        assert len(batches) == len(loader)
        assert [len(batch) for batch in batches] == [64] * 18 + [TOTAL - 18 * 64]


def test_several_workers_deliver_everything_in_stretches(make):
    batches = epoch(make(shuffle=False, num_workers=2))
    assert sorted(flat(batches)) == list(range(TOTAL))
    assert flat(batches[::2]) == list(range(10 * 64))


@pytest.mark.parametrize("world_size", [2, 3])
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("workers", [0, 2])
def test_ranks_share_the_events(make, world_size, shuffle, workers):
    options = {"shuffle": shuffle, "world_size": world_size, "num_workers": workers}
    ranks = [epoch(make(rank=rank, **options)) for rank in range(world_size)]
    assert {len(batches) for batches in ranks} == {len(make(rank=0, **options))}
    events = [event for batches in ranks for batch in batches for event in batch]
    assert len(events) == len(set(events))
    assert len(events) == (TOTAL // (64 * world_size) * 64 * world_size if shuffle else TOTAL)


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize(("workers", "done"), [(0, 0), (0, 1), (0, 6), (0, 17), (2, 5)])
def test_resume_goes_on_with_the_next_batch(make, workers, shuffle, done):
    reference = make(num_workers=workers, shuffle=shuffle)
    expected = [epoch(reference), epoch(reference), epoch(reference)]
    interrupted = make(num_workers=workers, shuffle=shuffle)
    epoch(interrupted)
    iterator = iter(interrupted)
    for _ in range(done):
        next(iterator)
    resumed = make(num_workers=workers, shuffle=shuffle)
    resumed.load_state_dict(interrupted.state_dict())
    assert [epoch(resumed), epoch(resumed)] == [expected[1][done:], expected[2]]
    assert len(resumed) == len(expected[1])


def test_resume_at_the_end_of_an_epoch_begins_the_next(make):
    reference = make()
    state = (epoch(reference), reference.state_dict())[1]
    resumed = make()
    resumed.load_state_dict(state)
    assert epoch(resumed) == epoch(reference)


@pytest.mark.parametrize("shuffle", [True, False])
def test_resume_does_not_read_what_was_delivered(make, monkeypatch, shuffle):
    loader = make(shuffle=shuffle, chunksize=200)
    read, original = [], TreeReader.read_column
    monkeypatch.setattr(TreeReader, "read_column", lambda *args: read.append(args[3] - args[2]) or original(*args))
    epoch(loader)
    whole = sum(read)
    assert whole < 1.5 * TOTAL * 4  # npho, relative_time, emiAng, event
    loader.load_state_dict(loader.state_dict() | {"batch": 16})
    read.clear()
    epoch(loader)
    assert sum(read) < 0.6 * whole


def test_resume_with_other_settings_starts_the_epoch_again(make, caplog):
    state = make(batch_size=32).state_dict() | {"epoch": 2, "batch": 5}
    loader = make()
    with caplog.at_level(logging.WARNING):
        loader.load_state_dict(state)
    assert [record.message for record in caplog.records] == ["batch_size changed: epoch 2 starts again"]
    assert len(epoch(loader)) == len(loader)
    assert loader.epoch == 2


def test_an_iteration_left_early_counts_as_an_epoch(make):
    reference = make()
    epochs = [epoch(reference), epoch(reference)]
    loader = make()
    assert next(iter(loader)).event.tolist() == epochs[0][0]
    assert epoch(loader) == epochs[1]


@pytest.mark.parametrize("workers", [0, 1])
def test_the_global_random_state_is_left_alone(make, workers):
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    epoch(make(num_workers=workers))
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == np.random.get_state()[1].tolist()  # noqa: NPY002


@pytest.mark.parametrize("shuffle", [True, False])
def test_workers_start_without_our_memory_and_end_with_the_last_batch(make, shuffle):
    for _ in range(2):
        loader = make(num_workers=2, shuffle=shuffle)
        batches = iter(loader)
        next(batches)
        workers = multiprocessing.active_children()
        assert len(workers) == 2
        # Forked from this process they would hold a copy of each of its pages that changes from now on.
        assert os.getpid() not in {psutil.Process(worker.pid).ppid() for worker in workers}
        for _ in range(len(loader) - 1):
            next(batches)
        assert not multiprocessing.active_children()  # though nobody asked for one batch more


def test_workers_end_where_the_training_is_killed(folder, tmp_path):
    script = tmp_path / "killed.py"
    script.write_text(
        "import multiprocessing, os, signal, sys\n"
        "from xecgnn.data import DataConfig, EventLoader\n"
        "from xecgnn.detector import load_detector\n"
        "if __name__ == '__main__':\n"
        "    config = DataConfig(batch_size=8, num_workers=2)\n"
        "    batches = iter(EventLoader(sys.argv[1], load_detector('mini'), config, shuffle=True))\n"
        "    next(batches)\n"
        "    print(*[worker.pid for worker in multiprocessing.active_children()], flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    with subprocess.Popen([sys.executable, str(script), str(folder)], stdout=subprocess.PIPE, text=True) as process:
        ids = process.stdout.readline().split()
    assert len(ids) == 2
    workers = [psutil.Process(int(number)) for number in ids if psutil.pid_exists(int(number))]
    assert not psutil.wait_procs(workers, timeout=60)[1]


@pytest.mark.parametrize("shuffle", [True, False])
def test_fiducial_cut_keeps_the_length_exact(make, shuffle):
    loader = make(fiducial=True, shuffle=shuffle)
    passing = [event for event in range(TOTAL) if event % 40 < 23.9]
    batches = epoch(loader)
    assert loader.num_events == len(passing)
    assert len(batches) == len(loader)
    assert set(flat(batches)) <= set(passing)
    assert shuffle or flat(batches) == passing


def test_truth_by_default_is_what_the_files_have(make):
    assert set(next(iter(make(truth=None))).y) == {"angle", "uvwFI"}
    assert set(next(iter(make(truth=()))).y) == set()
    with pytest.raises(ValueError, match="no branch 'energyTruth'; branches: npho, relative_time, emiAng"):
        make(truth=("energyTruth",))


def test_wrong_settings(make, folder, meg2):
    with pytest.raises(ValueError, match="1201 events do not fill one batch: batch_size 601 on each of 2 ranks"):
        make(batch_size=601, world_size=2)
    with pytest.raises(ValueError, match="rank 2 is not in 0 to 1"):
        make(rank=2, world_size=2)
    with pytest.raises(ValueError, match="the detector has 4760"):
        EventLoader(folder, meg2, DataConfig(), shuffle=False)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_file_that_breaks_while_it_is_read_is_named_in_one_line(make, folder, tmp_path, mini, workers):
    for path in folder.glob("*.root"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    content = bytearray((tmp_path / "2.root").read_bytes())
    middle = slice(len(content) * 2 // 5, len(content) * 3 // 5)
    content[middle] = bytes(len(content[middle]))
    (tmp_path / "2.root").write_bytes(content)
    loader = EventLoader(tmp_path, mini, DataConfig(batch_size=64, num_workers=workers), shuffle=False)
    with pytest.raises(BadFileError, match=r"2\.root: cannot read entries") as caught:
        epoch(loader)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("column", [Column("doseTruth", "truth"), Column("doseTruth", "truth", "float32", 3, "Gy")])
def test_a_target_of_a_plugin(mini, tmp_path, monkeypatch, workers, column):
    """Declared in this process alone, with width and type or without them."""
    monkeypatch.setitem(SCHEMA._columns, "doseTruth", column)
    monkeypatch.setitem(TARGETS, "dose", "doseTruth")
    events = np.arange(100)
    dose = events[:, None] + np.arange(3) / 8
    dose[7] = 1e10
    readings = np.zeros((100, mini.num_sensors), np.float32)
    columns = {"npho": readings, "relative_time": readings, "doseTruth": dose, "event": events}
    write(Events(columns), tmp_path / "a.root")
    config = DataConfig(batch_size=8, chunksize=40, num_workers=workers)
    batches = list(EventLoader(tmp_path, mini, config, shuffle=True, truth=["doseTruth"]))
    dose[7] = np.nan
    assert len(batches) == 12
    for batch in batches:
        assert batch.y["dose"].dtype == torch.float32
        np.testing.assert_array_equal(batch.y["dose"].numpy(), dose[batch.event.numpy()])
