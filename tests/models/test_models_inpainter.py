from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

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


def readings(detector) -> dict[str, Tensor]:
    """Raw readings with a tenth of dead sensors."""
    torch.manual_seed(1)
    x = {}
    for name, face in detector.faces.items():
        values = torch.rand(BATCH * len(face), 2).double() * torch.tensor([1000.0, 2e-7])
        values[torch.rand(len(values)) < 0.1] = 1e10
        values[torch.rand(len(values)) < 0.05, 0] = float("nan")
        x[name] = values
    return x


def shown(model, x, **settings) -> dict[str, Tensor]:
    """Visible sensors: valid and not masked."""
    validity = {name: model.encoder.normalizer.validity(values) for name, values in x.items()}
    masked = Masker(model.detector, MaskingConfig(**settings))(x, validity, torch.Generator().manual_seed(2))
    return {name: npho & ~masked[name] for name, (npho, _) in validity.items()}


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
    visible["us"].view(BATCH, -1)[:, :10] = False  # a hole wider than the window
    visible["bottom"][:] = False
    out, normalizer = model(x, visible), model.encoder.normalizer
    fallbacks = 0
    for name, face in mini.faces.items():
        near = neighbors(face)
        npho, time = normalizer.validity(x[name])
        values = normalizer(x[name], npho, time).view(BATCH, -1, 2).numpy()
        usable = (torch.stack([npho, time], 1) & visible[name][:, None]).view(BATCH, -1, 2).numpy()
        for event, sensor, channel in np.ndindex(BATCH, len(face), 2):
            seen = usable[event, :, channel]
            ids = [i for i in near[sensor] if seen[i]]
            weights = [near[sensor][i] for i in ids]
            if not ids:
                ids = np.flatnonzero(seen)
                weights, fallbacks = np.ones(len(ids)), fallbacks + 1
            expected = np.average(values[event, ids, channel], weights=weights) if len(ids) else 0.0
            assert out[name].view(BATCH, -1, 2)[event, sensor, channel].item() == pytest.approx(expected, abs=1e-12)
    assert fallbacks > 100


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("pattern", ["random", "patch"])
def test_hidden_sensors_influence_nothing(mini, mode, pattern):
    model, x = build(mini, outer_mode=mode), readings(mini)
    visible = shown(model, x, pattern=pattern, mask_ratio=0.3)
    visible["top"][:] = False
    out = model(x, visible)
    for change in (1e6, float("nan")):
        changed = {name: torch.where(visible[name].unsqueeze(1), values, values + change) for name, values in x.items()}
        for name, values in model(changed, visible).items():
            assert torch.equal(values, out[name]), name


@pytest.mark.parametrize("mode", MODES)
def test_prediction_reads_every_face_of_its_event_but_no_hidden_sensor(mini, mode):
    model, x = build(mini, outer_mode=mode), readings(mini)
    visible = shown(model, x, mask_ratio=0.1, pattern="random")
    inputs = {name: torch.where(values.abs() < 9e9, values, 0).requires_grad_() for name, values in x.items()}
    for name in mini.faces:
        hidden = int((~visible[name][: len(mini.faces[name])]).nonzero()[0])
        gradients = torch.autograd.grad(model(inputs, visible)[name][hidden, 0], list(inputs.values()))
        for face, gradient in zip(inputs, gradients, strict=True):
            influence = gradient[:, 0].abs().view(BATCH, -1)
            assert influence[0].max() > 0, (name, face)
            assert not influence[1:].any()
            assert not influence[0][~visible[face].view(BATCH, -1)[0]].any()


@pytest.mark.parametrize("mode", MODES)
def test_event_alone_equals_event_in_a_batch(mini, mode):
    model, x = build(mini, outer_mode=mode), readings(mini)
    visible = shown(model, x, mask_ratio=0.1)
    together = model(x, visible)
    assert list(together) == list(mini.faces)
    for event in range(BATCH):
        alone = [{name: v.unflatten(0, (BATCH, -1))[event] for name, v in a.items()} for a in (x, visible)]
        for name, values in model(*alone).items():
            assert torch.allclose(values, together[name].view(BATCH, -1, 2)[event], atol=1e-12)


@pytest.mark.parametrize("mode", MODES)
def test_every_parameter_gets_a_finite_gradient_with_hidden_and_dead_faces(mini, mode):
    model, x = build(mini, outer_mode=mode).train(), readings(mini)
    visible = shown(model, x, mask_ratio=(0.01, 0.1))
    visible["us"][:] = False
    x["top"][:] = float("nan")
    visible["top"][:] = False
    sum(values.square().sum() for values in model(x, visible).values()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any() or name.endswith("self_attn.in_proj_bias"), name


def test_fill_leaves_valid_sensors_and_empty_events_untouched(mini):
    model, x = build(mini), readings(mini)
    for values in x.values():
        values.view(BATCH, -1, 2)[1] = float("nan")  # an event without any valid sensor
    x["ds"][:] = INVALID_VALUE
    valid = {name: model.encoder.normalizer.validity(values)[0] for name, values in x.items()}
    before = {name: values.clone() for name, values in x.items()}
    out, filled = model.fill(x)
    for name, values in out.items():
        assert torch.equal(x[name].nan_to_num(7.0), before[name].nan_to_num(7.0))
        event = torch.arange(BATCH).repeat_interleave(len(mini.faces[name]))
        assert torch.equal(filled[name], ~valid[name] & (event != 1))
        assert torch.equal(values[~filled[name]].nan_to_num(7.0), x[name][~filled[name]].nan_to_num(7.0))
        npho, time = values[filled[name]].unbind(-1)
        assert npho.isfinite().all()
        assert (npho >= 0).all()
        assert torch.equal(time == INVALID_VALUE, npho < 100)
        assert (time[npho >= 100].abs() < 1e-5).all()
    assert any((values[filled[name], 0] < 100).any() for name, values in out.items())


def test_fill_replaces_dead_sensors_whatever_they_say(mini):
    model, x = build(mini), readings(mini)
    dead = {name: torch.rand(len(values)) < 0.2 for name, values in x.items()}
    out, filled = model.fill(x, dead)
    for name, values in x.items():
        invalid = ~model.encoder.normalizer.validity(values)[0]
        assert torch.equal(filled[name], dead[name] | invalid)
    louder = {name: torch.where(dead[name].unsqueeze(1), 1e5, values) for name, values in x.items()}
    for name, values in model.fill(louder, dead)[0].items():
        assert torch.equal(values[filled[name]], out[name][filled[name]])
    everything = {name: torch.ones_like(values) for name, values in dead.items()}
    for name, values in model.fill(x, everything)[0].items():
        assert torch.equal(values.nan_to_num(7.0), x[name].nan_to_num(7.0))


@pytest.mark.parametrize("value", [-1e4, 1e4])
def test_fill_of_a_bad_network_is_a_valid_reading(mini, value):
    model, x = build(mini), readings(mini)
    nn.init.constant_(model.lattice_head[-1].bias, value)
    nn.init.constant_(model.hex_head[-1].bias, value)
    for name, values in model.fill(x)[0].items():
        valid, _ = model.encoder.normalizer.validity(values)
        assert valid.all(), name
        assert (values[:, 0] >= 0).all()


def test_autocast_keeps_the_mean_in_full_precision(mini):
    model, x = build(mini, trained=False).float(), {name: values.float() for name, values in readings(mini).items()}
    visible = shown(model, x, mask_ratio=0.1)
    with torch.autocast("cpu", torch.bfloat16):
        out = model(x, visible)
    for name, values in model(x, visible).items():
        assert torch.equal(out[name], values)
