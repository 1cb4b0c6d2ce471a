"""A fast Monte Carlo of photons in the calorimeter, written in the experiment's file format (NumPy, SciPy, Numba)."""

from __future__ import annotations

from xecgnn.lazy import lazy_names

_PUBLIC = {
    "Constants": "constants",
    "SimulationConfig": "config",
    "simulate_blocks": "simulate",
    "simulate_deposits": "simulate",
    "simulate_events": "simulate",
    "simulate_showers": "cascade",
    "write_simulation": "write",
}

__all__ = [*_PUBLIC]
__getattr__, __dir__ = lazy_names(__name__, _PUBLIC)
