"""Every name that travels: branches of the tree, keys of a batch, relations of the graph, with shape and unit.

Sizes: E events, B batch, S sensors of the detector, N sensors of a face. True in a `valid` mask means usable.
"""

from __future__ import annotations

from typing import Any

from xecgnn.schema import SENSOR, Column, Schema

EdgeType = tuple[str, str, str]  # (source node type, relation, target node type)

MODEL_HASH = "model_hash"  # beside the tree of predictions: of the weights that made them
TREE = "tree"

# Readings: one value per sensor.
NPHO = "npho"
RELATIVE_NPHO = "relative_npho"
TIME = "time"
RELATIVE_TIME = "relative_time"
FEATURES = (NPHO, RELATIVE_TIME)  # the two columns of `x`, as read
MASKED, FILLED = "masked", "filled"
LOSS = "loss"

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
SPOT = "spot"  # sensors around the brightest place to the node `spot`, other ones in each event
DOWN = "down"  # 2 x 2 nodes to one of level 2

SCHEMA = Schema()
SCHEMA.declare(
    Column(NPHO, "reading", "float32", SENSOR, "photons", "photo-electrons / detection efficiency"),
    Column(RELATIVE_NPHO, "reading", "float32", SENSOR, "", "npho / largest valid npho of the event"),
    Column(TIME, "reading", "float32", SENSOR, "s", "sensor time"),
    Column(RELATIVE_TIME, "reading", "float32", SENSOR, "s", "time - earliest valid time of the event"),
    Column("emiAng", "truth", "float32", 2, "rad", "theta, phi of the emission direction"),
    Column("emiVec", "truth", "float32", 3, "", "emission direction as a unit vector"),
    Column("energyTruth", "truth", "float32", 1, "GeV", "photon energy"),
    Column("edepTruth", "truth", "float32", 1, "GeV", "energy that the photon left in the xenon"),
    Column("centroidTruth", "truth", "float32", 3, "cm", "x, y, z of the centroid of that energy"),
    Column("timeTruth", "truth", "float32", 1, "s", "time of the first interaction, on the zero of relative_time"),
    Column("uvwTruth", "truth", "float32", 3, "cm", "first interaction point in detector coordinates"),
    Column("xyzTruth", "truth", "float32", 3, "cm", "first interaction point"),
    Column("xyzVTX", "truth", "float32", 3, "cm", "origin of the photon"),
    Column("n_gamma", "truth", "int32", 1, "", "number of photons in the event, 0 to 4"),
    Column("limit_edepTruth", "reference", "float32", 1, "GeV", "least standard deviation of an estimate from light"),
    Column("limit_centroidTruth", "reference", "float32", 3, "cm", "the same of the centroid: x, y, z"),
    Column("limit_timeTruth", "reference", "float32", 1, "s", "the same of the time"),
    Column("deposits_emiVec", "reference", "float32", 3, "", "direction to the deposits near the first interaction"),
    Column("run", "identifier", "int64", 1, "", "run number"),
    Column("event", "identifier", "int64", 1, "", "event number"),
    Column(MASKED, "mask", "bool", SENSOR, "", "hidden from the network, to be reconstructed"),
    Column(FILLED, "mask", "bool", SENSOR, "", "the readings are predictions"),
    Column(LOSS, "other", "float32", 1, "", "loss of the event"),
)
"""What our columns are. Files may have others: who gives one a meaning declares it, `SCHEMA.declare(Column(...))`."""

IDENTIFIERS = SCHEMA.names("identifier")

# Task -> truth branch: the keys of `batch.y`.
TARGETS: dict[str, str] = {
    "angle": "emiAng",
    "energy": "energyTruth",
    "timing": "timeTruth",
    "uvwFI": "uvwTruth",
    "angleVec": "emiVec",
    "edep": "edepTruth",
    "centroid": "centroidTruth",
    "n_gamma": "n_gamma",
}


def is_valid(values: Any) -> Any:
    """Where readings or truth (array or tensor of any shape) can be used, bool of that shape; False for NaN."""
    return abs(values) < INVALID_LIMIT
