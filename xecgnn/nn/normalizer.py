"""From raw readings to network inputs and back."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from xecgnn.names import INVALID_VALUE, is_valid
from xecgnn.nn.config import NormalizationConfig

__all__ = ["Normalizer"]

CONSTANTS = ("npho_scale", "npho_scale2", "npho_threshold", "time_scale", "time_shift", "sentinel_value", "bound")
ANSCOMBE = 3 / 8
TOP, BOUND = 3.0, 4.0  # network inputs
MIN_TIME_SCALE = 1e-11  # s


class Normalizer(nn.Module):
    """Readings (npho, time in s) -> numbers of order one; an invalid reading becomes the sentinel.

    The constants are buffers: they travel in checkpoints and win over those of the constructor.
    With n = npho and s = npho_scale: `log1p` sign(n) log1p(|n| / s) / npho_scale2; `sqrt` sign(n) sqrt(|n| / s);
    `anscombe` sqrt(max(n, -3/8) + 3/8) / sqrt(s + 3/8); `linear` n / s. Time: t / time_scale - time_shift.
    """

    npho_scale: Tensor
    npho_scale2: Tensor
    npho_threshold: Tensor
    time_scale: Tensor
    time_shift: Tensor
    sentinel_value: Tensor
    bound: Tensor

    def __init__(self, config: NormalizationConfig) -> None:
        super().__init__()
        self.npho_scheme = config.npho_scheme
        self.given = set(CONSTANTS) if config.constants == "seeds" else set(config.model_fields_set)
        for name in CONSTANTS:
            value = getattr(config, name)
            self.register_buffer(name, torch.tensor(math.inf if value is None else value))

    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """Take the constants that were not given from raw readings (E, S, 2), if they are to come from data.

        npho: the largest of a thousand readings becomes TOP, and with `log1p` the median is the scale inside. Time: the
        median becomes 0, half of the distance between the 16 % and the 84 % quantile 1. Valid inputs end at BOUND, the
        sentinel lies beyond.

        Raises:
            ValueError: no sensor has a valid npho.
        """
        if self.given >= set(CONSTANTS):
            return
        npho_valid, time_valid = self.validity(x)
        npho, time = (x[..., i][valid].double().cpu().numpy() for i, valid in enumerate((npho_valid, time_valid)))
        if not (npho > 0).any():
            raise ValueError(f"normalization.constants: auto, but no npho of {x[..., 0].numel()} readings is positive")
        middle, top = (float(np.quantile(npho[npho > 0], q)) for q in (0.5, 0.999))
        found = {"bound": BOUND, "sentinel_value": -BOUND - 1}
        if self.npho_scheme == "log1p":
            found |= {"npho_scale": middle, "npho_scale2": math.log1p(top / middle) / TOP}
        elif self.npho_scheme == "anscombe":
            found["npho_scale"] = (top + ANSCOMBE) / TOP**2 - ANSCOMBE
        else:
            found["npho_scale"] = top / (TOP**2 if self.npho_scheme == "sqrt" else TOP)
        if len(time):
            early, late, center = (float(np.quantile(time, q)) for q in (0.16, 0.84, 0.5))
            scale = max((late - early) / 2, MIN_TIME_SCALE)
            found |= {"time_scale": scale, "time_shift": center / scale}
        for name in found.keys() - self.given:
            getattr(self, name).fill_(found[name])

    def validity(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Which raw readings (..., 2) can be used: npho_valid and time_valid, (...,) bool, True = usable.

        NaN and the value written for an invalid reading fail every comparison here; time needs enough npho on top.
        """
        npho, time = x.unbind(-1)
        npho_valid = is_valid(npho)
        time_valid = is_valid(time) & npho_valid & (npho >= self.npho_threshold)
        return npho_valid, time_valid

    def forward(self, x: Tensor, npho_valid: Tensor, time_valid: Tensor) -> Tensor:
        """Raw readings (..., 2) -> network inputs (..., 2)."""
        npho, time = x.unbind(-1)
        npho = torch.where(npho_valid, npho, 0)  # before any arithmetic: NaN and 1e10 must not reach a gradient
        time = torch.where(time_valid, time, 0)
        npho = torch.where(npho_valid, self._bounded(self._transform(npho)), self.sentinel_value)
        time = torch.where(time_valid, self._bounded(time / self.time_scale - self.time_shift), self.sentinel_value)
        return torch.stack([npho, time], -1)

    def inverse(self, x: Tensor) -> Tensor:
        """Network values (..., 2) -> raw readings (..., 2), for values that were valid."""
        npho, time = x.unbind(-1)
        return torch.stack([self._restore(npho), (time + self.time_shift) * self.time_scale], -1)

    def restore(self, x: Tensor) -> Tensor:
        """Network inputs (..., 2), as from `forward`, -> raw readings that give them again; NaN counts as invalid."""
        valid = (x - self.sentinel_value).abs() > 1e-6 * self.sentinel_value.abs().clamp(min=1)
        npho, time = self.inverse(torch.where(valid, x, 0)).unbind(-1)
        # A valid time tells that npho had reached the threshold: rounding must not undo that.
        near = npho > self.npho_threshold - 1e-4 * (1 + self.npho_threshold.abs())
        npho = torch.where(valid[..., 1] & near, npho.clamp(min=self.npho_threshold), npho)
        return torch.where(valid, torch.stack([npho, time], -1), INVALID_VALUE)

    def _bounded(self, values: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(values, -self.bound), self.bound)

    def _transform(self, npho: Tensor) -> Tensor:
        scaled = npho / self.npho_scale
        if self.npho_scheme == "log1p":
            return scaled.sign() * scaled.abs().log1p() / self.npho_scale2
        if self.npho_scheme == "sqrt":  # the smallest number keeps the gradient at zero finite
            return scaled.sign() * scaled.abs().clamp(min=torch.finfo(scaled.dtype).tiny).sqrt()
        if self.npho_scheme == "anscombe":
            above = (npho + ANSCOMBE).clamp(min=torch.finfo(npho.dtype).tiny)
            return (above / (self.npho_scale + ANSCOMBE)).sqrt()
        return scaled

    def _restore(self, value: Tensor) -> Tensor:
        if self.npho_scheme == "log1p":
            return value.sign() * (value.abs() * self.npho_scale2).expm1() * self.npho_scale
        if self.npho_scheme == "sqrt":
            return value.sign() * value.square() * self.npho_scale
        if self.npho_scheme == "anscombe":
            return value.square() * (self.npho_scale + ANSCOMBE) - ANSCOMBE
        return value * self.npho_scale

    def extra_repr(self) -> str:
        return self.npho_scheme
