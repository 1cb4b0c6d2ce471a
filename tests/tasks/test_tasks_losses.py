from __future__ import annotations

import math

import pytest
import torch

from xecgnn.tasks.losses import POINTWISE, beta_nll, cosine_loss, normalized, vmf_nll


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("l1", [0.2, 3.0]),
        ("mse", [0.04, 9.0]),
        ("smooth_l1", [0.5 * 0.04 / 0.5, 3.0 - 0.25]),
        ("huber", [0.5 * 0.04, 0.5 * (3.0 - 0.25)]),
    ],
)
def test_pointwise_losses_have_their_closed_form(name, expected):
    residual = torch.tensor([0.2, -3.0])
    torch.testing.assert_close(POINTWISE[name](residual, 0.5), torch.tensor(expected))


def test_beta_nll_is_the_gaussian_likelihood_times_a_weight_without_gradient():
    mean = torch.tensor([0.3], requires_grad=True)
    log_variance = torch.tensor([-1.2], requires_grad=True)
    target = torch.tensor([0.9])
    loss = beta_nll(mean, log_variance, target)
    sigma = math.exp(-0.6)
    plain = -torch.distributions.Normal(0.3, sigma).log_prob(target) - 0.5 * math.log(2 * math.pi)
    torch.testing.assert_close(loss, plain * sigma)
    loss.backward()
    # d(loss)/d(mean) = -(target - mean) / var * var^(1/2): errors of uncertain events are not forgotten.
    torch.testing.assert_close(mean.grad, torch.tensor([-0.6 / sigma]))
    torch.testing.assert_close(log_variance.grad, torch.tensor([0.5 * (1 - 0.36 / sigma**2) * sigma]))


@pytest.mark.parametrize("kappa", [1e-3, 0.5, 5.0, 80.0, 2000.0])
def test_vmf_density_integrates_to_one_over_the_sphere(kappa):
    mu = torch.tensor([0.6, -0.48, 0.64], dtype=torch.float64)
    # Rotational symmetry about mu: integrate over c = cos(angle) with a substitution that resolves the peak.
    angle = torch.linspace(0, 1, 20001, dtype=torch.float64) ** 3 * math.pi
    side = normalized(torch.linalg.cross(mu, torch.tensor([0.0, 0, 1], dtype=torch.float64), dim=-1))
    target = angle.cos()[:, None] * mu + angle.sin()[:, None] * side
    density = torch.exp(-vmf_nll((kappa * mu).expand_as(target), target))
    assert torch.trapezoid(2 * math.pi * density * angle.sin(), angle).item() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("loss", [vmf_nll, cosine_loss])
@pytest.mark.parametrize("length", [0.0, 1e-8, 1.0, 1e4])
def test_sphere_losses_have_finite_gradients_at_the_target_and_at_zero(loss, length):
    target = normalized(torch.tensor([[0.3, -0.5, 0.8]]))
    vector = (length * target).requires_grad_()
    value = loss(vector, target)
    value.backward()
    assert value.isfinite().all()
    assert vector.grad.isfinite().all()


def test_vmf_is_least_at_the_maximum_likelihood_concentration():
    """Mean resultant length R of the data and A(kappa) = coth(kappa) - 1 / kappa agree at the minimum."""
    generator = torch.Generator().manual_seed(0)
    data = normalized(torch.tensor([0.0, 0, 4]) + torch.randn(4000, 3, generator=generator)).double()
    mean = data.mean(0)
    kappa = torch.linspace(5, 40, 71, dtype=torch.float64)
    average = torch.stack([vmf_nll((k * normalized(mean)).expand_as(data), data).mean() for k in kappa])
    best = kappa[average.argmin()]
    assert (1 / torch.tanh(best) - 1 / best).item() == pytest.approx(mean.norm().item(), abs=3e-3)


def test_cosine_loss_ignores_length():
    target = normalized(torch.randn(5, 3))
    vector = torch.randn(5, 3)
    expected = 1 - torch.cosine_similarity(vector, target)
    torch.testing.assert_close(cosine_loss(vector, target), expected)
    torch.testing.assert_close(cosine_loss(100 * vector, target), expected)
