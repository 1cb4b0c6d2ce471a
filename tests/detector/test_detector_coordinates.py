from __future__ import annotations

import numpy as np

from xecgnn.detector import Detector


def test_uvw_follows_the_formula(meg2: Detector) -> None:
    u, v, w, R = 3.0, 20.0, 5.0, 64.97
    expected = [-(R + w) * np.cos(v / R), (R + w) * np.sin(v / R), u]
    np.testing.assert_allclose(meg2.to_xyz([u, v, w]), expected, rtol=1e-14)
    np.testing.assert_allclose(meg2.to_uvw([-R, 0, 0]), [0, 0, 0], atol=1e-13)


def test_uvw_round_trip_keeps_any_leading_shape(meg2: Detector) -> None:
    uvw = np.random.default_rng(0).uniform([-33, -70, 0], [33, 70, 38], (4, 5, 3))
    np.testing.assert_allclose(meg2.to_uvw(meg2.to_xyz(uvw)), uvw, atol=1e-12)
    np.testing.assert_allclose(meg2.to_uvw(meg2.to_xyz(uvw[0, 0])), uvw[0, 0], atol=1e-12)
    assert meg2.to_uvw(meg2.to_xyz(uvw[:0])).shape == (0, 5, 3)


def test_uvw_of_the_sensors(meg2: Detector) -> None:
    uvw = meg2.to_uvw(meg2.position)
    np.testing.assert_allclose(uvw[meg2.faces["inner"].sensor_ids, 2], 0, atol=1e-12)
    np.testing.assert_allclose(uvw[meg2.faces["outer"].sensor_ids, 2], 106.27 - 64.97, atol=1e-12)
    np.testing.assert_allclose(uvw[:, 0], meg2.position[:, 2])
    assert uvw[0, 1] > 0, "row 0 of the inner face is the upper one: v grows with y"
