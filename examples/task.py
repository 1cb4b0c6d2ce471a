"""A task of one's own: the energy that the photon leaves in the xenon, which is less than its own where some escapes.

    xecgnn-train angle.yaml --plugins examples/task.py --tasks angle deposit
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from xecgnn.tasks import TASKS, Axis, RegressionTask

__version__ = "1"


@TASKS.register("deposit")
class Deposit(RegressionTask):
    """Energy left in the xenon (GeV)."""

    branch = "edepTruth"
    width = 1
    axes = (Axis("deposit", "E", "MeV", 1e3),)
    resolutions: ClassVar = {"deposit_resolution_68": "MeV"}
    baselines: ClassVar = {"training mean": ("linear",)}

    def mirrored(self, target: Tensor, axis: str) -> Tensor:
        """An energy looks the same in a mirror."""
        return target

    def losses(self, raw: Tensor, target: Tensor) -> Tensor:
        """Its own loss, in place of `loss_fn`: log cosh of the scaled residual."""
        residual = raw - self.scale(target)
        return (residual + (-2 * residual).exp().log1p()).squeeze(-1)
