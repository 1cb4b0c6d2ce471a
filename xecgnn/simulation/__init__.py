"""A fast Monte Carlo of photons in the calorimeter, written in the experiment's file format (NumPy and SciPy)."""

from __future__ import annotations

from xecgnn.simulation.cascade import simulate_showers
from xecgnn.simulation.config import SimulationConfig
from xecgnn.simulation.constants import Constants
from xecgnn.simulation.simulate import simulate_blocks, simulate_deposits, simulate_events
from xecgnn.simulation.write import write_simulation

__all__ = [
    "Constants",
    "SimulationConfig",
    "simulate_blocks",
    "simulate_deposits",
    "simulate_events",
    "simulate_showers",
    "write_simulation",
]
