"""Speed and memory of the simulation: events/s by number of processes, share of each step, peak memory of a file.

Usage: python benchmarks/simulation.py [--detector meg2] [--events 4096]
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from record import Recorder, add_record_option
from xecgnn.detector import Detector, load_detector
from xecgnn.simulation import Constants, SimulationConfig, simulate_blocks, write_simulation
from xecgnn.simulation.block import BLOCK_EVENTS
from xecgnn.simulation.light import LightModel
from xecgnn.simulation.readout import Readout, dead_mask
from xecgnn.simulation.response import PIECE_EVENTS
from xecgnn.simulation.shower import draw_showers, represent
from xecgnn.simulation.source import draw_photons
from xecgnn.simulation.volume import XenonVolume
from xecgnn.workers import usable_cores


def rate(detector: Detector, events: int, workers: int) -> tuple[float, float]:
    """Events per second of wall time, and CPU milliseconds per event in this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in simulate_blocks(detector, events, workers=workers):
        pass
    return events / (time.perf_counter() - wall), (time.process_time() - cpu) / events * 1e3


def steps(detector: Detector, blocks: int) -> dict[str, float]:
    """CPU milliseconds per event of each step, on one thread."""
    constants, rng = Constants(), np.random.default_rng(0)
    volume = XenonVolume(detector)
    light_model = LightModel(detector, volume, constants)
    readout = Readout(detector, dead_mask(detector, None), constants)
    spent = dict.fromkeys(("photons and cascades", "deposits", "light", "readout"), 0.0)
    for _ in range(blocks):
        clock = [time.thread_time()]
        photons = draw_photons(rng, detector, volume, BLOCK_EVENTS, "uniform", None, False, constants)
        _, steps = draw_showers(rng, photons, volume)
        clock.append(time.thread_time())
        showers = represent(rng, steps, len(photons), volume, constants)
        clock.append(time.thread_time())
        pieces = [slice(first, first + PIECE_EVENTS) for first in range(0, BLOCK_EVENTS, PIECE_EVENTS)]
        lit = [light_model(showers[piece]) for piece in pieces]
        clock.append(time.thread_time())
        for light, arrival in lit:
            readout(rng, light, arrival, np.arange(PIECE_EVENTS), PIECE_EVENTS)
        clock.append(time.thread_time())
        for name, duration in zip(spent, np.diff(clock), strict=True):
            spent[name] += duration * 1e3 / (blocks * BLOCK_EVENTS)
    return spent


def write(detector: str, events: int) -> None:
    """Write a file and print events/s and the peak memory of this process."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        output = Path(folder) / "events.root"
        write_simulation(SimulationConfig(detector=detector, events=events, output=output))
        seconds, size = time.perf_counter() - start, output.stat().st_size
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{events:6d} events to ROOT (zstd): {events / seconds:6.0f} events/s, "
          f"{size / events / 1e3:5.1f} kB/event, peak memory {peak:5.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--detector", default="meg2")
    parser.add_argument("--events", type=int, default=4096)
    parser.add_argument("--write-only", action="store_true", help=argparse.SUPPRESS)
    add_record_option(parser)
    options = parser.parse_args()
    if options.write_only:
        write(options.detector, options.events)
        return
    detector, record = load_detector(options.detector), Recorder("simulation", options.record)
    for workers in sorted({1, usable_cores()}):
        per_second, cpu = rate(detector, options.events, workers)
        print(f"{workers} processes: {per_second:6.0f} events/s, {cpu:.2f} ms CPU per event")
        record(f"{detector.name}, {options.events} events, {workers} processes", per_second, "events/s", "higher")
    for name, milliseconds in steps(detector, 2).items():
        print(f"  {name:20s} {milliseconds:5.2f} ms")
        record(f"{detector.name}, {name}", milliseconds, "ms", "lower")
    for events in (options.events, 10 * options.events):  # a process each: peak memory is never given back
        command = [sys.executable, __file__, "--write-only", "--detector", options.detector, "--events", str(events)]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
