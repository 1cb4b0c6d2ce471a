"""xecgnn-simulate: write simulated photons as a ROOT file with the tree of the experiment."""

from __future__ import annotations

from collections.abc import Sequence

from xecgnn.cli.command import parse_command, run_command
from xecgnn.simulation.config import SimulationConfig

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of `xecgnn-simulate`."""

    def simulate() -> None:
        settings, _ = parse_command(
            SimulationConfig,
            argv,
            prog="xecgnn-simulate",
            description="Simulate photons in the liquid-xenon detector and write them as a ROOT file.",
        )
        from xecgnn.simulation.write import write_simulation

        write_simulation(settings)

    run_command(simulate)


if __name__ == "__main__":
    main()
