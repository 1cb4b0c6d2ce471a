"""Light and arrival times of the simulation against photons followed one by one, from single points in the xenon.

Usage: python benchmarks/light.py [--detector meg2] [--photons 1000000]

Photons count where they land on the active area of a sensor. Every group of sensors gets the ratio of the model's light
to theirs with its statistical error, the share of it that was scattered, and both mean arrival times.
"""

from __future__ import annotations

import argparse
import time
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ray_trace import Landings, trace_photons
from xecgnn.detector import Detector, load_detector
from xecgnn.simulation import Constants
from xecgnn.simulation.light import LightModel
from xecgnn.simulation.shower import Showers
from xecgnn.simulation.solid_angle import sensor_sides
from xecgnn.simulation.volume import XenonVolume

# u, v, w in cm: shallow to deep, near a side face, near the top face
POINTS = [
    (2, 3, 0.5), (2, 3, 1), (-5, 20, 3), (8, -15, 8), (0, 0, 19), (10, -40, 30), (-30, 5, 3), (5, 62, 2),
]  # fmt: skip
RINGS = [0, 2, 4, 8, 16, 32]  # cm from the nearest sensor of the inner face


def sensor_hit(detector: Detector, position: NDArray[np.float64]) -> NDArray[np.int64]:
    """Id of the sensor whose active area holds a point (N, 3) on a face, -1 between sensors."""
    sides, is_square = sensor_sides(detector.normal), detector.sensor_type == "mppc"
    hit = np.full(len(position), -1)
    _, candidates = cKDTree(detector.position).query(position, k=3)  # a square is not all nearest to its centre
    for sensor in candidates.T:
        offset = position - detector.position[sensor]
        along, across = np.abs((offset[:, None] * sides[sensor]).sum(axis=-1)).T
        height = np.abs((offset * detector.normal[sensor]).sum(axis=-1))
        extent = np.where(is_square[sensor], np.maximum(along, across), np.hypot(along, across))
        inside = (extent < detector.sizes[sensor]) & (height < 1)
        hit = np.where((hit < 0) & inside, sensor, hit)
    return hit


def groups_around(detector: Detector, point: NDArray[np.float64]) -> dict[str, NDArray[np.int64]]:
    """Faces, and rings of the inner face around its sensor nearest to the point."""
    inner = detector.faces["inner"].sensor_ids
    position = detector.position[inner]
    spot = position[np.argmin(np.linalg.norm(position - point, axis=1))]
    away = np.linalg.norm(position - spot, axis=1)
    groups = {name: face.sensor_ids for name, face in detector.faces.items()}
    for low, high in pairwise(RINGS):
        groups[f"{low}-{high} cm"] = inner[(away >= low) & (away < high)]
    return groups


def compare(detector: Detector, model: LightModel, point: NDArray[np.float64], count: int, landed: Landings) -> None:
    """Print the table of one point."""
    constants, size = Constants(), detector.num_sensors
    hit = sensor_hit(detector, landed.position)
    on_sensor, late = hit >= 0, (hit >= 0) & landed.scattered
    traced = np.bincount(hit[on_sensor], minlength=size)
    scattered = np.bincount(hit[late], minlength=size)
    flight = np.bincount(hit[on_sensor], landed.time[on_sensor], minlength=size)
    energy = np.full((1, 1), count / constants.light_yield)
    light, arrival = (
        values[0].astype(float)
        for values in model(Showers(point[None, None], energy, np.zeros((1, 1)), energy.sum(axis=1), point[None]))
    )
    for name, ids in groups_around(detector, point).items():
        if found := traced[ids].sum():
            ratio, expected = light[ids].sum() / found, light[ids] @ arrival[ids] / light[ids].sum()
            print(f"  {name:10s} {ratio:6.3f} +- {ratio / np.sqrt(found):.3f}   "
                  f"scattered {scattered[ids].sum() / found:.2f}   "
                  f"arrival {expected:5.2f} ns, traced {flight[ids].sum() / found:5.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--detector", default="meg2")
    parser.add_argument("--photons", type=int, default=1_000_000)
    options = parser.parse_args()
    detector, constants = load_detector(options.detector), Constants()
    volume, start = XenonVolume(detector), time.process_time()
    model = LightModel(detector, volume, constants)
    print(f"{detector.name}: table built in {time.process_time() - start:.1f} s; light of the model / traced photons")
    for seed, uvw in enumerate(POINTS):
        point = detector.to_xyz(np.array(uvw, dtype=float))
        landed = trace_photons(np.random.default_rng(seed), point, options.photons, volume, constants)
        print(f"u, v, w = {uvw} cm")
        compare(detector, model, point, options.photons, landed)


if __name__ == "__main__":
    main()
