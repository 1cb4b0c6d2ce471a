"""How the truth quantities are shown: symbol, unit and scale of each value of a branch."""

from __future__ import annotations

import math
from typing import NamedTuple

__all__ = ["AXES", "Axis"]


class Axis(NamedTuple):
    """One value as plots and metrics show it: `shown = scale * stored`; `period` (shown units) where it wraps."""

    name: str
    symbol: str
    unit: str
    scale: float
    period: float | None = None

    @property
    def label(self) -> str:
        return f"{self.symbol} [{self.unit}]"


DEG = math.degrees(1.0)

AXES: dict[str, tuple[Axis, ...]] = {
    "emiAng": (Axis("theta", "θ", "deg", DEG), Axis("phi", "φ", "deg", DEG, period=360.0)),
    "energyTruth": (Axis("energy", "E", "MeV", 1e3),),
    "edepTruth": (Axis("edep", "E_dep", "MeV", 1e3),),
    "timeTruth": (Axis("time", "t", "ps", 1e12),),
    "uvwTruth": (Axis("u", "u", "mm", 10.0), Axis("v", "v", "mm", 10.0), Axis("w", "w", "mm", 10.0)),
    "centroidTruth": (Axis("x", "x", "mm", 10.0), Axis("y", "y", "mm", 10.0), Axis("z", "z", "mm", 10.0)),
}
