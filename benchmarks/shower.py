"""The cascade beside Geant4 11.4.1 in unbounded liquid xenon, with statistical errors, and how much the step matters.

Usage: python benchmarks/shower.py [--events 20000] [--energies 20 35 52.83]
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from numpy.typing import NDArray

from xecgnn.simulation import simulate_showers
from xecgnn.simulation.cascade import FreeShowers

ROWS = {
    "mean free path": "cm",
    "depth of the centroid, mean": "cm",
    "depth of the centroid, median": "cm",
    "depth of the centroid, rms": "cm",
    "z50": "cm",
    "z90": "cm",
    "R50": "cm",
    "R90": "cm",
    "centroid off the axis, 68 %": "cm",
    "angle of the centroid, 50 %": "deg",
    "angle of the centroid, 68 %": "deg",
    "angle of the centroid, 90 %": "deg",
    "share of energy beyond 6 cm": "",
    "events with over 20 % there": "",
}
# G4EmStandardPhysics with fine steps (Urban, 10 000 events) and G4EmStandardPhysicsWVI (5 000), 0.1 mm cut.
URBAN = {
    20.0: (7.04, 2.70, 1.79, 3.02, 0.845, 8.34, 0.518, 6.43, 1.59, 27.8, 38.8, 66.2, 0.194, 0.301),
    35.0: (6.04, 4.17, 3.51, 2.83, 1.69, 12.25, 0.755, 7.49, 1.91, 20.5, 28.1, 46.6, 0.262, 0.449),
    52.83: (5.47, 5.57, 5.03, 2.87, 2.64, 15.29, 0.935, 8.05, 2.02, 15.9, 21.6, 35.4, 0.324, 0.588),
}
WVI = {
    20.0: (7.04, 2.74, 1.80, 2.96, 0.836, 8.61, 0.570, 6.38, 1.58, 28.1, 39.2, 63.8, 0.196, 0.302),
    35.0: (6.04, 4.24, 3.49, 2.96, 1.67, 12.46, 0.829, 7.63, 2.03, 21.4, 29.0, 46.9, 0.267, 0.452),
    52.83: (5.47, 5.67, 4.96, 2.99, 2.66, 15.55, 1.01, 8.00, 2.03, 16.1, 21.8, 34.6, 0.323, 0.583),
}
ONLY_WVI = "R50"  # single scattering agrees with WVI there, Urban does not
PARTS = 20  # the spread of the figures of so many equal parts gives the errors


def weighted_quantile(values: NDArray[np.float64], weights: NDArray[np.float64], share: float) -> float:
    """The value below which `share` of the weights lies."""
    order = np.argsort(values)
    cumulative = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(cumulative, share * cumulative[-1])])


def figures(showers: FreeShowers, count: int) -> NDArray[np.float64]:
    """The rows for the showers of events 0 to count - 1."""
    energy = np.bincount(showers.event, showers.energy, count)
    x, y, z = (np.bincount(showers.event, showers.energy * axis, count) / energy for axis in showers.position.T)
    off_axis = np.hypot(x, y)
    along, across = showers.position[:, 2], np.hypot(showers.position[:, 0], showers.position[:, 1])
    away = np.hypot(across, along - z[showers.event]) > 6
    share = np.bincount(showers.event, showers.energy * away, count) / energy
    angles = np.quantile(np.degrees(np.arctan2(off_axis, z)), [0.5, 0.68, 0.9])
    profiles = [weighted_quantile(values, showers.energy, q) for values in (along, across) for q in (0.5, 0.9)]
    depths = showers.path.mean(), z.mean(), np.median(z), z.std()
    return np.array([*depths, *profiles, np.quantile(off_axis, 0.68), *angles, share.mean(), (share > 0.2).mean()])


def part(showers: FreeShowers, index: int, size: int) -> FreeShowers:
    """Events index x size to (index + 1) x size, counted from 0."""
    first, last = np.searchsorted(showers.event, [index * size, (index + 1) * size])
    event, position, energy = (column[first:last] for column in showers[:3])
    return FreeShowers(event - index * size, position, energy, showers.path[index * size : (index + 1) * size])


def measure(
    energy: float, events: int, step: float, seed: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Rows, their statistical errors, and milliseconds of processor time per event."""
    start = time.process_time()
    showers = simulate_showers(np.full(events, energy), seed=seed, step=step)
    spent = (time.process_time() - start) / events * 1e3
    size = events // PARTS
    parts = np.stack([figures(part(showers, index, size), size) for index in range(PARTS)])
    return figures(showers, events), parts.std(axis=0, ddof=1) / np.sqrt(PARTS), spent


def deviation(row: str, value: float, urban: float, wvi: float) -> float:
    """Relative distance to the interval between the two, or to WVI alone."""
    low, high = (wvi, wvi) if row == ONLY_WVI else sorted((urban, wvi))
    return max(low / value - 1, value / high - 1, 0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--energies", type=float, nargs="+", default=list(URBAN), help="MeV")
    options = parser.parse_args()
    for energy in options.energies:
        values, errors, spent = measure(energy, options.events, 0.1)
        half, half_errors, half_spent = measure(energy, options.events, 0.05, seed=2)
        print(f"\n{energy:g} MeV, {options.events} events: {spent:.2f} ms per event, half steps {half_spent:.2f} ms\n")
        print("| quantity | unit | Urban | WVI | cascade | beyond them | half steps |\n|---|---|---|---|---|---|---|")
        none = (np.nan,) * len(ROWS)
        for index, (row, unit) in enumerate(ROWS.items()):
            urban, wvi = URBAN.get(energy, none)[index], WVI.get(energy, none)[index]
            beyond = 100 * deviation(row, values[index], urban, wvi)
            shift = 100 * (half[index] / values[index] - 1)
            spread = 100 * np.hypot(errors[index], half_errors[index]) / values[index]
            print(f"| {row} | {unit} | {urban:g} | {wvi:g} | {values[index]:.3f} +- {errors[index]:.3f} "
                  f"| {beyond:.1f} % | {shift:+.1f} +- {spread:.1f} % |")


if __name__ == "__main__":
    main()
