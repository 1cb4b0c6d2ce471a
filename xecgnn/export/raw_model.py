"""The network as a file holds it: readings of all sensors in, physical quantities out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from xecgnn.data.batch import Readings
from xecgnn.detector import Detector
from xecgnn.models.inpainter import Inpainter
from xecgnn.models.xec import XECModel
from xecgnn.names import FEATURES, SCHEMA

__all__ = ["READINGS", "TOKENS", "RawModel"]

READINGS = "readings"  # input (B, S, 2) of a file that takes normalised values
TOKENS = "tokens"  # output (B, T, D) of the encoder alone


class RawModel(nn.Module):
    """(npho, relative_time), each (B, S) float32 as read -> one tensor per name in `output_names`.

    Attributes:
        input_names: `npho` and `relative_time`, or `readings`.
        output_names: keys of `model(batch)`, or `tokens`.

    Args:
        model: the network; with `encoder_only` any that has a `backbone`.
        tasks: tasks to keep, None: all.
        normalized_input: the one input is (B, S, 2) of normalised (npho, relative_time), with the sentinel in place of
            invalid readings.
        encoder_only: the output is the tokens of the faces.
        inpainter: fills the sensors without npho before the network looks.

    Raises:
        ValueError: a task that the model does not have; an inpainter of another detector, or with normalised input.
    """

    def __init__(
        self,
        model: nn.Module,
        tasks: Sequence[str] | None = None,
        *,
        normalized_input: bool = False,
        encoder_only: bool = False,
        inpainter: Inpainter | None = None,
    ) -> None:
        super().__init__()
        self.model, self.encoder_only = cast(XECModel, model), encoder_only
        self.detector = cast(Detector, model.detector)
        self.normalizer = self.model.normalizer
        self.inpainter, self.normalized_input = inpainter, normalized_input
        if inpainter is not None and inpainter.detector.hash != self.detector.hash:
            raise ValueError(
                f"the inpainter is for detector {inpainter.detector.name} {inpainter.detector.hash[:12]}, "
                f"the network for {self.detector.name} {self.detector.hash[:12]}"
            )
        if inpainter is not None and normalized_input:
            raise ValueError("an inpainter needs raw readings: it cannot be combined with normalised input")
        self.tasks = self._pick_tasks(tasks)
        self.input_names = (READINGS,) if normalized_input else FEATURES
        self.units = {name: SCHEMA[task.branch].unit for task in self.tasks for name in task.output_names()}
        self.units = self.units or {TOKENS: ""}
        self.output_names = tuple(self.units)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Inputs in the order of `input_names` -> outputs in the order of `output_names`."""
        return self.outputs(self.normalizer.restore(*inputs) if self.normalized_input else torch.stack(inputs, -1))

    def outputs(self, x: Tensor) -> tuple[Tensor, ...]:
        """What the network says to raw readings (B, S, 2)."""
        if self.inpainter is not None:
            x, _ = self.inpainter.fill(Readings(x))
        if self.encoder_only:
            return (self.model.backbone.encoder(self.model.backbone.inputs(Readings(x))),)
        outputs = self.model(Readings(x))
        return tuple(outputs[name] for name in self.output_names)

    def inputs(self, npho: Tensor, relative_time: Tensor) -> tuple[Tensor, ...]:
        """Raw readings (B, S) as the inputs of `forward`."""
        if not self.normalized_input:
            return npho, relative_time
        x = torch.stack([npho, relative_time], -1)
        return (self.normalizer(x, *self.normalizer.validity(x)),)

    def _pick_tasks(self, names: Sequence[str] | None) -> list[Any]:
        if self.encoder_only:
            if names:
                raise ValueError("the encoder alone has no tasks")
            return []
        unknown = [name for name in names or () if name not in self.model.tasks]
        if unknown:
            raise ValueError(f"the model has no task {unknown[0]!r}; its tasks: {', '.join(self.model.tasks)}")
        return [self.model.task(name) for name in self.model.tasks if not names or name in names]
