"""Every name that travels: branches of the tree, keys of a batch, relations of the graph, with shape and unit.

Sizes: E events, B batch, S sensors of the detector, N sensors of a face. True in a `valid` mask means usable.
"""

from __future__ import annotations

from typing import Any, NamedTuple

EdgeType = tuple[str, str, str]  # (source node type, relation, target node type)

TREE = "tree"

# Readings: one value per sensor.
NPHO = "npho"
RELATIVE_NPHO = "relative_npho"
TIME = "time"
RELATIVE_TIME = "relative_time"
FEATURES = (NPHO, RELATIVE_TIME)  # the two columns of `x`, as read
SENSOR = -1  # stands for "number of sensors" in Branch.width

# A value above this limit, or NaN, is invalid; writers put INVALID_VALUE.
INVALID_LIMIT = 9e9
INVALID_VALUE = 1e10
UNKNOWN_CLASS = -1  # of whole numbers, which have no NaN

# Relations inside a detector graph.
LATTICE = "lattice"  # 3 x 3 neighbourhood on a rectangular face, edge_type = tap 0..8 (row-major, 4 = self)
HEX = "hex"  # up to 7 neighbours on a hexagonal face, edge_type = tap 0..6 (0 = self)
SEAM = "seam"  # border sensors of two touching faces
# Relations inside the network, between its levels; the fine lattice of `outer` is `outer_0`, deeper ones `inner_1`, ...
SPREAD = "spread"  # sensors of unequal size to the cells of a lattice that they cover
STEM = "stem"  # 4 x 4 window from a first level to level 1
WINDOW = "window"  # 7 x 7 neighbourhood inside a level
DOWN = "down"  # 2 x 2 nodes to one of level 2


class Branch(NamedTuple):
    """One branch of the tree: values per event (SENSOR = one per sensor), type, unit, meaning."""

    width: int
    dtype: str
    unit: str
    meaning: str


BRANCHES: dict[str, Branch] = {
    NPHO: Branch(SENSOR, "float32", "photons", "photo-electrons / detection efficiency"),
    RELATIVE_NPHO: Branch(SENSOR, "float32", "", "npho / largest valid npho of the event"),
    TIME: Branch(SENSOR, "float32", "s", "sensor time"),
    RELATIVE_TIME: Branch(SENSOR, "float32", "s", "time - earliest valid time of the event"),
    "emiAng": Branch(2, "float32", "rad", "theta, phi of the emission direction"),
    "emiVec": Branch(3, "float32", "", "emission direction as a unit vector"),
    "energyTruth": Branch(1, "float32", "GeV", "photon energy"),
    "edepTruth": Branch(1, "float32", "GeV", "energy that the photon left in the xenon"),
    "centroidTruth": Branch(3, "float32", "cm", "x, y, z of the centroid of that energy"),
    "timeTruth": Branch(1, "float32", "s", "time of the first interaction, on the zero of relative_time"),
    "uvwTruth": Branch(3, "float32", "cm", "first interaction point in detector coordinates"),
    "xyzTruth": Branch(3, "float32", "cm", "first interaction point"),
    "xyzVTX": Branch(3, "float32", "cm", "origin of the photon"),
    "n_gamma": Branch(1, "int32", "", "number of photons in the event, 0 to 4"),
    "run": Branch(1, "int32", "", "run number"),
    "event": Branch(1, "int32", "", "event number"),
}

IDENTIFIERS = ("run", "event")

# Task -> truth branch: the keys of `batch.y`.
TARGETS: dict[str, str] = {
    "angle": "emiAng",
    "energy": "energyTruth",
    "timing": "timeTruth",
    "uvwFI": "uvwTruth",
    "angleVec": "emiVec",
    "n_gamma": "n_gamma",
}


def is_valid(values: Any) -> Any:
    """Where readings or truth (array or tensor of any shape) can be used, bool of that shape; False for NaN."""
    return abs(values) < INVALID_LIMIT
