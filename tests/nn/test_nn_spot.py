from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from xecgnn.detector import Detector
from xecgnn.models import ModelConfig
from xecgnn.models.encoder_graph import EncoderGraph
from xecgnn.nn.moments import FaceMoments
from xecgnn.nn.spot import SpotFinder


def light_at(detector: Detector, place: int, sigma: float, along: float = 0.0) -> dict[str, torch.Tensor]:
    """One event whose light falls off as a Gaussian around a sensor of the first face, or `along` cm from it in z."""
    center = detector.position[detector.faces["inner"].sensor_ids[place]] + [0, 0, along]
    return {
        name: torch.tensor(
            1000 * np.exp(-((detector.position[face.sensor_ids] - center) ** 2).sum(1) / (2 * sigma**2))
        ).float().unsqueeze(0)
        for name, face in detector.faces.items()
    }  # fmt: skip


def find(finder: SpotFinder, light: torch.Tensor):
    return finder(light, torch.full_like(light, 2e-9), torch.ones_like(light, dtype=torch.bool))


def test_spot_is_where_the_light_is_and_not_at_one_bright_sensor(meg2: Detector) -> None:
    finder, place = SpotFinder(meg2, 11), 40 * 44 + 20
    light = light_at(meg2, place, 3.0)["inner"]
    light[0, 7] = 2000.0
    spot = find(finder, light)
    assert spot.node.tolist() == [place]
    assert np.allclose(spot.position[0], meg2.position[place], atol=1e-4)
    assert np.allclose(spot.uvw[0], meg2.to_uvw(meg2.position[place]), atol=1e-4)
    assert torch.allclose(spot.time, torch.tensor(2e-9))


def test_frame_is_orthonormal_with_the_normal_first(meg2: Detector) -> None:
    frame = SpotFinder(meg2, 3).frame
    assert torch.allclose(frame @ frame.transpose(1, 2), torch.eye(3).expand_as(frame), atol=1e-6)
    assert torch.allclose(torch.linalg.det(frame), torch.ones(len(frame)), atol=1e-6)
    assert np.allclose(frame[:, 0], meg2.normal[:4092], atol=1e-6)
    assert np.allclose(frame[:, 2], [0, 0, 1], atol=1e-6)


@pytest.mark.parametrize(("row", "col", "present"), [(40, 20, 25), (0, 0, 9), (92, 43, 9), (1, 20, 20)])
def test_window_is_the_square_around_the_spot_cut_at_the_border(
    meg2: Detector, row: int, col: int, present: int
) -> None:
    table = SpotFinder(meg2, 5).table(torch.tensor([row * 44 + col]))
    assert int(table.present.sum()) == present
    rows, cols = torch.meshgrid(torch.arange(-2, 3) + row, torch.arange(-2, 3) + col, indexing="ij")
    expected = (rows * 44 + cols).flatten()[table.present.flatten()]
    assert torch.equal(table.sources.flatten()[table.present.flatten()], expected)
    index, taps = table.edges(4092)
    assert torch.equal(index[0], expected)
    assert torch.equal(taps, table.present.flatten().nonzero().flatten())


def test_face_that_is_no_lattice_is_refused(meg2: Detector) -> None:
    with pytest.raises(ValueError, match=r"model\.spot\.window: face 'top' is not a lattice"):
        SpotFinder(replace(meg2, faces={"top": meg2.faces["top"]}), 5)


def test_moments_agree_with_plain_sums(meg2: Detector) -> None:
    light = light_at(meg2, 50 * 44 + 10, 6.0, 0.6)
    spot = find(SpotFinder(meg2, 5), light["inner"])
    moments = FaceMoments(meg2)
    got = moments.raw(light, spot)[0].double().numpy()
    total = sum(float(values.sum()) for values in light.values())
    assert got[0] == pytest.approx(np.log(total), abs=1e-5)
    start = 4
    pitch = np.linalg.norm(meg2.position[1] - meg2.position[0])

    def near(center: np.ndarray, width: float) -> np.ndarray:
        return np.exp(-((meg2.position[:4092] - center) ** 2).sum(1) / (2 * (width * pitch) ** 2))

    center = spot.position[0].numpy()
    for _ in range(3):
        center = np.average(meg2.position[:4092], axis=0, weights=light["inner"][0].numpy() * near(center, 2))
    for name, face in meg2.faces.items():
        share = light[name][0].double().numpy() / total
        weights = [share, share**2]
        if name == "inner":
            weights += [share * near(center, width) for width in (1, 2, 4, 8)]
        x = (meg2.position[face.sensor_ids] - spot.position[0].numpy()) @ spot.frame[0].numpy().T
        for weight in weights:
            if weight.sum() > 1e-10:
                mean = np.average(x, axis=0, weights=weight)
                covariance = np.cov(x.T, aweights=weight, bias=True)
                spread = np.sqrt(covariance.diagonal().clip(0.01))
                correlation = covariance[[0, 0, 1], [1, 2, 2]] / (spread[[0, 0, 1]] * spread[[1, 2, 2]])
                skew = np.average((x - mean) ** 3, axis=0, weights=weight) / spread**3
                skew = skew.clip(-5, 5)
                expected = np.concatenate([[np.log(weight.sum())], mean, spread, correlation, skew])
                assert np.allclose(got[start : start + 13], expected, atol=0.02), (name, weight.sum())
            start += 13
    assert start == moments.num_outputs


def test_moments_of_no_light_are_finite_and_have_a_gradient(mini: Detector) -> None:
    light = {name: torch.zeros(2, len(face), requires_grad=True) for name, face in mini.faces.items()}
    spot = find(SpotFinder(mini, 3), light["inner"])
    found = FaceMoments(mini)(light, spot)
    assert found.isfinite().all()
    found.sum().backward()
    assert all(values.grad is not None and values.grad.isfinite().all() for values in light.values())


def test_fitted_moments_have_zero_mean_and_unit_spread(mini: Detector) -> None:
    torch.manual_seed(0)
    light = {name: torch.rand(200, len(face)) * 100 for name, face in mini.faces.items()}
    spot, moments = find(SpotFinder(mini, 3), light["inner"]), FaceMoments(mini)
    moments.fit(moments.raw(light, spot))
    values = (moments.raw(light, spot) - moments.mean) / moments.std
    assert torch.equal(moments(light, spot), values.clamp(-6, 6))
    assert values.mean(0).abs().max() < 1e-3
    std = values.std(0, correction=0)
    assert ((std - 1).abs() < 1e-3)[moments.std != 1].all()
    assert (moments.std != 1).sum() > 150


def test_graph_without_a_window_has_no_spot(mini: Detector) -> None:
    assert EncoderGraph(mini, ModelConfig(spot={"window": 0})).spot is None
    with pytest.raises(ValueError, match="window 4 is not odd"):
        ModelConfig(spot={"window": 4})
