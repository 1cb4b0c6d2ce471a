from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from xecgnn.data import Events
from xecgnn.data.config import ReaderConfig
from xecgnn.data.files import scan_files
from xecgnn.data.parts import stored_events
from xecgnn.data.reader import TreeReader
from xecgnn.data.writer import write
from xecgnn.inference import stream
from xecgnn.inference.stream import Job, ahead, in_batches, in_order, run_job
from xecgnn.names import FEATURES

SENSORS = 3


def counted(stop: int, made: list[int]) -> Generator[int]:
    try:
        for number in range(stop):
            made.append(number)
            yield number
    finally:
        made.append(-1)


def test_ahead_keeps_the_order_and_its_distance():
    made: list[int] = []
    items = ahead(counted(20, made), 3)
    for number, item in enumerate(items):
        assert item == number
        time.sleep(0.002)
        assert max(made) <= number + 3
    assert made == [*range(20), -1]


def test_ahead_raises_the_error_of_its_thread_once():
    def broken() -> Generator[int]:
        yield 1
        raise ValueError("broken")

    items = ahead(broken(), 2)
    assert next(items) == 1
    with pytest.raises(ValueError, match="broken"):
        next(items)
    assert list(items) == []


def test_results_of_several_workers_keep_the_order_of_the_items():
    made: list[int] = []
    together = threading.Barrier(3, timeout=20)  # passed only if three workers are at work at the same time

    def slow(number: int) -> tuple[int, int]:
        together.wait()
        time.sleep(0.01 * (number % 3))  # the first of three is done last
        return number, torch.get_num_threads()

    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for expected, found in enumerate(in_order(slow, counted(12, made), workers=3, depth=4)):
            assert found == (expected, 1)
            assert max(made) < expected + 4
        assert torch.get_num_threads() == 2
        with pytest.raises(ZeroDivisionError):
            list(in_order(lambda number: 1 // number, counted(12, made), workers=2, depth=3))
        assert made[-1] == -1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def test_ahead_ends_its_thread_when_it_is_left():
    before, made = threading.active_count(), []
    items = ahead(ahead(counted(1000, made), 2), 2)
    assert next(items) == 0
    items.close()
    assert made[-1] == -1
    assert len(made) < 10
    assert threading.active_count() == before


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Three files with baskets of 40 events: 100, 7 and 83 events."""
    folder = tmp_path / "in"
    rng = np.random.default_rng(0)
    first = 0
    for name, count in (("a", 100), ("b", 7), ("c", 83)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("xecgnn.data.writer.BASKET_EVENTS", 40)
            readings = rng.random((2, count, SENSORS), np.float32)
            number = np.arange(first, first + count)
            events = Events({"npho": readings[0], "relative_time": readings[1], "event": number})
            write(events, folder / f"{name}.root")
        first += count
    return folder


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of one basket; parts: events 0-79, 80-146, 147-189."""
    monkeypatch.setattr(stream, "BLOCK_EVENTS", 40)
    monkeypatch.setattr(stream, "PART_EVENTS", 60)


def build(folder: Path, on_batch: Callable[[int], None] = lambda number: None, **settings: str) -> Job:
    """Sums over the sensors, and the size of the batch of each event; `on_batch` gets the number of every batch."""
    config = ReaderConfig(**settings)
    numbers: Iterator[int] = iter(range(10**6))

    def compute(batch: Events) -> Events:
        on_batch(next(numbers))
        size = len(batch)
        return Events({"event": batch.event, "total": batch.npho.sum(1), "batch": np.full(size, size, np.int32)})

    def apply(stream: Iterator[Events]) -> Generator[Events]:
        return in_batches(compute, stream, 16, on_gpu=False)

    return Job(scan_files(folder, FEATURES, config), config, ("event", "npho"), apply)


def read_all(path: Path) -> dict[str, np.ndarray]:
    return dict(Events.concatenate(stored_events(path)).columns)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_interrupted_anywhere_and_resumed_is_one_pass(files: Path, tmp_path: Path, error: type[BaseException]):
    batches: list[int] = []
    assert run_job(build(files, batches.append), tmp_path / "whole.root", {}) == 190
    whole = read_all(tmp_path / "whole.root")
    np.testing.assert_array_equal(whole["event"], np.arange(190))
    for number in batches:

        def stop(batch: int, number: int = number) -> None:
            if batch == number:
                raise error

        output = tmp_path / f"{number}.root"
        with pytest.raises(error):
            run_job(build(files, stop), output, {})
        assert not output.exists()
        again: list[int] = []
        run_job(build(files, again.append), output, {})
        complete = [0, 6, 12][(number >= 6) + (number >= 12)]  # batches whose parts are done are not computed again
        assert len(again) == len(batches) - complete
        resumed = read_all(output)
        for name, values in whole.items():
            np.testing.assert_array_equal(resumed[name], values)
    assert {path.suffix for path in tmp_path.iterdir()} == {"", ".root"}  # no folder of parts is left


@pytest.mark.usefixtures("small_parts")
def test_an_interruption_says_how_to_go_on(files: Path, tmp_path: Path, caplog):
    def stop(batch: int) -> None:
        if batch == 13:
            raise KeyboardInterrupt

    caplog.set_level(logging.INFO)
    with pytest.raises(KeyboardInterrupt):
        run_job(build(files, stop), tmp_path / "out.root", {})
    assert "The same command goes on" in caplog.text
    run_job(build(files), tmp_path / "out.root", {})
    assert "going on after 147 of 190 events" in caplog.text


@pytest.mark.usefixtures("small_parts")
def test_an_early_interruption_leaves_nothing(files: Path, tmp_path: Path, caplog):
    def stop(batch: int) -> None:
        raise KeyboardInterrupt

    caplog.set_level(logging.INFO)
    with pytest.raises(KeyboardInterrupt):
        run_job(build(files, stop), tmp_path / "out.root", {})
    assert "No part was complete yet" in caplog.text
    assert list(tmp_path.iterdir()) == [files]


@pytest.mark.usefixtures("small_parts")
def test_changed_files_are_another_job(files: Path, tmp_path: Path):
    def stop(batch: int) -> None:
        if batch == 13:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_job(build(files, stop), tmp_path / "out.root", {})
    (files / "c.root").write_bytes((files / "c.root").read_bytes())
    with pytest.raises(ValueError, match=r"out\.root\.parts was begun with input 2 .*c\.root"):
        run_job(build(files), tmp_path / "out.root", {})


@pytest.mark.usefixtures("small_parts")
def test_a_block_that_cannot_be_read(files: Path, tmp_path: Path, caplog):
    content = bytearray((files / "a.root").read_bytes())
    with TreeReader(files / "a.root", ReaderConfig()) as reader:
        place = reader.tree["npho"].member("fBasketSeek")[1]
    content[place + 40 : place + 160] = bytes(120)
    (files / "a.root").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.root: cannot read entries 40 to 80") as error:
        run_job(build(files), tmp_path / "out.root", {})
    assert "\n" not in str(error.value)
    assert run_job(build(files, on_bad_file="skip"), tmp_path / "out.root", {}) == 150
    np.testing.assert_array_equal(read_all(tmp_path / "out.root")["event"], [*range(40), *range(80, 190)])
    assert "skipped" in caplog.text


def test_nothing_to_do(files: Path, tmp_path: Path):
    job = build(files)
    none = job.files[0]._replace(keep=np.zeros(100, bool))
    with pytest.raises(ValueError, match="none of the events in 1 files"):
        run_job(replace(job, files=[none]), tmp_path / "out.root", {})
    assert not list(tmp_path.glob("out*"))


def test_only_events_that_pass_the_cut(files: Path, tmp_path: Path):
    job = build(files)
    keep = np.arange(100) % 3 == 0
    run_job(replace(job, files=[job.files[0]._replace(keep=keep)]), tmp_path / "o.root", {})
    np.testing.assert_array_equal(read_all(tmp_path / "o.root")["event"], np.arange(0, 100, 3))
