"""Validation events with truth, loss, predictions of the network and of the baselines; written as CSV and ROOT."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xecgnn.evaluation.baselines.light import Light
from xecgnn.evaluation.baselines.targets import Baseline
from xecgnn.names import LOSS, SCHEMA, TARGETS
from xecgnn.tasks.task import Task

__all__ = ["NETWORK", "Columns", "ValidationSample", "baseline_branch", "event_losses"]

Columns = dict[str, NDArray]  # branch -> (E,) or (E, width)

NETWORK = "network"  # title of the network's own predictions, beside those of the baselines


class ValidationSample:
    """Collects batches; E events in all.

    Attributes (after the last `add`):
        columns: as the files hold them, (E,) or (E, width): run, event, truth branches, loss (see `event_losses`) and,
            for each task, pred_<branch>, sigma_<branch> where predicted, and what `baseline_branch` names.

    Args:
        tasks: tasks of the network, by name.
        baselines: {task: {title: fitted baseline}}.
    """

    def __init__(self, tasks: Mapping[str, Task], baselines: Mapping[str, Mapping[str, Baseline]]) -> None:
        self.tasks = tasks
        self.baselines = baselines
        self._columns: dict[str, list[NDArray]] = {}

    def add(self, batch: Any, raw: Mapping[str, Tensor], light: Light) -> Columns:
        """Add a batch: truth from `batch.y`, `run` and `event` where present, raw outputs of the network.

        Returns the columns of this batch.
        """
        columns = batch.identifiers
        columns |= {branch: batch.y[name] for name, branch in TARGETS.items() if name in batch.y}
        arrays = {name: _column(values.cpu().numpy(), SCHEMA[name].dtype) for name, values in columns.items()}
        arrays[LOSS] = event_losses(self.tasks, raw, batch.y).cpu().numpy()
        for name, task in self.tasks.items():
            arrays |= task.columns(task.decode(raw[name]))
            for title, baseline in self.baselines[name].items():
                (values,) = task.columns({name: torch.as_tensor(baseline.predict(light))}).values()
                arrays[baseline_branch(title, task)] = _column(values, SCHEMA[task.branch].dtype)
        for name, values in arrays.items():
            self._columns.setdefault(name, []).append(values)
        return arrays

    @property
    def columns(self) -> Columns:
        return {name: np.concatenate(parts) for name, parts in self._columns.items()}


def baseline_branch(title: str, task: Task) -> str:
    """Branch with the predictions of a baseline: `surface_normal_emiAng`. Classes are saved, not probabilities."""
    return f"{title.replace(' ', '_')}_{task.branch}"


def event_losses(tasks: Mapping[str, Task], raw: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
    """Loss of each event (B,): sum of weight x loss over the tasks whose target it has; NaN where it has none."""
    found = (task.loss(raw[name], targets[name], judged=True) for name, task in tasks.items())
    losses, valid = zip(*found, strict=True)
    weights = [task.weight for task in tasks.values()]
    total = sum(weight * loss for weight, loss in zip(weights, losses, strict=True))
    return torch.where(torch.stack(valid).any(0), total, torch.nan)


def _column(values: NDArray, dtype: str) -> NDArray:
    """(E,) or (E, width > 1) in the type of the branch."""
    wide = values.astype(dtype).reshape(len(values), -1)
    return wide[:, 0] if wide.shape[1] == 1 else wide
