from __future__ import annotations

import numpy as np
import pytest

from xecgnn.detector import Detector
from xecgnn.simulation.constants import Constants
from xecgnn.simulation.source import Photons, draw_photons
from xecgnn.simulation.volume import XenonVolume

COUNT = 4000
CONSTANTS = Constants()


def photons(detector: Detector, sample: str, pileup: bool = False, seed: int = 3) -> Photons:
    rng = np.random.default_rng(seed)
    return draw_photons(rng, detector, XenonVolume(detector), COUNT, sample, None, pileup, CONSTANTS)  # type: ignore[arg-type]


def test_volume_is_bounded_by_the_faces(meg2: Detector) -> None:
    """Every sensor stands on the surface, looks inward, and the inner face measures 66.4 x 142.3 cm."""
    volume = XenonVolume(meg2)
    np.testing.assert_allclose(volume.depth(meg2.position), 0, atol=1e-3)
    assert (volume.depth(meg2.position + 1.0 * meg2.normal) > 0.5).all()
    assert (volume.depth(meg2.position - 1.0 * meg2.normal) < -0.5).all()
    assert volume.half_u == pytest.approx(22 * 1.50977)
    assert volume.half_v == pytest.approx(64.97 * np.radians(125.52 / 2))


def test_path_length_ends_on_the_surface(mini: Detector) -> None:
    volume, rays = XenonVolume(mini), photons(mini, "uniform")
    length = volume.path_length(rays.entrance, rays.direction)
    end = rays.entrance + length[:, None] * rays.direction
    np.testing.assert_allclose(volume.depth(end), 0, atol=0.1)
    straight = volume.path_length(mini.to_xyz([[0.0, 0.0, 0.0]]), np.array([[-1.0, 0.0, 0.0]]))
    assert straight == pytest.approx(106.27 - 64.97, abs=1e-3)


def test_uniform_sample(mini: Detector) -> None:
    rays, volume = photons(mini, "uniform"), XenonVolume(mini)
    u, v, w = mini.to_uvw(rays.entrance).T
    normal = mini.to_xyz(np.stack([u, v, w + 1], axis=1)) - rays.entrance
    cosine = (rays.direction * normal).sum(axis=1)
    np.testing.assert_allclose(w, 0, atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(rays.direction, axis=1), 1, atol=1e-12)
    for values, low, high in (
        (u, -volume.half_u, volume.half_u),
        (v, -volume.half_v, volume.half_v),
        (cosine, np.cos(np.pi / 4), 1),
        (rays.energy, 15, 60),
    ):
        assert low <= values.min()
        assert values.max() <= high
        quantiles = (np.sort(values) - low) / (high - low)  # uniform: Kolmogorov-Smirnov distance
        assert np.abs(quantiles - (np.arange(COUNT) + 0.5) / COUNT).max() < 1.63 / np.sqrt(COUNT)
    flight = rays.entrance - rays.vertex  # the vertex lies on the ray, where it passes the beam axis
    np.testing.assert_allclose(np.cross(flight, rays.direction), 0, atol=1e-9)
    np.testing.assert_allclose((rays.vertex * rays.direction)[:, :2].sum(axis=1), 0, atol=1e-9)


def test_signal_sample(mini: Detector) -> None:
    rays, volume = photons(mini, "signal"), XenonVolume(mini)
    u, v, w = mini.to_uvw(rays.entrance).T
    assert (rays.energy == 52.83).all()
    np.testing.assert_allclose(w, 0, atol=1e-9)
    assert np.abs(u).max() < volume.half_u
    assert np.abs(v).max() < volume.half_v
    x, y, z = rays.vertex.T
    np.testing.assert_allclose(z * np.tan(np.radians(15)), x, atol=1e-9)
    assert (((x / np.sin(np.radians(15))) / 13.5) ** 2 + (y / 3.3) ** 2 < 1).all()
    assert x.std() == pytest.approx(1.1, rel=0.1)
    np.testing.assert_allclose(np.cross(rays.entrance - rays.vertex, rays.direction), 0, atol=1e-9)


def test_pileup_counts_photons(mini: Detector) -> None:
    counts = np.bincount(photons(mini, "signal", pileup=True).event, minlength=COUNT)
    share = np.bincount(counts) / COUNT
    np.testing.assert_allclose(share, np.full(5, 0.2), atol=0.03)


def test_unknown_sample_is_an_error(mini: Detector) -> None:
    with pytest.raises(ValueError, match="'cosmic'; allowed: uniform, signal"):
        photons(mini, "cosmic")


def test_lines_and_ranges(mini: Detector) -> None:
    """Each as often as the others; in the signal sample for the first photon of an event."""
    volume, rng = XenonVolume(mini), np.random.default_rng(0)
    lines = [(17.6, 17.6), (54.9, 54.9), (70.0, 90.0)]
    energy = draw_photons(rng, mini, volume, 3000, "uniform", lines, False, CONSTANTS).energy
    shares = [((low <= energy) & (energy <= high)).mean() for low, high in lines]
    np.testing.assert_allclose(shares, 1 / 3, atol=0.03)
    assert np.ptp(energy[energy > 60]) > 19
    piled = draw_photons(rng, mini, volume, 3000, "signal", [(54.9, 54.9)], True, CONSTANTS)
    first = np.diff(piled.event, prepend=-1) > 0
    assert (piled.energy[first] == 54.9).all()
    assert (piled.energy[~first] < 52.83).all()
