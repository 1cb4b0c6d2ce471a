"""Regression of continuous quantities: energy, time, first interaction point."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from xecgnn.names import TARGETS
from xecgnn.tasks.axes import AXES
from xecgnn.tasks.config import EnergyConfig, PositionConfig, RegressionConfig, TaskConfig
from xecgnn.tasks.losses import NLL_BETA, POINTWISE, beta_nll, bounded_log_variance
from xecgnn.tasks.registry import TASKS
from xecgnn.tasks.task import Task

if TYPE_CHECKING:
    from xecgnn.nn.spot import Spot

__all__ = ["Energy", "Position", "RegressionTask", "Timing"]

RELATIVE = "relative_"
MIN_RELATIVE_TARGET = 0.01  # smallest |target| that a residual is divided by, in standard deviations of the target


class RegressionTask(Task):
    """Targets scaled to zero mean and unit spread; the network predicts the scaled values.

    Losses, mean over the values of an event:
        `smooth_l1`, `l1`, `mse`, `huber`: of the scaled residual.
        `relative_*`: of (predicted - true) / |true| in physical units, |true| at least 1 % of the target's spread.
        `gaussian_nll`: see `beta_nll`; judged by the plain likelihood. The head has as many outputs again, the
            logarithms of the variances, and `decode` adds the standard deviations in physical units.
    """

    settings: ClassVar[type[TaskConfig]] = RegressionConfig
    mean: Tensor
    std: Tensor

    def __init__(self, config: TaskConfig) -> None:
        super().__init__(config)
        self.register_buffer("mean", torch.zeros(self.width))
        self.register_buffer("std", torch.ones(self.width))

    @property
    def predicts_sigma(self) -> bool:
        return self.config.loss_fn == "gaussian_nll"

    @property
    def num_outputs(self) -> int:
        return self.width * (1 + self.predicts_sigma)

    def output_names(self) -> tuple[str, ...]:
        return (self.name, f"{self.name}_sigma") if self.predicts_sigma else (self.name,)

    def fit_scaling(self, targets: ArrayLike, guess: Tensor | None = None) -> None:
        """Mean and standard deviation of training targets (E, width) or (E,) in physical units, or of their distance
        from a guess (E, width); NaN rows are left out.

        Raises:
            ValueError: no event has a target.
        """
        values = torch.from_numpy(np.array(targets, dtype=np.float64)).reshape(-1, self.width)
        usable = self.valid(values)
        if not usable.any():
            raise ValueError(f"task {self.name}: no usable training target among {len(values)} events")
        values = values[usable]
        if guess is None:
            values = self.transform(values)
        else:
            guess = guess.to(values)[usable]
            values = self.transform(self.nearest(values, guess)) - self.transform(guess)
        std, mean = torch.std_mean(values, 0, correction=0)
        # A constant target (monochromatic photons) has no spread: rounding must not become its scale.
        size = values.abs().amax(0)
        floor = 1e-6 * torch.where(size == 0, 1, size)
        self.mean.copy_(mean)
        self.std.copy_(torch.where(std > floor, std, 1e3 * floor))

    def transform(self, values: Tensor) -> Tensor:
        """Physical values to those that are scaled."""
        return values

    def inverse(self, values: Tensor) -> Tensor:
        """Inverse of `transform`."""
        return values

    def inverse_slope(self, physical: Tensor) -> Tensor | float:
        """Derivative of `inverse`, at a physical value: carries sigmas to physical units."""
        return 1.0

    def scale(self, physical: Tensor) -> Tensor:
        """Physical values (B, width) to network space."""
        return (self.transform(physical) - self.mean) / self.std

    def unscale(self, scaled: Tensor) -> Tensor:
        """Inverse of `scale`, differentiable."""
        return self.inverse(scaled * self.std + self.mean)

    def from_spot(self, raw: Tensor, spot: Spot) -> Tensor:
        """Adds the guess to what a head has learned to be off it."""
        guess = self.guess(spot)
        if guess is None:
            return raw
        # In the precision of the guess: that of a shorter `raw` would round it to half a degree.
        return torch.cat([raw[:, : self.width] + self.transform(guess) / self.std, raw[:, self.width :]], 1)

    def nearest(self, target: Tensor, prediction: Tensor) -> Tensor:
        """The target (B, width) itself; for a periodic one its image nearest to the prediction."""
        return target

    def placeholder(self) -> Tensor:
        return self.inverse(self.mean)

    def losses(self, raw: Tensor, target: Tensor) -> Tensor:
        predicted = self.unscale(raw[:, : self.width])
        target = self.nearest(target, predicted.detach())
        loss_fn, beta = self.config.loss_fn, self.config.loss_beta
        if loss_fn == "gaussian_nll":
            loss = self._nll(raw, target, NLL_BETA)
        elif loss_fn.startswith(RELATIVE):
            size = torch.maximum(target.abs(), MIN_RELATIVE_TARGET * self.std * self.inverse_slope(target))
            loss = POINTWISE[loss_fn.removeprefix(RELATIVE)]((predicted - target) / size, beta)
        else:
            loss = POINTWISE[loss_fn](raw[:, : self.width] - self.scale(target), beta)
        return loss.mean(-1)

    def scores(self, raw: Tensor, target: Tensor) -> Tensor:
        if self.config.loss_fn != "gaussian_nll":
            return super().scores(raw, target)
        predicted = self.unscale(raw[:, : self.width])
        return self._nll(raw, self.nearest(target, predicted), 0.0).mean(-1)

    def _nll(self, raw: Tensor, target: Tensor, beta: float) -> Tensor:
        return beta_nll(raw[:, : self.width], raw[:, self.width :], self.scale(target), beta)

    def decode(self, raw: Tensor) -> dict[str, Tensor]:
        raw = raw.float()
        outputs = {self.name: self.unscale(raw[:, : self.width])}
        if self.predicts_sigma:
            scaled_sigma = torch.exp(0.5 * bounded_log_variance(raw[:, self.width :]))
            outputs[f"{self.name}_sigma"] = scaled_sigma * self.std * self.inverse_slope(outputs[self.name])
        return outputs


@TASKS.register("energy")
class Energy(RegressionTask):
    """Photon energy in GeV, optionally regressed as its logarithm. Resolution relative, in %."""

    branch = TARGETS["energy"]
    settings = EnergyConfig
    width = 1
    axes = AXES["energyTruth"]
    resolutions: ClassVar = {"energy_resolution_68": "%"}
    line: ClassVar[float | None] = 52.83  # half of the muon's mass
    baselines: ClassVar = {"training mean": ("linear",), "face sums": ("linear", "faces", "root_faces")}
    limits: ClassVar = {
        "light": ("normal", "energyTruth", "limit_edepTruth"),
        "leakage": ("as it is", "edepTruth"),
        "light + leakage": ("normal", "edepTruth", "limit_edepTruth"),
    }
    config: EnergyConfig

    def valid(self, target: Tensor) -> Tensor:
        valid = super().valid(target)
        return valid & (target > 0).all(-1) if self.config.log_transform else valid

    def transform(self, values: Tensor) -> Tensor:
        return values.log() if self.config.log_transform else values

    def inverse(self, values: Tensor) -> Tensor:
        return values.exp() if self.config.log_transform else values

    def inverse_slope(self, physical: Tensor) -> Tensor | float:
        return physical if self.config.log_transform else 1.0

    def mirrored(self, target: Tensor, axis: str) -> Tensor:
        return target

    @classmethod
    def errors(cls, prediction: Tensor, target: Tensor) -> Tensor:
        return 100.0 * (prediction - target).abs() / target.abs()


@TASKS.register("timing")
class Timing(RegressionTask):
    """Time of the first interaction in s, on the zero of `relative_time`."""

    branch = TARGETS["timing"]
    width = 1
    axes = AXES["timeTruth"]
    resolutions: ClassVar = {"time_resolution_68": "ps"}
    baselines: ClassVar = {
        "training mean": ("linear",),
        "times and paths": ("linear", "time_first", "time_mean", "path_mean", "spread"),  # fits the speed of the light
    }
    limits: ClassVar = {"light": ("normal", "timeTruth", "limit_timeTruth")}

    def guess(self, spot: Spot) -> Tensor:
        return spot.time.unsqueeze(1)

    def mirrored(self, target: Tensor, axis: str) -> Tensor:
        return target


@TASKS.register("uvwFI")
class Position(RegressionTask):
    """First interaction point (u, v, w) in cm."""

    branch = TARGETS["uvwFI"]
    settings = PositionConfig
    width = 3
    axes = AXES["uvwTruth"]
    resolutions: ClassVar = {f"{axis.name}_resolution_68": axis.unit for axis in AXES["uvwTruth"]}
    baselines: ClassVar = {"training mean": ("linear",), "light spot": ("linear", "u", "v", "w", "spread")}

    def guess(self, spot: Spot) -> Tensor:
        return spot.uvw

    def mirrored(self, target: Tensor, axis: str) -> Tensor:
        return target * target.new_tensor([-1.0, 1.0, 1.0] if axis == "z" else [1.0, -1.0, 1.0])
