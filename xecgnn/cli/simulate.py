"""xecgnn-simulate: write simulated photons as a ROOT file with the tree of the experiment."""

from __future__ import annotations

from xecgnn.cli.command import command
from xecgnn.simulation.config import SimulationConfig

__all__ = ["main"]


@command(
    SimulationConfig,
    prog="xecgnn-simulate",
    description="Simulate photons in the liquid-xenon detector and write them as a ROOT file.",
)
def main(settings: SimulationConfig) -> None:
    """Entry point of `xecgnn-simulate`."""
    from xecgnn.simulation.write import write_simulation

    write_simulation(settings)


if __name__ == "__main__":
    main()
