from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from xecgnn.detector import Detector
from xecgnn.simulation.constants import SPEED_OF_LIGHT, Constants
from xecgnn.simulation.shower import draw_showers
from xecgnn.simulation.source import Photons, draw_photons
from xecgnn.simulation.volume import XenonVolume

COUNT = 4000
CONSTANTS = Constants()


def photons(detector: Detector, sample: str, pileup: bool = False, seed: int = 3) -> Photons:
    rng = np.random.default_rng(seed)
    return draw_photons(rng, detector, XenonVolume(detector), COUNT, sample, pileup, CONSTANTS)  # type: ignore[arg-type]


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


def test_conversion_depth_is_exponential_in_the_xenon(mini: Detector) -> None:
    """Along the photon, with mean 9/7 X0 where the xenon behind is deep; never outside."""
    volume, rays = XenonVolume(mini), photons(mini, "uniform")
    shower = draw_showers(np.random.default_rng(0), rays, volume, CONSTANTS)
    assert (volume.depth(shower.conversion) > -0.05).all()
    depth = ((shower.conversion - rays.entrance) * rays.direction).sum(axis=1)
    deep = volume.path_length(rays.entrance, rays.direction) > 35
    mean = 9 / 7 * CONSTANTS.radiation_length
    assert depth[deep].mean() == pytest.approx(mean, rel=4 / np.sqrt(deep.sum()))
    flight = np.linalg.norm(shower.conversion - rays.vertex, axis=1)
    np.testing.assert_allclose(shower.conversion_time, rays.start + flight / SPEED_OF_LIGHT)


def test_shower_points_along_the_photon(mini: Detector) -> None:
    """90 % of the energy within a Moliere radius of the axis, deeper with more energy, centred on the direction."""
    volume, rays = XenonVolume(mini), photons(mini, "uniform")
    shower = draw_showers(np.random.default_rng(0), rays, volume, CONSTANTS)
    offset = shower.position - shower.conversion[:, None]
    along = (offset * rays.direction[:, None]).sum(axis=-1)
    across = np.linalg.norm(offset - along[..., None] * rays.direction[:, None], axis=-1)
    assert (across < CONSTANTS.moliere_radius).mean() == pytest.approx(0.90, abs=0.02)
    assert (along > 0).all()
    assert along[rays.energy > 50].mean() > 1.2 * along[rays.energy < 20].mean()
    axis = offset.mean(axis=1)
    cosine = (axis * rays.direction).sum(axis=1) / np.linalg.norm(axis, axis=1)
    assert np.degrees(np.arccos(np.median(cosine))) < 8


def test_leakage_is_lost_and_length_fluctuates(mini: Detector) -> None:
    volume, rays = XenonVolume(mini), photons(mini, "uniform")
    shower = draw_showers(np.random.default_rng(0), rays, volume, CONSTANTS)
    inside = volume.depth(shower.position) > 0
    np.testing.assert_array_equal(shower.energy > 0, inside)
    contained = shower.energy.sum(axis=1) / rays.energy
    assert 0.9 < contained.mean() < 0.99
    assert contained.max() == pytest.approx(1)

    def length_spread(constants: Constants) -> float:
        shower = draw_showers(np.random.default_rng(0), rays, volume, constants)
        return np.linalg.norm(shower.position - shower.conversion[:, None], axis=-1).mean(axis=1).std()

    assert length_spread(CONSTANTS) > 1.3 * length_spread(replace(CONSTANTS, shape_spread=0.0, length_spread=0.0))
