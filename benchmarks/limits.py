"""What could be reached at all, in numbers: tables of a file of `xecgnn-simulate --limits`, and gradient boosting.

Usage: python benchmarks/limits.py FILE [--training 20000]

The boosting (scikit-learn, which comes with mlflow) learns first interaction and direction of uniform events from
summaries of their true deposits: what someone could tell who sees all of them, but not which came first.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor

from xecgnn.data import Events
from xecgnn.detector import Detector, load_detector
from xecgnn.estimate import QUANTILE, Estimate, quantile
from xecgnn.evaluation.residuals import floor_estimates
from xecgnn.simulation import Constants
from xecgnn.simulation.block import BLOCK_EVENTS, Stream, generator
from xecgnn.simulation.shower import Steps, deposit_direction, draw_showers
from xecgnn.simulation.source import draw_photons
from xecgnn.simulation.volume import XenonVolume
from xecgnn.table import Table

Floats = NDArray[np.float64]

ENERGIES = (15.0, 30.0, 45.0, 60.0)  # MeV, bins
RADII = (0.5, 1.0, 2.0, 4.0, 8.0)  # cm, of rings and weights
SHARES = (0.0, 0.01, 0.03, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)  # quantiles of the energy along the depth
TEST = 6  # blocks
SEED = 3


def bins(energy: Floats) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """All events, then those in bins of the photon's energy (E,) in MeV."""
    yield "all", np.ones(len(energy), dtype=bool)
    for low, high in pairwise(ENERGIES):
        yield f"{low:g} to {high:g} MeV", (energy >= low) & (energy < high)


def width(sigma: Floats, unit: str) -> Estimate:
    """68 % quantile of the sizes of normal errors with standard deviations (E,)."""
    known = sigma[np.isfinite(sigma)]
    return floor_estimates(np.ones(len(known)), known**2, unit)["resolution_68"]


def light_table(events: Events) -> Table:
    """Light statistics (a), leakage (b) and both for the photon's energy, 68 % each."""
    head = ["photon", "events", "edep [MeV]", "edep [%]", "x [mm]", "y [mm]", "z [mm]", "t [ps]"]
    table = Table([*head, "leakage [%]", "quadrature [%]", "light + leakage [%]"])
    energy, deposited = 1e3 * events.energyTruth.astype(float), 1e3 * events.edepTruth.astype(float)
    light = 1e3 * events.limit_edepTruth.astype(float)
    both = deposited + np.nan_to_num(light) * np.random.default_rng(0).standard_normal(len(light))
    for title, chosen in bins(energy):
        some, photon = events[chosen], energy[chosen]
        relative = width(100 * light[chosen] / photon, "%")
        leakage, total = (quantile(100 * np.abs(found[chosen] / photon - 1), "%") for found in (deposited, both))
        axes = [width(10 * axis, "mm") for axis in some.limit_centroidTruth.astype(float).T]
        edep, time = width(light[chosen], "MeV"), width(1e12 * some.limit_timeTruth.astype(float), "ps")
        quadrature = float(np.hypot(relative.value, leakage.value))
        table.add(title, len(some), edep, relative, *axes, time, leakage, quadrature, total)
    return table


class Showers:
    """Photons of the uniform sample and their steps in the xenon, in axes (u, v, w) of the wall at their centroid."""

    def __init__(self, detector: Detector, volume: XenonVolume, seed: int, block: int) -> None:
        rng = generator(seed, block, Stream.PHOTONS)
        photons = draw_photons(rng, detector, volume, BLOCK_EVENTS, "uniform", None, False, Constants())
        interactions, steps = draw_showers(rng, photons, volume)
        inside = volume.depth(steps.position) > 0
        self.steps = Steps(*(column[inside] for column in steps))
        self.energy, self.first, self.direction = photons.energy, interactions.position, photons.direction
        self.event, self.weight = self.steps.photon, self.steps.energy
        self.deposited = self.sums(np.ones(len(self.event)))
        self.centroid = self.means(self.steps.position)
        self.uvw = detector.to_uvw(self.centroid)
        normal = self.centroid * [1, 1, 0] / np.hypot(*self.centroid[:, :2].T)[:, None]
        along = np.broadcast_to([0.0, 0.0, 1.0], normal.shape)
        self.axes = np.stack([along, np.cross(normal, along), normal], axis=1)  # [P, 3, 3]
        self.simple = deposit_direction(self.steps, self.first, volume)

    def sums(self, values: Floats) -> Floats:
        """Energy-weighted sums (P, ...) of values (D, ...) of the steps."""
        columns = values.reshape(len(values), -1).T
        found = [np.bincount(self.event, self.weight * column, len(self.energy)) for column in columns]
        return np.stack(found, axis=1).reshape(-1, *values.shape[1:])

    def means(self, values: Floats) -> Floats:
        total = self.sums(np.ones(len(values)))
        return self.sums(values) / total.reshape(-1, *[1] * (values.ndim - 1))

    def local(self, origin: Floats) -> Floats:
        """Steps (D, 3) from points (P, 3), in cm along u, v, w."""
        offset = self.steps.position - origin[self.event]
        return np.einsum("dij,dj->di", self.axes[self.event], offset)

    def around(self, origin: Floats) -> Floats:
        """What lies around points (P, 3): rings of energy, and mean offsets and directions with weights exp(-r / R)."""
        offset = self.local(origin)
        r = np.linalg.norm(offset, axis=1)
        found = [self.means((r < radius).astype(float))[:, None] for radius in RADII]
        for radius in RADII:
            near = np.exp(-r / radius)
            for vector in (offset, offset / np.maximum(r, 1e-6)[:, None]):
                found.append(self.means(near[:, None] * vector) / self.means(near)[:, None])
        square = offset[:, :, None] * offset[:, None]
        for radius in RADII[2:]:
            near = np.exp(-r / radius)
            spread = self.means(near[:, None, None] * square) / self.means(near)[:, None, None]
            found.append(spread[:, *np.triu_indices(3)])
        return np.concatenate(found, axis=1)

    def core(self) -> Floats:
        """Points (P, 3) around which the energy is dense: the centroid, drawn to what is near it."""
        point = self.centroid
        for _ in range(10):
            near = np.exp(-np.linalg.norm(self.steps.position - point[self.event], axis=1) / 2)
            point = self.means(near[:, None] * self.steps.position) / self.means(near)[:, None]
        return point

    def profile(self) -> Floats:
        """Depth of quantiles of the energy, and mean u, v of what lies less deep, from the centroid."""
        offset = self.local(self.centroid)
        order = np.lexsort((offset[:, 2], self.event))
        event, offset, weight = self.event[order], offset[order], self.weight[order]
        start = np.searchsorted(event, np.arange(len(self.energy)))
        running = np.cumsum(np.column_stack([weight, weight[:, None] * offset[:, :2]]), axis=0)
        before = np.concatenate([np.zeros((1, 3)), running])[start]
        found = []
        for share in SHARES:
            place = np.searchsorted(running[:, 0], before[:, 0] + share * self.deposited, side="left")
            place = np.clip(place, start, np.append(start[1:], len(event)) - 1)
            above = running[place] - before
            found += [offset[place], above[:, 1:] / above[:, :1]]
        return np.concatenate(found, axis=1)


