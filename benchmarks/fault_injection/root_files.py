"""Damaged ROOT files: what check, reading and a training loader make of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from fault_injection.mutations import mutated_bytes
from fault_injection.outcome import Outcome, classify
from xecgnn.data import DataConfig, EventLoader, Events, write
from xecgnn.data.check import check_files
from xecgnn.detector import Detector, load_detector
from xecgnn.schema import Schema
from xecgnn.simulation import simulate_events

EVENTS = 100
COMPRESSIONS = ("zstd", "lz4", "zlib", "none")


def outcomes(folder: Path, number: int, seed: int) -> Iterator[Outcome]:
    """Each damage, in files of all compressions in turn, is met by every reader."""
    detector = load_detector("mini")
    intact = []
    events = simulate_events(detector, EVENTS, seed=1)
    for compression in COMPRESSIONS:
        path = folder / f"{compression}.root"
        write(events, path, compression=compression)
        intact.append((compression, path.read_bytes(), {name: run(path) for name, run in _readers(detector).items()}))
    for case in range(number):
        compression, content, expected = intact[case % len(intact)]
        changed, how = mutated_bytes(content, np.random.default_rng([seed, case]))
        path = folder / "damaged.root"
        path.write_bytes(changed)
        for name, run in _readers(detector).items():
            kind, text = classify(partial(run, path), expected[name])
            yield Outcome(f"root: {name}", kind, f"number {case}, {compression}, {how}", text)


def _readers(detector: Detector) -> dict[str, Callable[[Path], list[bytes]]]:
    return {"check": partial(_check, detector), "read": _read, "load": partial(_load, detector), "copy": _copy}


def _check(detector: Detector, path: Path) -> list[bytes]:
    """A file without problems has to have the right numbers."""
    report = check_files(path, detector)
    for problem in report.problems:
        raise ValueError(f"{problem.text}, and {len(report.problems) - 1} more")
    return _read(path)


def _read(path: Path) -> list[bytes]:
    events = Events.read(path, ["reading", "truth", "identifier"])
    return [events[name].tobytes() for name in sorted(events.fields)]


def _copy(path: Path) -> list[bytes]:
    """As `xecgnn-fill` copies what it does not know."""
    copy = path.with_name("copy.root")
    write(Events.stream(path, ["other"], schema=Schema()), copy)
    return _read(copy)


def _load(detector: Detector, path: Path) -> list[bytes]:
    loader = EventLoader(path, detector, DataConfig(batch_size=50, num_workers=0), shuffle=True)
    return [batch.x.numpy().tobytes() for batch in loader]
