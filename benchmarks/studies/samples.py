"""Simulated files by name: whoever lacks one simulates it, and gets the same events."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

from xecgnn.data.events import Events
from xecgnn.simulation import Constants, SimulationConfig, write_simulation

__all__ = ["FINAL", "JUDGE", "LONG", "TEST", "TEST_LIMITS", "TRAIN", "VALIDATION", "Sample"]

log = logging.getLogger("evidence")


class Sample:
    """Events of the uniform sample in one file."""

    def __init__(self, name: str, events: int, seed: int, detector: str = "meg2", limits: bool = False) -> None:
        self.name = name
        self.config = SimulationConfig(events=events, seed=seed, detector=detector, compression="lz4", limits=limits)

    def resolved(self) -> dict[str, Any]:
        """All that decides the events."""
        values = self.config.model_dump(mode="json", exclude={"output", "overwrite", "compression"})
        return values | {"constants": asdict(Constants())}

    def file(self, folder: Path) -> Path:
        """The file in a folder, simulated where it is not there.

        Raises:
            ValueError: what is there has other events.
        """
        path = folder / f"{self.name}.root"
        if not path.exists():
            log.info("simulating %s: %d events, seed %d", path, self.config.events, self.config.seed)
            write_simulation(self.config.model_copy(update={"output": path}))
        found = Events.read(path, ["run", "event"])
        runs = sorted({*found["run"].tolist()})
        if len(found) != self.config.events or runs != [self.config.seed]:
            wanted = f"{self.config.events} of seed {self.config.seed}"
            raise ValueError(f"{path}: found {len(found)} events of seed {runs}, expected {wanted}; another --data?")
        return path


# Those of bin/demo, and for more: 800 000 events, and enough to validate and to test what comes of them.
TRAIN, VALIDATION, TEST = Sample("train", 16000, 1), Sample("val", 2000, 2), Sample("test", 2000, 3)
JUDGE, LONG = Sample("judge", 16000, 98), [Sample(f"big_{seed}", 50000, seed) for seed in range(101, 117)]
FINAL = Sample("final", 16000, 97)
TEST_LIMITS = Sample("test_limits", 2000, 3, limits=True)  # those of TEST, and what could be reached of them
