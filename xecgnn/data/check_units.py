"""In which units the values of a file are, guessed from their size; and whether branches that say the same agree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import NamedTuple

import numpy as np

from xecgnn.detector import Detector
from xecgnn.directions import angle_between, angles_to_direction
from xecgnn.names import INVALID_LIMIT, NPHO, RELATIVE_NPHO, RELATIVE_TIME, SCHEMA, TIME, is_valid

__all__ = ["Finding", "check_agreement", "guess_units"]

Columns = Mapping[str, np.ndarray]
EARLIEST = 1e-8  # s, how far from zero relative times may begin (dark noise comes first in some events)
TIMES = ((1e-3, "s"), (300.0, "ns"), (np.inf, "ps"))
LENGTHS = ((2.5, "m"), (250.0, "cm"), (np.inf, "mm"))  # the detector ends 1.3 m from the beam
MAX_ANGLE, MAX_DISTANCE = 1.0, 0.1  # deg, cm: medians of what branches that say the same may differ by

# branch -> what is looked at, quantile of |value|, and the units with the limit of that quantile below which they are.
SIZES: dict[str, tuple[str, float, tuple[tuple[float, str], ...]]] = {
    RELATIVE_TIME: ("median", 0.5, TIMES),
    TIME: ("median", 0.5, TIMES),
    "timeTruth": ("median", 0.5, TIMES),
    "energyTruth": ("median", 0.5, ((1.0, "GeV"), (1e3, "MeV"), (np.inf, "keV or eV"))),
    "emiAng": ("largest", 1.0, ((2.001 * np.pi, "rad"), (np.inf, "deg"))),
    "uvwTruth": ("98 %", 0.98, LENGTHS),
    "xyzTruth": ("98 %", 0.98, LENGTHS),
}


class Finding(NamedTuple):
    """What was found about a branch, with its reason; `problem` says what to do, "" where all is well."""

    branch: str
    unit: str
    reason: str
    problem: str = ""
    level: str = "error"


def guess_units(columns: Columns) -> Iterator[Finding]:
    """Units of the branches of some events, (E,) or (E, width) each, as stored; nothing for a branch without values."""
    for branch, (word, share, units) in SIZES.items():
        size = np.abs(columns.get(branch, np.empty(0)))
        size = size[(size < INVALID_LIMIT) & (size > 0)]
        if len(size):
            value = float(np.quantile(size, share))
            unit, expected = next(unit for limit, unit in units if value <= limit), SCHEMA[branch].unit
            problem, level = f"looks like {unit}, expected {expected}" if unit != expected else "", "error"
            if problem and branch == "emiAng":
                problem, level = "looks like deg: read it with data.angle_unit deg", "warning"
            yield Finding(branch, unit, f"{word} {value:.3g}", problem, level)
    for branch in (NPHO, RELATIVE_NPHO):
        largest = _of_events(columns, branch, np.fmax)
        if len(largest):  # photons, or shares of the largest?
            relative = np.quantile(largest, 0.98) <= 1.001
            reason = f"median of the largest in an event {np.median(largest):.4g}"
            found = RELATIVE_NPHO if relative else NPHO
            problem = "" if branch == found else f"looks like {found}: {reason}"
            yield Finding(branch, "relative" if relative else "photons", reason, problem)
    earliest = _of_events(columns, RELATIVE_TIME, np.fmin)
    if len(earliest):
        start = float(np.median(np.abs(earliest)))
        problem = "" if start <= EARLIEST else f"begins at {start:.3g} in the event, not at 0: absolute times?"
        yield Finding(RELATIVE_TIME, "", f"earliest of an event at {start:.3g} (median)", problem, "warning")


def check_agreement(columns: Columns, detector: Detector) -> Iterator[Finding]:
    """Branches that hold the same quantity in another form, compared over some events.

    Directions (from emiAng, emiVec, and xyzTruth - xyzVTX) differ where a production has another convention for phi.
    """
    directions = {}
    if "emiAng" in columns:
        directions["emiAng"] = angles_to_direction(*columns["emiAng"].T.astype(np.float64))
    if "emiVec" in columns:
        directions["emiVec"] = columns["emiVec"]
    if {"xyzTruth", "xyzVTX"} <= columns.keys():
        directions["xyzTruth - xyzVTX"] = columns["xyzTruth"] - columns["xyzVTX"]
    # Reconstructed points give the direction less exactly.
    pairs = [
        (f"{a} and {b}", "deg", MAX_ANGLE, "error" if b == "emiVec" else "warning", np.degrees(angle_between(u, v)))
        for (a, u), (b, v) in combinations(directions.items(), 2)
    ]
    if {"uvwTruth", "xyzTruth"} <= columns.keys():
        distance = np.linalg.norm(detector.to_uvw(columns["xyzTruth"]) - columns["uvwTruth"], axis=1)
        pairs.append(("uvwTruth and xyzTruth", "cm", MAX_DISTANCE, "error", distance))
    for pair, unit, limit, level, difference in pairs:
        known = difference[np.isfinite(difference)]
        if len(known):
            median = float(np.median(known))
            problem = "" if median <= limit else f"differ by {median:.3g} {unit} (median): another convention or unit"
            yield Finding(pair, "", f"differ by {median:.2g} {unit} (median)", problem, level)


def _of_events(columns: Columns, branch: str, extreme: np.ufunc) -> np.ndarray:
    """Largest or smallest valid value of each event that has one."""
    values = columns.get(branch, np.empty((0, 1)))
    found = extreme.reduce(np.where(is_valid(values), values, np.nan), axis=1)
    return found[np.isfinite(found)]
