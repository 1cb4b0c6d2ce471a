from __future__ import annotations

import pytest
import torch

from xecgnn.nn import NormalizationConfig, Normalizer

SCHEMES = ["log1p", "sqrt", "anscombe", "linear"]
BAD = [float("nan"), 1e10, -1e10, float("inf")]


def normalizer(scheme: str = "log1p", **constants: float) -> Normalizer:
    return Normalizer(NormalizationConfig(npho_scheme=scheme, **constants)).double()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_round_trip(scheme):
    module = normalizer(scheme)
    npho = torch.tensor([-0.3, 0.0, 1.0, 250.0, 3e4] + [-50.0] * (scheme != "anscombe"), dtype=torch.float64)
    x = torch.stack([npho, torch.linspace(0, 3e-7, len(npho), dtype=torch.float64)], -1)
    usable = torch.ones(len(npho), dtype=torch.bool)
    back = module.inverse(module(x, usable, usable))
    assert torch.allclose(back[:, 0], x[:, 0], rtol=1e-9, atol=1e-9)
    assert torch.allclose(back[:, 1], x[:, 1], rtol=1e-9, atol=1e-17)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_reading_gives_nan_or_a_nan_gradient(scheme):
    module = normalizer(scheme)
    values = [*BAD, -50.0, -0.375, 0.0, 1e5]
    x = torch.tensor([[n, t] for n in values for t in [*BAD, 0.0, 1e-7]], dtype=torch.float64, requires_grad=True)
    out = module(x, *module.validity(x))
    assert out.isfinite().all()
    assert torch.autograd.grad(out.sum(), x)[0].isfinite().all()


def test_validity():
    module = normalizer(npho_threshold=100.0)
    x = torch.tensor([[n, 0.0] for n in [*BAD, -50.0, 99.0, 100.0]] + [[500.0, t] for t in [*BAD, -1e-8]])
    npho_valid, time_valid = module.validity(x)
    assert npho_valid.tolist() == [False] * 4 + [True] * 8
    assert time_valid.tolist() == [False] * 6 + [True] + [False] * 4 + [True]
    out = module(x.double(), npho_valid, time_valid)
    assert torch.equal(out[~npho_valid, 0], torch.full((4,), -2.0, dtype=torch.float64))


def test_sentinel_lies_outside_the_valid_range():
    for branch, npho, time in (("npho", [-50.0, 1e5], [0.0, 1e-6]), ("relative_npho", [-0.05, 1.0], [0.0, 1e-6])):
        module = Normalizer(NormalizationConfig.for_branch(branch))
        usable = torch.ones(2, dtype=torch.bool)
        assert module(torch.tensor([npho, time]).t(), usable, usable).min() > module.sentinel_value + 0.9


def test_constants_travel_with_the_state():
    source, target = normalizer(npho_scale=7.0), normalizer()
    target.load_state_dict(source.state_dict())
    assert target.npho_scale == 7.0


def test_unknown_branch():
    with pytest.raises(ValueError, match=r"'nphe'.*npho, relative_npho"):
        NormalizationConfig.for_branch("nphe")


@pytest.mark.parametrize("scheme", ["log1p", "sqrt", "anscombe", "linear"])
def test_restored_inputs_give_the_same_inputs(scheme):
    """Also at the threshold itself, which counts of whole photo-electrons often meet, and at zero."""
    for threshold in (100.0, 0.0):
        module = normalizer(scheme, npho_threshold=threshold)
        npho = torch.cat([torch.rand(1000) * 3e4, torch.full((100,), threshold), torch.tensor([1e10, float("nan")])])
        x = torch.stack([npho, torch.rand(len(npho)) * 1e-7], -1)
        x[:50, 1] = 1e10
        inputs = module(x, *module.validity(x))
        restored = module.restore(inputs)
        for before, after in zip(module.validity(x), module.validity(restored), strict=True):
            assert torch.equal(before, after)
        assert torch.allclose(module(restored, *module.validity(restored)), inputs, rtol=1e-5, atol=1e-6)


def sample(dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Readings as files have them: a broad npho, times around another zero, some invalid."""
    generator = torch.Generator().manual_seed(0)
    npho = torch.randn(20, 400, generator=generator, dtype=dtype).mul(1.5).add(5).exp()
    time = torch.randn(20, 400, generator=generator, dtype=dtype) * 2e-9 - 7e-8
    x = torch.stack([npho, time], -1)
    x[0, :50] = 1e10
    x[1, :50] = torch.nan
    return x


@pytest.mark.parametrize("scheme", ["log1p", "sqrt", "anscombe", "linear"])
def test_auto_puts_the_sample_into_a_bounded_range(scheme: str) -> None:
    normalizer = Normalizer(NormalizationConfig(constants="auto", npho_scheme=scheme)).double()
    x = sample()
    normalizer.fit(x)
    validity = normalizer.validity(x)
    values = normalizer(x, *validity)
    npho, time = (values[..., i][valid] for i, valid in enumerate(validity))
    assert float(npho.quantile(0.999)) == pytest.approx(3.0, abs=0.02)
    assert float(time.median()) == pytest.approx(0.0, abs=0.02)
    assert float(time.quantile(0.84) - time.quantile(0.16)) == pytest.approx(2.0, abs=0.02)
    assert npho.abs().max() <= 4
    assert time.abs().max() <= 4
    assert (values[..., 0][~validity[0]] == -5).all()
    inside = (values.abs() < 4) & torch.stack(validity, -1)
    assert torch.allclose(normalizer.inverse(values)[inside], x[inside], rtol=1e-6)


def test_constants_that_are_given_win_over_the_sample() -> None:
    config = NormalizationConfig.model_validate({"constants": "auto", "time_scale": 5e-9, "sentinel_value": -9.0})
    normalizer = Normalizer(config)
    normalizer.fit(sample(torch.float32))
    assert float(normalizer.time_scale) == pytest.approx(5e-9)
    assert float(normalizer.sentinel_value) == -9.0
    assert float(normalizer.npho_scale) != 30.0
    again = NormalizationConfig.model_validate(config.model_dump())  # as a run folder keeps them
    assert again == config
    assert again.model_fields_set >= {"time_scale", "sentinel_value"}
    assert "npho_scale" not in config.model_dump()


def test_seeds_constants_do_not_look_at_the_sample() -> None:
    normalizer = Normalizer(NormalizationConfig())
    before = {name: values.clone() for name, values in normalizer.named_buffers()}
    normalizer.fit(sample())
    assert all(torch.equal(values, before[name]) for name, values in normalizer.named_buffers())


def test_sample_without_light_is_an_error() -> None:
    normalizer = Normalizer(NormalizationConfig(constants="auto"))
    with pytest.raises(ValueError, match=r"normalization\.constants: auto, but no npho of 20 readings is positive"):
        normalizer.fit(torch.full((2, 10, 2), 1e10))
