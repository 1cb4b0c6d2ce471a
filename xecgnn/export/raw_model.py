"""The network as a file holds it: readings of all sensors in, physical quantities out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from xecgnn.data.graph import face_runs
from xecgnn.detector import Detector
from xecgnn.models.encoder import Encoder
from xecgnn.models.inpainter import Inpainter
from xecgnn.models.xec import XECModel
from xecgnn.names import FEATURES, SCHEMA
from xecgnn.nn.topology import SpreadTopology

__all__ = ["READINGS", "TOKENS", "RawModel"]

READINGS = "readings"  # input (B, S, 2) of a file that takes normalised values
TOKENS = "tokens"  # output (B, T, D) of the encoder alone


class RawModel(nn.Module):
    """(npho, relative_time), each (B, S) float32 as read -> one tensor per name in `output_names`.

    Readings are normalised by sensor id, once for all faces, and the faces are slices and static gathers: the same
    numbers as `model(batch)` in fewer operations.

    Attributes:
        input_names: `npho` and `relative_time`, or `readings`.
        output_names: keys of `model(batch)`, or `tokens`.

    Args:
        model: the network; with `encoder_only` any that has an `encoder`.
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
        self.detector, self.encoder = cast(Detector, model.detector), cast(Encoder, model.encoder)
        self.model = None if encoder_only else cast(XECModel, model)
        self.inpainter, self.normalized_input = inpainter, normalized_input
        self.tasks = self._pick_tasks(tasks)
        if inpainter is not None and inpainter.detector.hash != self.detector.hash:
            raise ValueError(
                f"the inpainter is for detector {inpainter.detector.name} {inpainter.detector.hash[:12]}, "
                f"the network for {self.detector.name} {self.detector.hash[:12]}"
            )
        if inpainter is not None and normalized_input:
            raise ValueError("an inpainter needs raw readings: it cannot be combined with normalised input")
        self.input_names = (READINGS,) if normalized_input else FEATURES
        self.units = {name: SCHEMA[task.branch].unit for task in self.tasks for name in task.output_names()}
        self.units = self.units or {TOKENS: ""}
        self.output_names = tuple(self.units)
        self.runs = face_runs(self.detector)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Inputs in the order of `input_names` -> outputs in the order of `output_names`."""
        tokens = self.encoder.tokens(self.encoder.face_features(self._nodes(*inputs), {}))  # [B, T, D]
        if self.model is None:
            return (tokens,)
        fused = self.model.fusion(tokens).flatten(1)  # [B, T*D]
        outputs: dict[str, Tensor] = {}
        for task in self.tasks:
            outputs |= task.decode(self.model.heads[task.name](fused))
        return tuple(outputs[name] for name in self.output_names)

    def reference(self, readings: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """What `forward` must give, the way the network was trained: raw readings of each face (B * N, 2)."""
        if self.inpainter is not None:
            readings, _ = self.inpainter.fill(readings)
        if self.model is None:
            return (self.encoder(readings),)
        outputs = self.model(readings)
        return tuple(outputs[name] for name in self.output_names)

    def inputs(self, npho: Tensor, relative_time: Tensor) -> tuple[Tensor, ...]:
        """Raw readings (B, S) as the inputs of `forward`."""
        if not self.normalized_input:
            return npho, relative_time
        x = torch.stack([npho, relative_time], -1)
        return (self.encoder.normalizer(x, *self.encoder.normalizer.validity(x)),)

    def _pick_tasks(self, names: Sequence[str] | None) -> list[Any]:
        if self.model is None:
            if names:
                raise ValueError("the encoder alone has no tasks")
            return []
        unknown = [name for name in names or () if name not in self.model.tasks]
        if unknown:
            raise ValueError(f"the model has no task {unknown[0]!r}; its tasks: {', '.join(self.model.tasks)}")
        return [self.model.task(name) for name in self.model.tasks if not names or name in names]

    def _nodes(self, *inputs: Tensor) -> dict[str, Tensor]:
        """What the face encoders see, (B * N, 2) by node type of the first level."""
        normalizer = self.encoder.normalizer
        if self.normalized_input:
            (x,) = inputs
            valid = (x - normalizer.sentinel_value).abs() > 1e-6 * normalizer.sentinel_value.abs().clamp(min=1)
            npho_valid, time_valid = valid[..., 0], valid.all(-1)  # NaN is not valid
            values = torch.where(torch.stack([npho_valid, time_valid], -1), x, normalizer.sentinel_value)
            x = normalizer.inverse(torch.where(valid, x, 0))
        else:
            x = torch.stack(inputs, -1)  # [B, S, 2]
            if self.inpainter is not None:
                filled, _ = self.inpainter.fill({face: self._face(x, face) for face in self.runs})
                return self.encoder.normalized(filled)[0]
            npho_valid, time_valid = normalizer.validity(x)
            values = normalizer(x, npho_valid, time_valid)
        nodes = {}
        for node, face in self.encoder.inputs.items():
            if node in self.encoder.grids:
                grid = cast(SpreadTopology, self.encoder.grids[node])
                readings = (self._face(x, face), self._face(npho_valid, face), self._face(time_valid, face))
                nodes[node] = normalizer(*self.encoder.spread(readings, grid))
            else:
                nodes[node] = self._face(values, face)
        return nodes

    def _face(self, x: Tensor, face: str) -> Tensor:
        """(B, S, ...) -> (B * N, ...) of the sensors of a face."""
        parts = [x[:, run] for run in self.runs[face]]
        return (torch.cat(parts, 1) if len(parts) > 1 else parts[0]).flatten(0, 1)
