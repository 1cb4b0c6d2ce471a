"""Settings of the simulation: the options of `xecgnn-simulate`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from xecgnn.data.writer import CompressionName
from xecgnn.settings import Settings
from xecgnn.simulation.simulate import MAX_SEED
from xecgnn.simulation.source import Sample

__all__ = ["SimulationConfig"]


class SimulationConfig(Settings):
    """One ROOT file of simulated events."""

    sample: Sample = Field(
        "uniform",
        description="uniform: 15-60 MeV, any entrance point, direction within 45 deg of the normal; "
        "signal: 52.83 MeV from the target",
    )
    events: int = Field(1000, ge=1, description="number of events")
    seed: int = Field(0, ge=0, le=MAX_SEED, description="seed, also the run number; same seed, same file")
    detector: str = Field("meg2", description="name of a detector or path of its YAML file")
    pileup: bool = Field(False, description="0 to 4 photons per event (truth n_gamma) instead of one")
    dead_channels: Path | None = Field(None, description="text file with the ids of dead sensors, # for comments")
    compression: CompressionName = Field("zstd", description="zstd, lz4 (fastest to read), zlib or none")
    all_branches: bool = Field(False, description="also write relative_npho and time")
    output: Path = Field(Path("simulated.root"), description="ROOT file to write")
    overwrite: bool = Field(False, description="replace an output file that exists")
