"""Stream simulated events into a ROOT file."""

from __future__ import annotations

import logging
from pathlib import Path

from tqdm import tqdm

from xecgnn.data.dead_channels import read_dead_channels
from xecgnn.data.writer import TreeWriter
from xecgnn.detector import load_detector
from xecgnn.names import BRANCHES, SENSOR
from xecgnn.output import check_new
from xecgnn.simulation.config import SimulationConfig
from xecgnn.simulation.simulate import simulate_blocks

__all__ = ["write_simulation"]

logger = logging.getLogger(__name__)


def write_simulation(config: SimulationConfig, progress: bool = True) -> Path:
    """Simulate and write one file as `config` says, in constant memory; returns its path.

    The file appears under its name only when it is complete.

    Raises:
        FileExistsError: the output exists and `overwrite` is not set.
    """
    check_new(config.output, overwrite=config.overwrite)
    detector = load_detector(config.detector)
    blocks = simulate_blocks(
        detector,
        config.events,
        sample=config.sample,
        seed=config.seed,
        pileup=config.pileup,
        dead=read_dead_channels(config.dead_channels, detector.num_sensors) if config.dead_channels else None,
        all_branches=config.all_branches,
    )
    first = next(blocks)  # mistakes show before a file is begun
    branches = {
        name: (BRANCHES[name].dtype, detector.num_sensors if BRANCHES[name].width == SENSOR else BRANCHES[name].width)
        for name in first.fields
    }
    with (
        TreeWriter(config.output, branches, config.compression) as writer,
        tqdm(total=config.events, unit="event", desc=config.output.name, disable=not progress) as bar,
    ):
        writer.write(first.columns)
        bar.update(len(first))
        for events in blocks:
            writer.write(events.columns)
            bar.update(len(events))
    logger.info("%s: %d events, %s sample, detector %s", config.output, config.events, config.sample, detector.name)
    return config.output
