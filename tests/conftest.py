from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from xecgnn.data import Events
from xecgnn.detector import Detector, load_detector
from xecgnn.simulation import SimulationConfig, simulate_events, write_simulation

# Small tensors: a second thread costs more than it brings, and far more on a busy machine.
torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


@pytest.fixture(scope="session")
def mini() -> Detector:
    return load_detector("mini")


@pytest.fixture(scope="session")
def meg2() -> Detector:
    return load_detector("meg2")


@pytest.fixture(scope="session")
def mini_events(mini: Detector) -> Events:
    """64 simulated photons in the small detector."""
    return simulate_events(mini, 64, seed=1)


@pytest.fixture(scope="session")
def mini_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data/train/*.root (two files, 192 events) and data/val/a.root (64 events) of the small detector."""
    folder = tmp_path_factory.mktemp("mini files")
    for name, events, seed in (("train/a", 128, 1), ("train/b", 64, 2), ("val/a", 64, 3)):
        output = folder / "data" / f"{name}.root"
        output.parent.mkdir(parents=True, exist_ok=True)
        write_simulation(SimulationConfig(detector="mini", events=events, seed=seed, pileup=False, output=output))
    return folder
