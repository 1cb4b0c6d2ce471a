"""Stream simulated events into a ROOT file."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path

import xecgnn
from xecgnn.data.config import ReaderConfig
from xecgnn.data.dead_channels import read_dead_channels
from xecgnn.data.reader import TreeReader
from xecgnn.data.writer import write
from xecgnn.detector import load_detector
from xecgnn.output import check_new
from xecgnn.progress import progress
from xecgnn.simulation.config import SimulationConfig
from xecgnn.simulation.simulate import Options, simulate_blocks, simulate_deposits
from xecgnn.workers import usable_cores

__all__ = ["write_simulation"]

logger = logging.getLogger(__name__)

PROCESS_EVENTS = 1000  # from so many events on, all cores work
LIMIT_TIME = 1.3e-6  # s of a core for the limits, per event and sensor (meg2: 6 ms per event)


def write_simulation(config: SimulationConfig) -> Path:
    """Simulate and write one file as `config` says, in constant memory; returns its path.

    The file appears under its name only when it is complete. The same call again finds it and leaves it as it is.

    Raises:
        FileExistsError: the output exists, comes from other settings, and `overwrite` is not set.
    """
    settings = json.dumps(config.model_dump(mode="json", exclude={"output", "overwrite"}))
    notes = {"made by": f"xecgnn-simulate {xecgnn.__version__}", "settings": settings}
    if not config.overwrite and config.output.is_file() and _holds(config.output, notes):
        logger.info("%s: already there, complete, from the same settings", config.output)
        return config.output
    check_new(config.output, overwrite=config.overwrite)
    detector = load_detector(config.detector, config.survey)
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
    written = write(
        progress(blocks, config.output.name, total), config.output, compression=config.compression, notes=notes
    )
    logger.info("%s: %d events, %s, detector %s", config.output, written, what, detector.name)
    return config.output


def _holds(path: Path, notes: Mapping[str, str]) -> bool:
    """Whether a file is one of ours with these texts beside its tree."""
    try:
        with TreeReader(path, ReaderConfig()) as reader:
            return all(reader.text(name) == text for name, text in notes.items())
    except ValueError:  # not a ROOT file, or a damaged one
        return False
