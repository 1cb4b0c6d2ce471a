"""Speed and memory of the loader next to a bare `uproot.iterate` over the same branches.

Usage: python benchmarks/loader.py [--events 8000] [--rounds 3] [--passes 10]

Every figure comes from a fresh process that makes one pass first. Rates are events per second; `uproot.iterate` and the
loader without workers by processor time, so that other jobs on the machine do not count, and their ratio is the median
over rounds in which they take turns. Workers are timed by the clock.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uproot

from record import Recorder, add_record_option
from xecgnn.data import DataConfig, EventLoader, Events
from xecgnn.data import write as write_events
from xecgnn.detector import load_detector
from xecgnn.names import FEATURES, IDENTIFIERS
from xecgnn.simulation import simulate_events

TRUTH = ("emiAng", "energyTruth")
COLUMNS = (*FEATURES, *TRUTH, *IDENTIFIERS)
SIMULATED = 500  # events that are simulated, and repeated: a basket holds no more


def write(path: Path, events: Events, num_events: int, compression: str) -> None:
    write_events([events.select(*COLUMNS)] * (num_events // len(events)), path, compression=compression)


def make_bare(path: Path) -> Callable[[], int]:
    def one_pass() -> int:
        chunks = uproot.iterate({path: "tree"}, list(COLUMNS), library="np", step_size=SIMULATED)
        return sum(len(chunk["npho"]) for chunk in chunks)

    return one_pass


def make_loader(path: Path, workers: int) -> Callable[[], int]:
    config = DataConfig(batch_size=256, num_workers=workers, chunksize=4096)
    loader = EventLoader(path, load_detector("meg2"), config, shuffle=True, truth=TRUTH)
    return lambda: sum(len(batch) for batch in loader)


def passes(answer: Any, make: Callable[..., Callable[[], int]], arguments: tuple, count: int, clock: str) -> None:
    """Run in a fresh process: events per second after a first pass, and the peak memory in MB."""
    multiprocessing.set_start_method(None, force=True)  # a spawned process would spawn its workers, too
    one_pass = make(*arguments)
    one_pass()
    start = getattr(time, clock)()
    events = sum(one_pass() for _ in range(count - 1))
    rate = events / max(getattr(time, clock)() - start, 1e-9)
    answer.put((rate, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def measure(
    make: Callable[..., Callable[[], int]], *arguments: Any, count: int = 3, clock: str = "process_time"
) -> tuple[float, float]:
    context = multiprocessing.get_context("spawn")
    answer = context.SimpleQueue()
    process = context.Process(target=passes, args=(answer, make, arguments, count, clock))
    process.start()
    result = answer.get()
    process.join()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=8000, help="events per file")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions of each measurement")
    parser.add_argument("--passes", type=int, default=10, help="passes over the file for the memory")
    add_record_option(parser)
    options = parser.parse_args()
    record = Recorder("loader", options.record)
    events = simulate_events(load_detector("meg2"), SIMULATED)
    print("| compression | uproot.iterate | loader | ratio | loader, 1 worker | 2 workers |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for compression in ("zlib", "lz4", "zstd", "none"):
            path = Path(folder) / f"{compression}.root"
            write(path, events, options.events, compression)
            pairs = [(measure(make_bare, path)[0], measure(make_loader, path, 0)[0]) for _ in range(options.rounds)]
            rates = [statistics.median(rates) for rates in zip(*pairs, strict=True)]
            ratio = statistics.median(ours / bare for bare, ours in pairs)
            rates += [measure(make_loader, path, workers, clock="perf_counter")[0] for workers in (1, 2)]
            cells = [f"{rate:.0f}" for rate in rates]
            print("|", " | ".join([compression, *cells[:2], f"{ratio:.2f}", *cells[2:]]), "|", flush=True)
            record(f"loader over uproot.iterate, {compression}", ratio, "ratio", "higher")
        few, many = (measure(make_loader, path, 0, count=count)[1] for count in (1, options.passes))
    print(f"\npeak memory: {few:.0f} MB after 1 pass, {many:.0f} MB after {options.passes} ({many / few - 1:+.1%})")


if __name__ == "__main__":
    main()
