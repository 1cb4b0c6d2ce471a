"""Losses per value or per event, in float32. Each takes network-space tensors and reduces nothing over the batch."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["POINTWISE", "beta_nll", "concentration", "cosine_loss", "normalized", "vmf_nll"]

NLL_BETA = 0.5  # exponent of the variance in beta-NLL, as recommended by Seitzer et al.
MAX_LOG_VARIANCE = 14.0  # sigma between 1e-3 and 1e3 standard deviations of the target
EPSILON = 1e-6  # smallest length of a predicted vector: its direction has a finite gradient even at zero

# name -> f(residual, beta), elementwise on any shape
POINTWISE: dict[str, Callable[[Tensor, float], Tensor]] = {
    "l1": lambda r, beta: r.abs(),
    "mse": lambda r, beta: r.square(),
    "smooth_l1": lambda r, beta: F.smooth_l1_loss(r, torch.zeros_like(r), reduction="none", beta=beta),
    "huber": lambda r, beta: F.huber_loss(r, torch.zeros_like(r), reduction="none", delta=beta),
}


def bounded_log_variance(raw: Tensor) -> Tensor:
    """Log variance that a head may express, any shape."""
    return raw.clamp(-MAX_LOG_VARIANCE, MAX_LOG_VARIANCE)


def beta_nll(mean: Tensor, log_variance: Tensor, target: Tensor, beta: float = NLL_BETA) -> Tensor:
    """Gaussian negative log likelihood (without its constant), weighted with the predicted variance to the power beta.

        var^beta * (log var + (target - mean)^2 / var) / 2,   var^beta without gradient

    The weight keeps badly predicted events in the training, where the plain likelihood would only raise their variance.
    It is no measure of quality: below sigma = exp(-1 / (2 beta) - 1 / 2), 0.22 for 1/2, the loss of right sigmas rises
    as they fall. beta = 0 is the plain likelihood. Elementwise, any shape. Reference: Seitzer et al., "On the Pitfalls
    of Heteroscedastic Uncertainty Estimation with Probabilistic Neural Networks", ICLR 2022, arXiv:2203.09168.
    """
    log_variance = bounded_log_variance(log_variance)
    nll = 0.5 * (log_variance + (target - mean).square() * torch.exp(-log_variance))
    return nll * torch.exp(beta * log_variance.detach())


def concentration(vector: Tensor) -> Tensor:
    """Length of (..., 3) vectors, (...,), at least EPSILON and differentiable at zero."""
    return (vector.square().sum(-1) + EPSILON**2).sqrt()


def normalized(vector: Tensor) -> Tensor:
    """Direction of (..., 3) vectors."""
    return vector / concentration(vector).unsqueeze(-1)


def cosine_loss(vector: Tensor, target: Tensor) -> Tensor:
    """1 - cos(opening angle) between a (B, 3) vector of any length and a (B, 3) unit vector: (B,).

    Written as |mu - t|^2 / 2, which keeps its digits where both agree.
    """
    return 0.5 * (normalized(vector) - target).square().sum(-1)


def vmf_nll(vector: Tensor, target: Tensor) -> Tensor:
    """Negative log density of von Mises and Fisher on the sphere, (B,).

        kappa |mu - t|^2 / 2 - log kappa + log(1 - exp(-2 kappa)) + log(2 pi),   kappa = |vector|, mu = vector / kappa

    Args: `vector` (B, 3), `target` (B, 3) unit vectors. Reference: Mardia and Jupp, Directional Statistics, 2000.
    """
    kappa = concentration(vector)
    log_norm = kappa.log() - torch.log(-torch.expm1(-2.0 * kappa)) - math.log(2.0 * math.pi)
    return kappa * cosine_loss(vector, target) - log_norm
