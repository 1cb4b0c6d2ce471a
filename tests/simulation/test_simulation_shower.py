from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from xecgnn.detector import Detector
from xecgnn.simulation.constants import SPEED_OF_LIGHT, Constants
from xecgnn.simulation.shower import Steps, draw_showers, represent
from xecgnn.simulation.source import Photons, draw_photons
from xecgnn.simulation.volume import XenonVolume
from xecgnn.simulation.xenon import mean_free_path

COUNT = 1000
CONSTANTS = Constants()


def photons(detector: Detector, seed: int = 3) -> Photons:
    rng = np.random.default_rng(seed)
    return draw_photons(rng, detector, XenonVolume(detector), COUNT, "uniform", None, False, CONSTANTS)


def test_first_interaction_is_exponential_in_the_xenon(mini: Detector) -> None:
    """Along the photon, with the mean free path at its energy where the xenon behind is deep; never outside."""
    volume, rays = XenonVolume(mini), photons(mini)
    first, _ = draw_showers(np.random.default_rng(0), rays, volume)
    assert (volume.depth(first.position) > -0.05).all()
    depth = ((first.position - rays.entrance) * rays.direction).sum(axis=1)
    deep = volume.path_length(rays.entrance, rays.direction) > 35
    ratio = depth[deep] / mean_free_path(rays.energy[deep])
    assert ratio.mean() == pytest.approx(1, abs=4 / np.sqrt(deep.sum()))
    flight = np.linalg.norm(first.position - rays.vertex, axis=1)
    np.testing.assert_allclose(first.time, rays.start + flight / SPEED_OF_LIGHT)


def test_steps_are_the_cascade_turned_to_the_photon(mini: Detector) -> None:
    """All energy, at no more than the speed of light, more of it ahead of the first interaction than behind."""
    volume, rays = XenonVolume(mini), photons(mini)
    first, steps = draw_showers(np.random.default_rng(0), rays, volume)
    np.testing.assert_allclose(np.bincount(steps.photon, steps.energy, COUNT), rays.energy, rtol=1e-6)
    offset = steps.position - first.position[steps.photon]
    delay = steps.time - first.time[steps.photon]
    assert (delay * SPEED_OF_LIGHT + 0.11 >= np.linalg.norm(offset, axis=1)).all()
    axis = np.stack([np.bincount(steps.photon, steps.energy * x, COUNT) for x in offset.T], axis=1)
    cosine = (axis * rays.direction).sum(axis=1) / np.linalg.norm(axis, axis=1)
    angle = np.degrees(np.arccos(cosine))
    assert 16 < np.median(angle) < 28  # 27.8 at 20 MeV, 15.9 at 52.83 MeV
    across = axis - (axis * rays.direction).sum(axis=1)[:, None] * rays.direction
    assert (np.abs(across.mean(axis=0)) < 4 * across.std(axis=0) / np.sqrt(COUNT)).all()


def test_deposits_stand_for_the_steps(mini: Detector) -> None:
    """Equal energies that add up to what is left in the xenon; their mean position is the centroid, without a bias."""
    volume, rays = XenonVolume(mini), photons(mini)
    _, steps = draw_showers(np.random.default_rng(0), rays, volume)
    showers = represent(np.random.default_rng(1), steps, COUNT, volume, CONSTANTS)
    inside = volume.depth(steps.position) > 0
    np.testing.assert_allclose(showers.deposited, np.bincount(steps.photon[inside], steps.energy[inside], COUNT))
    np.testing.assert_allclose(showers.energy.sum(axis=1), showers.deposited)
    np.testing.assert_allclose(showers.energy, showers.energy[:, :1].repeat(64, axis=1))
    some = showers.deposited > 0
    assert (volume.depth(showers.position[some]) > 0).all()
    assert 0.3 < (showers.deposited > 0.999 * rays.energy).mean() < 0.9  # the rest leaks
    difference = showers.position.mean(axis=1)[some] - showers.centroid[some]
    spread = np.sqrt(((steps.position - showers.centroid[steps.photon])[inside] ** 2).sum(axis=1).mean())
    assert np.linalg.norm(difference, axis=1).mean() < 0.5 * spread / np.sqrt(64)  # 64 random ones: 0.9
    assert (np.abs(difference.mean(axis=0)) < 4 * difference.std(axis=0) / np.sqrt(some.sum())).all()


def test_every_track_gets_its_share_of_deposits(mini: Detector) -> None:
    """A third of the energy in one of two places: a third of the deposits, to within one."""
    here, there = mini.to_xyz([[0.0, 0.0, 10.0], [5.0, 10.0, 20.0]])
    position = np.stack([here, there, here, there])
    steps = Steps(np.array([0, 0, 2, 2]), position, np.array([10.0, 20.0, 6.0, 3.0]), np.arange(4.0))
    volume = XenonVolume(mini)
    showers = represent(np.random.default_rng(0), steps, 4, volume, replace(CONSTANTS, num_deposits=30))
    np.testing.assert_array_equal(showers.deposited, [30, 0, 9, 0])
    at_first = np.isclose(showers.position, here).all(axis=-1).sum(axis=1)
    assert abs(at_first[0] - 10) <= 1
    assert abs(at_first[2] - 20) <= 1
    assert set(showers.time[0]) == {0.0, 1.0}
    assert set(showers.time[2]) == {2.0, 3.0}
    np.testing.assert_array_equal(showers.energy[[1, 3]], 0)
    assert np.isnan(showers.centroid[[1, 3]]).all()
    np.testing.assert_allclose(showers.centroid[0], (here + 2 * there) / 3)


def test_what_leaves_the_xenon_is_lost(mini: Detector) -> None:
    outside = mini.to_xyz([0.0, 0.0, -1.0])
    inside = mini.to_xyz([0.0, 0.0, 1.0])
    steps = Steps(np.array([0, 0]), np.stack([outside, inside]), np.array([1.0, 2.0]), np.zeros(2))
    showers = represent(np.random.default_rng(0), steps, 1, XenonVolume(mini), CONSTANTS)
    assert showers.deposited == 2
    np.testing.assert_allclose(showers.position, np.broadcast_to(inside, (1, 64, 3)))


def test_no_photon_no_shower(mini: Detector) -> None:
    none = Steps(np.empty(0, dtype=np.int64), np.empty((0, 3)), np.empty(0), np.empty(0))
    for count in (0, 2):
        showers = represent(np.random.default_rng(0), none, count, XenonVolume(mini), CONSTANTS)
        assert showers.position.shape == (count, 64, 3)
        assert (showers.energy == 0).all()
