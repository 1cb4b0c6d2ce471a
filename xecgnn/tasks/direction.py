"""Direction of the photon, as the angles (theta, phi) or as a unit vector."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from xecgnn.directions import angles_to_vector, mirrored_vector, opening_angle, vector_to_angles
from xecgnn.names import TARGETS
from xecgnn.tasks.axes import AXES, Axis
from xecgnn.tasks.config import AngleConfig, AngleVecConfig
from xecgnn.tasks.losses import concentration, cosine_loss, normalized, vmf_nll
from xecgnn.tasks.registry import TASKS
from xecgnn.tasks.regression import RegressionTask

if TYPE_CHECKING:
    from xecgnn.nn.spot import Spot

__all__ = ["Angle", "AngleVec", "DirectionTask"]

# A resolution of 10 deg is kappa = 75, far from a fresh head's outputs. On a toy problem vmf reached its resolution in
# fewer steps with 5 to 30 than with 1, and kappa was calibrated sooner.
KAPPA_SCALE = 10.0
MIN_SIN_THETA = 1e-3  # phi has no meaning along the beam: keeps its sigma finite


class DirectionTask(RegressionTask):
    """Adds the losses on the sphere. With `vmf` and `cosine` the head predicts a 3-vector, without target scaling.

    Its direction is the prediction. For `vmf` KAPPA_SCALE times its length is the concentration kappa (see `vmf_nll`),
    and `decode` adds standard deviations: 1 / sqrt(kappa) rad along either axis of the tangent plane, carried to the
    physical values.
    """

    axes = AXES["emiAng"]
    joint_error = Axis("opening_angle", "ψ", "deg", math.degrees(1.0))
    resolutions: ClassVar = {"resolution_deg": "deg"}
    baselines: ClassVar = {
        "mean direction": ("mean_direction",),
        "surface normal": ("along", "normal"),
        "vertex line": ("along", "point"),
    }
    limits: ClassVar = {"deposits": ("direction", "deposits_emiVec")}

    @staticmethod
    def to_vector(values: Tensor) -> Tensor:
        """Physical values (B, width) to directions (B, 3)."""
        raise NotImplementedError

    @staticmethod
    def from_vector(vector: Tensor) -> Tensor:
        """Directions (B, 3) to physical values (B, width)."""
        raise NotImplementedError

    @staticmethod
    def sigma_from_kappa(vector: Tensor, kappa: Tensor) -> Tensor:
        """Standard deviations (B, width) of the physical values for directions (B, 3) with concentration (B,)."""
        raise NotImplementedError

    @property
    def on_sphere(self) -> bool:
        return self.config.loss_fn in ("vmf", "cosine")

    @property
    def predicts_sigma(self) -> bool:
        return self.config.loss_fn in ("vmf", "gaussian_nll")

    def guess(self, spot: Spot) -> Tensor:
        return self.from_vector(spot.frame[:, 0])

    def from_spot(self, raw: Tensor, spot: Spot) -> Tensor:
        """Angles relative to those of the normal; vectors along the axes of the frame, with the normal as a guess."""
        if not self.on_sphere:
            return super().from_spot(raw, spot)
        raw = raw + raw.new_tensor([1.0, 0.0, 0.0])
        return (raw.unsqueeze(2) * spot.frame).sum(1)

    def mirrored(self, target: Tensor, axis: str) -> Tensor:
        return self.from_vector(mirrored_vector(self.to_vector(target), axis))

    @property
    def num_outputs(self) -> int:
        return 3 if self.on_sphere else super().num_outputs

    def losses(self, raw: Tensor, target: Tensor) -> Tensor:
        if not self.on_sphere:
            return super().losses(raw, target)
        vector = self.to_vector(target)
        return vmf_nll(KAPPA_SCALE * raw, vector) if self.config.loss_fn == "vmf" else cosine_loss(raw, vector)

    def decode(self, raw: Tensor) -> dict[str, Tensor]:
        if not self.on_sphere:
            return super().decode(raw)
        raw = raw.float()
        vector = normalized(raw)
        outputs = {self.name: self.from_vector(vector)}
        if self.predicts_sigma:
            # Where the network knows nothing (kappa -> 0) sigma ends at pi.
            kappa = concentration(KAPPA_SCALE * raw).clamp(min=math.pi**-2)
            outputs[f"{self.name}_sigma"] = self.sigma_from_kappa(vector, kappa)
        return outputs

    @classmethod
    def errors(cls, prediction: Tensor, target: Tensor) -> Tensor:
        angle = opening_angle(cls.to_vector(prediction), cls.to_vector(target))
        return angle.unsqueeze(-1) * cls.joint_error.scale


@TASKS.register("angle")
class Angle(DirectionTask):
    """Emission angles (theta, phi) in rad."""

    branch = TARGETS["angle"]
    settings = AngleConfig
    width = 2

    to_vector = staticmethod(angles_to_vector)
    from_vector = staticmethod(vector_to_angles)

    @staticmethod
    def sigma_from_kappa(vector: Tensor, kappa: Tensor) -> Tensor:
        sin_theta = vector[:, :2].square().sum(-1).sqrt().clamp(min=MIN_SIN_THETA)
        return torch.stack([kappa.rsqrt(), kappa.rsqrt() / sin_theta], -1)

    def nearest(self, target: Tensor, prediction: Tensor) -> Tensor:
        turns = torch.round((prediction - target) / (2 * math.pi))
        return target + 2 * math.pi * turns * turns.new_tensor([0.0, 1.0])  # only phi is periodic


@TASKS.register("angleVec")
class AngleVec(DirectionTask):
    """Emission direction as a unit vector; metrics are those of its angles."""

    branch = TARGETS["angleVec"]
    settings = AngleVecConfig
    width = 3

    @staticmethod
    def to_vector(values: Tensor) -> Tensor:
        return values

    @staticmethod
    def from_vector(vector: Tensor) -> Tensor:
        return vector

    @staticmethod
    def sigma_from_kappa(vector: Tensor, kappa: Tensor) -> Tensor:
        return ((1 - vector.square()).clamp(min=0) / kappa.unsqueeze(-1)).sqrt()

    @classmethod
    def shown(cls, values: Tensor) -> Tensor:
        return super().shown(vector_to_angles(values))

    def decode(self, raw: Tensor) -> dict[str, Tensor]:
        outputs = super().decode(raw)
        outputs[self.name] = normalized(outputs[self.name])  # plain regression predicts any length
        return outputs
