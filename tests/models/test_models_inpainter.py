from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from xecgnn.data import Readings
from xecgnn.models import Inpainter, InpainterConfig, ModelConfig
from xecgnn.names import INVALID_VALUE
from xecgnn.nn import Masker, MaskingConfig, NormalizationConfig

BATCH = 3
SMALL = {"encoder_dim": 64, "hex_dim": 16, "num_heads": 4}
MODES = ["finegrid", "split"]
BINOMIAL = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1])


def build(detector, trained=True, **settings) -> Inpainter:
    torch.manual_seed(0)
    config = InpainterConfig(local_dim=8)
    model = Inpainter(detector, ModelConfig(**SMALL | settings), NormalizationConfig(), config)
    if trained:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model.double().eval()


def readings(detector) -> Tensor:
    """Raw readings with a tenth of dead sensors."""
    torch.manual_seed(1)
    x = torch.rand(BATCH, detector.num_sensors, 2).double() * torch.tensor([1000.0, 2e-7])
    x[torch.rand(x.shape[:2]) < 0.1] = 1e10
    x[..., 0][torch.rand(x.shape[:2]) < 0.05] = float("nan")
    return x


def ids(detector, face) -> np.ndarray:
    return detector.faces[face].sensor_ids


def shown(model, x, **settings) -> Tensor:
    """Visible sensors: valid and not masked."""
    validity = model.backbone.normalizer.validity(x)
    masked = Masker(model.detector, MaskingConfig(**settings))(x, validity, torch.Generator().manual_seed(2))
    return validity[0] & ~masked


def neighbors(face) -> dict[int, dict[int, float]]:
    """Sensor -> the sensors around it with their weights."""
    if face.layout == "hex" or face.block is not None:
        found: dict[int, dict[int, float]] = {sensor: {} for sensor in range(len(face))}
        for source, target in face.edge_index.T:
            if source != target:
                found[target][source] = 1.0
        return found
    rows, cols = face.shape
    steps = [(i, j) for i in range(-2, 3) for j in range(-2, 3) if (i, j) != (0, 0)]
    return {
        r * cols + c: {
            (r + i) * cols + c + j: BINOMIAL[i + 2, j + 2]
            for i, j in steps
            if 0 <= r + i < rows and 0 <= c + j < cols
        }
        for r in range(rows)
        for c in range(cols)
    }


def test_starts_as_the_mean_of_the_visible_neighbours(mini):
    model, x = build(mini, trained=False), readings(mini)
    visible = shown(model, x, mask_ratio=0.7)
    visible[:, ids(mini, "us")[:10]] = False  # a hole wider than the window
    visible[:, ids(mini, "bottom")] = False
    out, normalizer = model(Readings(x), visible), model.backbone.normalizer
    npho, time = normalizer.validity(x)
    normalised = normalizer(x, npho, time).numpy()
    known = (torch.stack([npho, time], -1) & visible.unsqueeze(-1)).numpy()
    fallbacks = 0
    for name, face in mini.faces.items():
        near = neighbors(face)
        values, usable = normalised[:, face.sensor_ids], known[:, face.sensor_ids]
        for event, sensor, channel in np.ndindex(BATCH, len(face), 2):
            seen = usable[event, :, channel]
            around = [i for i in near[sensor] if seen[i]]
            weights = [near[sensor][i] for i in around]
            if not around:
                around = np.flatnonzero(seen)
                weights, fallbacks = np.ones(len(around)), fallbacks + 1
            expected = np.average(values[event, around, channel], weights=weights) if len(around) else 0.0
            assert out[event, ids(mini, name)[sensor], channel].item() == pytest.approx(expected, abs=1e-12)
    assert fallbacks > 100


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("pattern", ["random", "patch"])
def test_hidden_sensors_influence_nothing(mini, mode, pattern):
    model, x = build(mini, outer_mode=mode), readings(mini)
    visible = shown(model, x, pattern=pattern, mask_ratio=0.3)
    visible[:, ids(mini, "top")] = False
    out = model(Readings(x), visible)
    for change in (1e6, float("nan")):
        changed = torch.where(visible.unsqueeze(-1), x, x + change)
        assert torch.equal(model(Readings(changed), visible), out)


