"""What a task is: head width, loss, decoding, metrics, units, output columns, axes of its plots."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from xecgnn.schema import prediction_of, sigma_of
from xecgnn.tasks.axes import Axis
from xecgnn.tasks.config import TaskConfig

if TYPE_CHECKING:  # torchmetrics loads matplotlib: only training and evaluation need it
    from torchmetrics import Metric, MetricCollection

    from xecgnn.nn.spot import Spot

__all__ = ["Task"]


class Task(nn.Module):
    """One physics target. The network gives `num_outputs` raw values per event; the task makes physics of them.

    Subclasses set the class attributes and `losses`, `decode`; nothing outside `xecgnn.tasks` asks which task it has.

    Attributes:
        name: key in settings, in `batch.y` and in the model's output; given by `TASKS.register`.
        branch: truth branch.
        settings: class of its section in the settings.
        width: target values per event.
        axes: the shown quantities (none for a class), see `residuals`.
        joint_error: what `errors` has instead of the residuals' sizes, where it is one number for all axes.
        resolutions: key -> shown unit of each column of `errors`.
        baselines: title -> (kind, arguments...), resolved by `xecgnn.evaluation.baselines`.
        limits: title -> (kind, columns...), what knows the truth, resolved by `xecgnn.evaluation.limits`.
        line: where the signal has a line, in the unit of the one axis.
    """

    name: ClassVar[str]
    branch: ClassVar[str]
    settings: ClassVar[type[TaskConfig]] = TaskConfig
    width: ClassVar[int]
    axes: ClassVar[tuple[Axis, ...]] = ()
    joint_error: ClassVar[Axis | None] = None
    resolutions: ClassVar[dict[str, str]] = {}
    baselines: ClassVar[dict[str, tuple[str, ...]]] = {}
    limits: ClassVar[dict[str, tuple[str, ...]]] = {}
    line: ClassVar[float | None] = None

    def __init__(self, config: TaskConfig) -> None:
        super().__init__()
        self.config = config
        self.metric_prefix = ""  # set by build_tasks where two tasks share metric names

    @property
    def weight(self) -> float:
        """Factor of this task in the total loss."""
        return self.config.weight

    @property
    def num_outputs(self) -> int:
        """Raw values per event that the network predicts."""
        return self.width

    def output_names(self) -> tuple[str, ...]:
        """Keys of `decode`."""
        return (self.name,)

    def extra_repr(self) -> str:
        return f"{self.config.loss_fn}, {self.num_outputs} outputs"

    # Network space

    def fit_scaling(self, targets: ArrayLike, guess: Tensor | None = None) -> None:
        """Take the scale of the network's output from training targets (E, width), or from what they are off a `guess`
        (E, width) from which the outputs count; identity where a task has none."""

    def guess(self, spot: Spot) -> Tensor | None:
        """What the spot alone says, (B, width) in physical units, from which the outputs count; None: nothing."""
        return None

    def losses(self, raw: Tensor, target: Tensor) -> Tensor:
        """Loss per event (B,) of float32 raw outputs (B, num_outputs) and valid targets (B, width)."""
        raise NotImplementedError

    def scores(self, raw: Tensor, target: Tensor) -> Tensor:
        """What networks are judged by, arguments as `losses`: the loss, unless it weighs events by what it predicts."""
        return self.losses(raw, target)

    def decode(self, raw: Tensor) -> dict[str, Tensor]:
        """Raw outputs (B, num_outputs) -> {name: physical values (B, width)}, and {name_sigma: ...} where predicted."""
        raise NotImplementedError

    def from_spot(self, raw: Tensor, spot: Spot) -> Tensor:
        """Raw outputs as seen from the spot -> raw outputs: a head predicts what a simple guess lacks."""
        return raw

    def mirrored(self, target: Tensor, axis: str) -> Tensor:
        """Targets (B, width) or (B,) of the events with `axis`, y or z, the other way round.

        Raises:
            ValueError: the task does not say.
        """
        raise ValueError(f"task {self.name} does not say how it is mirrored: give it `mirrored`, or do not mirror")

    def valid(self, target: Tensor) -> Tensor:
        """Events (B,) that have this target: all values finite."""
        return target.isfinite().all(-1)

    def placeholder(self) -> float | Tensor:
        """A harmless target for events that have none: their loss is finite, and then masked."""
        return 0.0

    def loss(self, raw: Tensor, target: Tensor, judged: bool = False) -> tuple[Tensor, Tensor]:
        """Loss per event, computed in float32 whatever the precision of `raw`.

        Args:
            raw: (B, num_outputs) as the network gives it.
            target: (B, width) or (B,) in physical units; NaN where unknown.
            judged: `scores` (validation, files) in place of `losses` (training).

        Returns:
            Loss (B,), zero where there is no target, and the mask (B,) of events that have one.
        """
        target = target.reshape(len(raw), -1)
        valid = self.valid(target)
        target = torch.where(valid.unsqueeze(-1), target, self.placeholder())
        loss = self.scores(raw.float(), target) if judged else self.losses(raw.float(), target)
        return torch.where(valid, loss, 0.0), valid

    def mean_loss(
        self,
        raw: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        total: Callable[[Tensor], Tensor] = lambda weights: weights,
    ) -> Tensor:
        """Mean loss over the events with a target, weighted by `weight` (B,); 0 with zero gradient if none has.

        `total` makes of the sum of the weights what the sum of the losses is divided by.
        """
        loss, valid = self.loss(raw, target)
        weight = valid.float() if weight is None else weight * valid
        return (loss * weight).sum() / total(weight.sum()).clamp(min=torch.finfo(weight.dtype).tiny)

    # Physical space. Class methods: metrics keep them, and must not keep the task.

    @classmethod
    def shown(cls, values: Tensor) -> Tensor:
        """Physical values (B, width) as shown quantities (B, len(axes)) in the units of the axes."""
        return values * values.new_tensor([axis.scale for axis in cls.axes])

    @classmethod
    def residuals(cls, prediction: Tensor, target: Tensor) -> Tensor:
        """Predicted - true in shown units (B, len(axes)); periodic ones in (-period / 2, period / 2]."""
        residual = cls.shown(prediction) - cls.shown(target)
        for column, axis in enumerate(cls.axes):
            if axis.period is not None:
                wrapped = axis.period / 2 - torch.remainder(axis.period / 2 - residual[:, column], axis.period)
                residual[:, column] = wrapped
        return residual

    @classmethod
    def errors(cls, prediction: Tensor, target: Tensor) -> Tensor:
        """Absolute errors (B, len(resolutions)) whose 68 % quantiles are the resolutions."""
        return cls.residuals(prediction, target).abs()

    def build_metrics(self) -> MetricCollection:
        """Accumulators over an epoch, updated with (prediction, target) in physical units; keys in `tasks.metrics`."""
        from torchmetrics import MetricCollection

        return MetricCollection(self._metrics(), prefix=self.metric_prefix or None, compute_groups=False)

    def metric_units(self) -> dict[str, str]:
        """Unit of each metric ("" where it has none)."""
        units = dict(self.resolutions)
        for axis in self.axes:
            units |= {f"{axis.name}_bias": axis.unit, f"{axis.name}_rms": axis.unit, f"{axis.name}_skew": ""}
        return {self.metric_prefix + key: unit for key, unit in units.items()}

    def _metrics(self) -> dict[str, Metric | MetricCollection]:
        from xecgnn.tasks.metrics import Moments, Resolution

        return {
            "resolution": Resolution(list(self.resolutions), self.errors),
            "moments": Moments([axis.name for axis in self.axes], self.residuals),
        }

    def columns(self, outputs: dict[str, Tensor]) -> dict[str, NDArray[np.generic]]:
        """Columns for files: pred_<branch> and, where predicted, sigma_<branch>; (B,) or (B, width)."""
        columns = {prediction_of(self.branch): outputs[self.name]}
        if f"{self.name}_sigma" in outputs:
            columns[sigma_of(self.branch)] = outputs[f"{self.name}_sigma"]
        return {key: as_column(values) for key, values in columns.items()}


def as_column(values: Tensor) -> NDArray[np.generic]:
    """(B,) or (B, width > 1) on the CPU: files hold single values as scalars."""
    array = values.detach().cpu().numpy()
    return array.reshape(len(array)) if array.size == len(array) else np.ascontiguousarray(array)
