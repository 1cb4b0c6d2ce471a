"""Stream simulated events into a ROOT file."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from xecgnn.data.dead_channels import read_dead_channels
from xecgnn.data.events import Events
from xecgnn.data.writer import write
from xecgnn.detector import load_detector
from xecgnn.output import check_new
from xecgnn.simulation.config import SimulationConfig
from xecgnn.simulation.simulate import Options, simulate_blocks, simulate_deposits
from xecgnn.workers import usable_cores

__all__ = ["write_simulation"]

logger = logging.getLogger(__name__)

PROCESS_EVENTS = 1000  # from so many events on, all cores work
LIMIT_TIME = 1.3e-6  # s of a core for the limits, per event and sensor (meg2: 6 ms per event)


def write_simulation(config: SimulationConfig, progress: bool = True) -> Path:
    """Simulate and write one file as `config` says, in constant memory; returns its path.

    The file appears under its name only when it is complete.

    Raises:
        FileExistsError: the output exists and `overwrite` is not set.
    """
    check_new(config.output, overwrite=config.overwrite)
    detector = load_detector(config.detector)
    # Processes start in a second or two: not worth it for a few events.
    workers = usable_cores() if config.deposits or config.events >= PROCESS_EVENTS else 1
    options = Options(
        seed=config.seed,
        dead=read_dead_channels(config.dead_channels, detector.num_sensors) if config.dead_channels else None,
        all_branches=config.all_branches,
        limits=config.limits,
    )
    if config.deposits is not None:
        blocks, total = simulate_deposits(config.deposits, detector, workers=workers, **options), None
        what = str(config.deposits)
    else:
        options |= Options(sample=config.sample, energy=config.energies, pileup=config.pileup)
        blocks, total = simulate_blocks(detector, config.events, workers=workers, **options), config.events
        what = f"{config.sample} sample"
    if config.limits:
        each = LIMIT_TIME * detector.num_sensors
        whole = "" if total is None else f", {total * each / workers:.0f} s for {total} on {workers} cores"
        logger.info("limits take about %.1f ms more of a core per event%s", 1e3 * each, whole)
    with tqdm(total=total, unit="event", desc=config.output.name, disable=not progress) as bar:

        def shown() -> Iterator[Events]:
            for events in blocks:
                yield events
                bar.update(len(events))

        written = write(shown(), config.output, compression=config.compression)
    logger.info("%s: %d events, %s, detector %s", config.output, written, what, detector.name)
    return config.output
