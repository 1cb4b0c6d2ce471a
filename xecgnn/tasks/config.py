"""Settings of the tasks: which run, with which loss; and of the reweighting of their training samples."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from xecgnn.settings import Settings

__all__ = [
    "AngleConfig",
    "AngleVecConfig",
    "EnergyConfig",
    "NGammaConfig",
    "PositionConfig",
    "RegressionConfig",
    "ReweightingConfig",
    "TaskConfig",
    "TasksConfig",
]

RegressionLoss = Literal[
    "smooth_l1", "l1", "mse", "huber", "relative_l1", "relative_smooth_l1", "relative_mse", "gaussian_nll"
]
DirectionLoss = Literal[RegressionLoss, "vmf", "cosine"]


class TaskConfig(Settings):
    """What every task has. Each task narrows `loss_fn` to the losses it knows; others are errors that list these."""

    enabled: bool = Field(default=False, description="train this task")
    loss_fn: str = Field(default="smooth_l1", description="loss")
    loss_beta: float = Field(
        default=1.0,
        gt=0,
        description="where smooth_l1 and huber turn linear, in standard deviations of the target (relative_*: ratio)",
    )
    weight: float = Field(default=1.0, ge=0, description="factor of this task in the total loss")


class AngleConfig(TaskConfig):
    """Emission angles (theta, phi); the one task that is on by default."""

    enabled: bool = Field(default=True, description="train this task")
    loss_fn: DirectionLoss = Field(default="smooth_l1", description="loss; vmf and cosine predict a 3-vector inside")


class RegressionConfig(TaskConfig):
    """Of a continuous quantity."""

    loss_fn: RegressionLoss = Field(default="l1", description="loss")


class EnergyConfig(RegressionConfig):
    """An energy."""

    log_transform: bool = Field(default=False, description="regress the logarithm of the energy")


class PositionConfig(RegressionConfig):
    """A place."""

    loss_fn: RegressionLoss = Field(default="mse", description="loss")


class AngleVecConfig(TaskConfig):
    """Emission direction as a unit vector."""

    loss_fn: DirectionLoss = Field(default="cosine", description="loss")


class NGammaConfig(TaskConfig):
    """Number of photons, 0 to 4."""

    loss_fn: Literal["cross_entropy"] = Field(default="cross_entropy", description="loss")


class TasksConfig(Settings):
    """The tasks by name; any set of them trains together."""

    angle: AngleConfig = Field(default_factory=AngleConfig, description="emission angles theta, phi (rad)")
    energy: EnergyConfig = Field(default_factory=EnergyConfig, description="photon energy (GeV)")
    timing: RegressionConfig = Field(default_factory=RegressionConfig, description="time of the first interaction (s)")
    uvwFI: PositionConfig = Field(default_factory=PositionConfig, description="first interaction u, v, w (cm)")  # noqa: N815
    angleVec: AngleVecConfig = Field(default_factory=AngleVecConfig, description="emission direction, unit vector")  # noqa: N815
    edep: EnergyConfig = Field(default_factory=EnergyConfig, description="energy left in the xenon (GeV)")
    centroid: PositionConfig = Field(default_factory=PositionConfig, description="centroid x, y, z of that energy (cm)")
    n_gamma: NGammaConfig = Field(default_factory=NGammaConfig, description="number of photons, 0 to 4")


class Histogram1D(Settings):
    """Bins of a target with one value."""

    enabled: bool = Field(default=False, description="weight training events to a flat distribution of this target")
    nbins: PositiveInt = Field(default=30, description="number of bins between the smallest and the largest target")

    @property
    def bins(self) -> tuple[int, ...]:
        return (self.nbins,)


class Histogram2D(Settings):
    """Bins of a target with two or three values; a third value takes the second number."""

    enabled: bool = Field(default=False, description="weight training events to a flat distribution of this target")
    nbins_2d: tuple[PositiveInt, PositiveInt] = Field(default=(20, 20), description="number of bins along either value")

    @property
    def bins(self) -> tuple[int, ...]:
        return self.nbins_2d


class PositionHistogram(Histogram2D):
    """Bins of (u, v, w)."""

    nbins_2d: tuple[PositiveInt, PositiveInt] = Field(default=(10, 10), description="number of bins along u, v; w as v")


class ReweightingConfig(Settings):
    """Targets whose training distribution is flattened; the weights of several multiply."""

    angle: Histogram2D = Field(default_factory=Histogram2D, description="bins in (theta, phi)")
    energy: Histogram1D = Field(default_factory=Histogram1D, description="bins in energy")
    timing: Histogram1D = Field(default_factory=Histogram1D, description="bins in time")
    uvwFI: PositionHistogram = Field(default_factory=PositionHistogram, description="bins in (u, v, w)")  # noqa: N815
