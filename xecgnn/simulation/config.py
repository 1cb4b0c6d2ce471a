"""Settings of the simulation: the options of `xecgnn-simulate`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from xecgnn.data.config import CompressionName
from xecgnn.settings import AnyPath, Settings

__all__ = ["MAX_SEED", "Sample", "SimulationConfig"]

MAX_SEED = 2**31 - 1  # the seed is the run number, which other programs read as an int32
Sample = Literal["uniform", "signal"]


class SimulationConfig(Settings):
    """One ROOT file of simulated events."""

    sample: Sample = Field(
        "uniform",
        description="uniform: 15-60 MeV, any entrance point, direction within 45 deg of the normal; "
        "signal: 52.83 MeV from the target",
    )
    energy: list[str] = Field(
        [], description="lines or LOW:HIGH ranges in GeV, up to 0.1, each as often as the others (none: of the sample)"
    )
    events: int = Field(1000, ge=1, description="number of events")
    seed: int = Field(0, ge=0, le=MAX_SEED, description="seed, also the run number; same seed, same file")
    deposits: Path | None = Field(
        None, description="ROOT file with the deposits of another program (docs/simulation.md): its light and readout"
    )
    detector: AnyPath = Field("meg2", description="name of a detector or path of its YAML file")
    survey: Path | None = Field(None, description="CSV of surveyed sensor positions (id, x, y, z, nx, ny, nz) in cm")
    pileup: bool = Field(False, description="0 to 4 photons per event (truth n_gamma) instead of one")
    dead_channels: Path | None = Field(None, description="text file with the ids of dead sensors, # for comments")
    compression: CompressionName = Field("zstd", description="zstd, lz4 (fastest to read), zlib or none")
    all_branches: bool = Field(False, description="also write relative_npho and time")
    limits: bool = Field(
        False, description="also write what could be reached at all (docs/limits.md): 3 to 5 times slower"
    )
    output: Path = Field(Path("simulated.root"), description="ROOT file to write")
    overwrite: bool = Field(False, description="replace an output file that exists")

    @field_validator("energy", mode="before")
    @classmethod
    def _as_text(cls, value: object) -> object:
        """A YAML file has numbers."""
        return [str(item) for item in value] if isinstance(value, list | tuple) else value

    @field_validator("energy")
    @classmethod
    def _readable(cls, value: list[str]) -> list[str]:
        for item in value:
            _energy(item)
        return value

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = {"sample", "energy", "events", "pileup"} & self.model_fields_set
        if self.deposits is not None and given:
            raise ValueError(f"deposits come with their photons: --deposits excludes --{sorted(given)[0]}")
        if self.limits and self.pileup:
            raise ValueError("limits are for events of one photon: --limits excludes --pileup")
        return self

    @property
    def energies(self) -> list[float | tuple[float, float]] | None:
        """`energy` as numbers, in GeV."""
        return [_energy(item) for item in self.energy] or None


def _energy(item: str) -> float | tuple[float, float]:
    """A line or a range in GeV."""
    low, is_range, high = item.partition(":")
    try:
        return (float(low), float(high)) if is_range else float(low)
    except ValueError:
        raise ValueError(f"expected GeV as NUMBER or LOW:HIGH, found {item!r}") from None