def boosted(x: Floats, y: Floats, x_test: Floats) -> Floats:
    """Columns of y (E, n), learned one by one, for other events."""
    found = []
    for column in y.T:
        model = HistGradientBoostingRegressor(
            loss="absolute_error", learning_rate=0.06, max_iter=300, max_leaf_nodes=24, random_state=0
        )
        found.append(model.fit(x, column).predict(x_test))
    return np.stack(found, axis=1)


def angle(found: Floats, true: Floats) -> Floats:
    """Opening angles (E,) in degrees of vectors (E, 3)."""
    cosine = (found * true).sum(axis=1) / np.linalg.norm(found, axis=1) / np.linalg.norm(true, axis=1)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def boosting_table(training: int) -> Table:
    """First interaction and direction (c) from the true deposits, 68 % each, of events that were not learned from."""
    detector = load_detector("meg2")
    volume = XenonVolume(detector)
    blocks = [Showers(detector, volume, SEED, block) for block in range(TEST)]
    blocks += [Showers(detector, volume, SEED + 1, block) for block in range(-(-training // BLOCK_EVENTS))]

    def joined(function: str) -> Floats:
        return np.concatenate(
            [values[block.deposited > 0] for block in blocks for values in [features(block, function)]]
        )

    energy, first, inward = joined("energy")[:, 0], joined("first"), joined("direction")
    test = sum(int((block.deposited > 0).sum()) for block in blocks[:TEST])
    x = joined("deposits")
    place = boosted(x[test:], first[test:], x[:test]) - first[:test]
    x = joined("from first")
    vector = boosted(x[test:], inward[test:], x[:test])
    simple = joined("simple")[:test]
    table = Table(
        ["photon", "events", "u [mm]", "v [mm]", "w [mm]", "distance [mm]", "direction [deg]", "boosted [deg]"]
    )
    for title, chosen in bins(energy[:test]):
        axes = [quantile(10 * np.abs(axis), "mm") for axis in place[chosen].T]
        distance = quantile(10 * np.linalg.norm(place[chosen], axis=1), "mm")
        angles = (quantile(angle(found[chosen], inward[:test][chosen]), "deg") for found in (simple, vector))
        table.add(title, int(chosen.sum()), *axes, distance, *angles)
    return table


def features(showers: Showers, what: str) -> Floats:
    """Columns (P, n) of what is learned, and what from."""
    if what == "energy":
        return showers.energy[:, None]
    if what in ("first", "direction", "simple"):
        vector = {"first": showers.first - showers.centroid, "direction": showers.direction, "simple": showers.simple}[
            what
        ]
        return np.einsum("pij,pj->pi", showers.axes, vector)
    common = [showers.deposited[:, None], showers.uvw]
    if what == "from first":
        return np.concatenate([*common, showers.around(showers.first)], axis=1)
    core = showers.core()
    offset = np.einsum("pij,pj->pi", showers.axes, core - showers.centroid)
    return np.concatenate([*common, offset, showers.around(core), showers.profile()], axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("file", type=Path, help="of xecgnn-simulate --limits")
    parser.add_argument(
        "--training", type=int, default=20_000, help="events that the boosting learns from; 0: no boosting"
    )
    arguments = parser.parse_args()
    try:
        events = Events.read(arguments.file, ["reference", "truth"])
    except (OSError, ValueError) as error:
        parser.error(str(error))
    if "limit_edepTruth" not in events:
        parser.error(f"{arguments.file} has no branch limit_edepTruth: simulate it with --limits")
    print(f"{100 * QUANTILE:g} % quantiles; all of it uses the truth, none is a strict bound\n")
    print(light_table(events).markdown())
    if arguments.training:
        print("\n" + boosting_table(arguments.training).markdown())


if __name__ == "__main__":
    main()
