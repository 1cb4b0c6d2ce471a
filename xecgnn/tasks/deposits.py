"""Regression of what the photon left in the xenon: energy and its centroid, which the light knows best."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from xecgnn.directions import mirrored_vector
from xecgnn.names import TARGETS
from xecgnn.tasks.axes import AXES
from xecgnn.tasks.config import PositionConfig
from xecgnn.tasks.registry import TASKS
from xecgnn.tasks.regression import Energy, RegressionTask

if TYPE_CHECKING:
    from xecgnn.nn.spot import Spot

__all__ = ["Centroid", "DepositedEnergy"]


@TASKS.register("edep")
class DepositedEnergy(Energy):
    """Energy in GeV that the photon left in the xenon; events without any are left out. Resolution relative, in %."""

    branch = TARGETS["edep"]
    axes = AXES["edepTruth"]
    resolutions: ClassVar = {"edep_resolution_68": "%"}
    line = None  # some of it leaks out
    limits: ClassVar = {"light": ("normal", "edepTruth", "limit_edepTruth")}

    def valid(self, target: Tensor) -> Tensor:
        return super().valid(target) & (target > 0).all(-1)


@TASKS.register("centroid")
class Centroid(RegressionTask):
    """Centroid of that energy, (x, y, z) in cm; as seen from the spot a head predicts it in the spot's frame."""

    branch = TARGETS["centroid"]
    settings = PositionConfig
    width = 3
    axes = AXES["centroidTruth"]
    resolutions: ClassVar = {f"{axis.name}_resolution_68": axis.unit for axis in axes}
    baselines: ClassVar = {"training mean": ("linear",), "light spot": ("linear", "point", "normal", "spread")}
    limits: ClassVar = {"light": ("normal", "centroidTruth", "limit_centroidTruth")}

    def fit_scaling(self, targets: ArrayLike, guess: Tensor | None = None) -> None:
        super().fit_scaling(targets, guess)
        self.std.copy_(self.std.square().mean().sqrt())  # one for all axes: it stays what it is where they turn

    def guess(self, spot: Spot) -> Tensor:
        return spot.position

    def from_spot(self, raw: Tensor, spot: Spot) -> Tensor:
        turned = (raw[:, :3].unsqueeze(2) * spot.frame).sum(1)
        return super().from_spot(torch.cat([turned, raw[:, 3:]], 1), spot)

    def mirrored(self, target: Tensor, axis: str) -> Tensor:
        return mirrored_vector(target, axis)