@pytest.mark.parametrize("mode", MODES)
def test_prediction_reads_every_face_of_its_event_but_no_hidden_sensor(mini, mode):
    model, x = build(mini, outer_mode=mode), readings(mini)
    visible = shown(model, x, mask_ratio=0.1, pattern="random")
    inputs = torch.where(x.abs() < 9e9, x, 0).requires_grad_()
    for name in mini.faces:
        hidden = next(sensor for sensor in ids(mini, name) if not visible[0, sensor])
        (gradient,) = torch.autograd.grad(model(Readings(inputs), visible)[0, hidden, 0], [inputs])
        influence = gradient[..., 0].abs()
        for face in mini.faces:
            assert influence[0, ids(mini, face)].max() > 0, (name, face)
        assert not influence[1:].any()
        assert not influence[0][~visible[0]].any()


@pytest.mark.parametrize("mode", MODES)
def test_event_alone_equals_event_in_a_batch(mini, mode):
    model, x = build(mini, outer_mode=mode), readings(mini)
    visible = shown(model, x, mask_ratio=0.1)
    together = model(Readings(x), visible)
    assert together.shape == (BATCH, mini.num_sensors, 2)
    for event in range(BATCH):
        alone = model(Readings(x[event : event + 1]), visible[event : event + 1])
        assert torch.allclose(alone[0], together[event], atol=1e-12)


@pytest.mark.parametrize("mode", MODES)
def test_every_parameter_gets_a_finite_gradient_with_hidden_and_dead_faces(mini, mode):
    model, x = build(mini, outer_mode=mode).train(), readings(mini)
    visible = shown(model, x, mask_ratio=(0.01, 0.1))
    visible[:, ids(mini, "us")] = False
    x[:, ids(mini, "top")] = float("nan")
    visible[:, ids(mini, "top")] = False
    model(Readings(x), visible).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any() or name.endswith("self_attn.in_proj_bias"), name


def test_fill_leaves_valid_sensors_and_empty_events_untouched(mini):
    model, x = build(mini), readings(mini)
    x[1] = float("nan")  # an event without any valid sensor
    x[:, ids(mini, "ds")] = INVALID_VALUE
    valid, before = model.backbone.normalizer.validity(x)[0], x.clone()
    out, filled = model.fill(Readings(x))
    assert torch.equal(x.nan_to_num(7.0), before.nan_to_num(7.0))
    assert torch.equal(filled, ~valid & torch.tensor([[True], [False], [True]]))
    assert torch.equal(out[~filled].nan_to_num(7.0), x[~filled].nan_to_num(7.0))
    npho, time = out[filled].unbind(-1)
    assert npho.isfinite().all()
    assert (npho >= 0).all()
    assert torch.equal(time == INVALID_VALUE, npho < 100)
    assert (time[npho >= 100].abs() < 1e-5).all()
    assert (npho < 100).any()


def test_fill_replaces_dead_sensors_whatever_they_say(mini):
    model, x = build(mini), readings(mini)
    dead = torch.rand(x.shape[:2]) < 0.2
    out, filled = model.fill(Readings(x), dead)
    assert torch.equal(filled, dead | ~model.backbone.normalizer.validity(x)[0])
    louder = torch.where(dead.unsqueeze(-1), 1e5, x)
    assert torch.equal(model.fill(Readings(louder), dead)[0][filled], out[filled])
    everything = model.fill(Readings(x), torch.ones_like(dead))[0]
    assert torch.equal(everything.nan_to_num(7.0), x.nan_to_num(7.0))


@pytest.mark.parametrize("value", [-1e4, 1e4])
def test_fill_of_a_bad_network_is_a_valid_reading(mini, value):
    model, x = build(mini), readings(mini)
    nn.init.constant_(model.heads["lattice"][-1].bias, value)
    nn.init.constant_(model.heads["hex"][-1].bias, value)
    filled, _ = model.fill(Readings(x))
    assert model.backbone.normalizer.validity(filled)[0].all()
    assert (filled[..., 0] >= 0).all()


def test_autocast_keeps_the_mean_in_full_precision(mini):
    model, x = build(mini, trained=False).float(), readings(mini).float()
    visible = shown(model, x, mask_ratio=0.1)
    with torch.autocast("cpu", torch.bfloat16):
        out = model(Readings(x), visible)
    assert torch.equal(out, model(Readings(x), visible))
