from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor

from xecgnn.data import Readings
from xecgnn.models import DecoderConfig, MaskedAutoencoder, ModelConfig
from xecgnn.models.autoencoder import PATCH
from xecgnn.models.encoder_graph import EncoderGraph
from xecgnn.models.readout import SensorReadout, TokenContext
from xecgnn.nn import Masker, MaskingConfig, NormalizationConfig

BATCH = 3
SMALL = {"encoder_dim": 64, "hex_dim": 16, "num_heads": 4}
MODES = ["finegrid", "split"]


def build(detector, depth=1, channels=("npho", "relative_time"), **settings) -> MaskedAutoencoder:
    torch.manual_seed(0)
    decoder = DecoderConfig(decoder_dim=16, depth=depth, predict_channels=channels)
    model = MaskedAutoencoder(detector, ModelConfig(**SMALL | settings), NormalizationConfig(), decoder)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))  # the zeros of GRN and of biases hide nothing
    return model.double().eval()


def readings(detector) -> Tensor:
    """Raw readings with a tenth of dead sensors."""
    torch.manual_seed(1)
    x = torch.rand(BATCH, detector.num_sensors, 2).double() * torch.tensor([3000.0, 2e-7])
    x[torch.rand(x.shape[:2]) < 0.1] = 1e10
    return x


def ids(detector, face) -> np.ndarray:
    return detector.faces[face].sensor_ids


def mask(detector, model, x, **settings) -> Tensor:
    validity = model.backbone.normalizer.validity(x)
    masker = Masker(detector, MaskingConfig(**settings))
    return masker(x, validity, torch.Generator().manual_seed(2))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("pattern", ["random", "patch"])
def test_masked_sensors_influence_nothing(mini, mode, pattern):
    model, x = build(mini, outer_mode=mode), readings(mini)
    masked = mask(mini, model, x, pattern=pattern)
    masked[:, ids(mini, "bottom")] = True  # a face that is hidden as a whole
    out = model(Readings(x), ~masked)
    for change in (1e6, float("nan")):
        changed = torch.where(masked.unsqueeze(-1), x + change, x)
        assert torch.equal(model(Readings(changed), ~masked), out)
    shown = model(Readings(x))
    assert not any(torch.equal(shown[:, ids(mini, face)], out[:, ids(mini, face)]) for face in mini.faces)


@pytest.mark.parametrize("mode", MODES)
def test_event_alone_equals_event_in_a_batch(mini, mode):
    model, x = build(mini, outer_mode=mode), readings(mini)
    visible = ~mask(mini, model, x)
    together = model(Readings(x), visible)
    assert together.shape == (BATCH, mini.num_sensors, 2)
    for event in range(BATCH):
        alone = model(Readings(x[event : event + 1]), visible[event : event + 1])
        assert torch.allclose(alone[0], together[event], atol=1e-12)
    assert together.std(0).min() > 1e-6


@pytest.mark.parametrize("channels", [("npho", "relative_time"), ("npho",)])
@pytest.mark.parametrize("mode", MODES)
def test_every_parameter_gets_a_finite_gradient_with_hidden_and_dead_faces(mini, mode, channels):
    model, x = build(mini, channels=channels, outer_mode=mode).train(), readings(mini)
    visible = ~mask(mini, model, x)
    visible[:, ids(mini, "us")] = False
    visible[:, ids(mini, "bottom")] = False
    x[:, ids(mini, "ds")] = 1e10
    x[:, ids(mini, "top")] = float("nan")
    out = model(Readings(x), visible)
    assert out.size(-1) == len(channels)
    out.square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any() or name.endswith("self_attn.in_proj_bias"), name


def test_nothing_visible_is_finite(mini):
    model, x = build(mini), readings(mini)
    nothing = torch.zeros(x.shape[:2], dtype=torch.bool)
    assert model(Readings(x), nothing).isfinite().all()


def test_without_blocks_and_in_autocast(mini):
    model, batch = build(mini, depth=0).float(), Readings(readings(mini).float())
    with torch.autocast("cpu", torch.bfloat16):
        out = model(batch)
    assert (out.float() - model(batch)).abs().max() < 0.1


@pytest.mark.parametrize("name", ["mini", "meg2"])
def test_patch_outputs_go_to_their_nodes(request, name):
    detector = request.getfixturevalue(name)
    decoder = build(detector).decoder
    for node, (height, width) in decoder.shapes.items():
        rows, cols = decoder.patches[node]
        outputs = torch.arange(rows * cols * PATCH**2 * 2).view(rows * cols, -1)
        grid = decoder._nodes(node, torch.cat([outputs, -outputs])).view(2, height, width, 2)
        for row, col in [(0, 0), (height - 1, width - 1), (height // 2, 1)]:
            patch, inside = (row // PATCH) * cols + col // PATCH, (row % PATCH) * PATCH + col % PATCH
            expected = outputs[patch, 2 * inside : 2 * inside + 2]
            assert torch.equal(grid[0, row, col], expected)
            assert torch.equal(grid[1, row, col], -expected)


def test_token_grid_is_interpolation_of_the_cells():
    grid = TokenContext(64, 5, {"a": (9, 6), "b": (3, 2)})
    tokens = {"a": torch.randn(2, 64), "b": torch.randn(2, 64)}
    for node, out in grid(tokens).items():
        cells = grid.lattice(tokens[node].view(2, 4, 4, 4)).permute(0, 3, 1, 2)
        expected = F.interpolate(cells, grid.maps[node].grid, mode="bilinear").permute(0, 2, 3, 1).flatten(1, 2)
        assert torch.allclose(out, expected, atol=1e-6)


@pytest.mark.parametrize("name", ["mini", "meg2"])
@pytest.mark.parametrize("mode", MODES)
def test_readout_of_sensors_of_unequal_size(request, name, mode):
    """Each sensor is the overlap-weighted mean over its cells, worked out on the fine grid."""
    detector = request.getfixturevalue(name)
    spec = EncoderGraph(detector, ModelConfig(**SMALL, outer_mode=mode))
    shapes, face = spec.lattices, detector.faces["outer"]
    torch.manual_seed(0)
    maps = {node: torch.randn(2 * rows * cols, 3) for node, (rows, cols) in shapes.items()}
    maps |= {face: torch.randn(2 * spec.nodes[face], 3) for face in spec.hexes}
    out = SensorReadout(spec)(maps)
    assert torch.equal(out["inner"], maps["inner"])
    rows, cols = shapes["outer_0"]
    size = (3, 3) if mode == "finegrid" else tuple(np.array(face.shape) // face.coarse_shape)
    fine = maps["outer_0"].view(2, rows, cols, 3).repeat_interleave(size[0], 1).repeat_interleave(size[1], 2)
    dense = {sensor: place for place, sensor in enumerate(face.block.local_ids)}
    for sensor, (row0, row1, col0, col1) in enumerate(face.cells):
        expected = fine[:, row0:row1, col0:col1].mean((1, 2))
        if mode == "split" and sensor in dense:
            expected = maps["outer_dense_0"].view(2, -1, 3)[:, dense[sensor]]
        assert torch.allclose(out["outer"].view(2, -1, 3)[:, sensor], expected, atol=1e-6)


@pytest.mark.parametrize("channels", [(), ("relative_time",), ("relative_time", "npho"), ("npho", "npho")])
def test_channels_are_npho_or_npho_and_time(channels):
    with pytest.raises(ValidationError, match="predict_channels"):
        DecoderConfig(predict_channels=channels)
