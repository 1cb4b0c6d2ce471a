"""Validation events with truth, loss, predictions of the network and of the baselines; written as CSV and ROOT."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xecgnn.evaluation.baselines.light import Light
from xecgnn.evaluation.baselines.targets import Baseline
from xecgnn.evaluation.display.photon import LOSS
from xecgnn.names import BRANCHES, TARGETS
from xecgnn.output import completed
from xecgnn.tasks.task import Task

__all__ = ["NETWORK", "Columns", "ValidationSample", "baseline_branch", "event_losses", "write_csv", "write_root"]

Columns = dict[str, NDArray]  # branch -> (E,) or (E, width)

NETWORK = "network"  # title of the network's own predictions, beside those of the baselines
CSV_ROWS = 10_000  # events formatted at a time


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
        arrays = {name: _column(values.cpu().numpy(), BRANCHES[name].dtype) for name, values in columns.items()}
        arrays[LOSS] = event_losses(self.tasks, raw, batch.y).cpu().numpy()
        for name, task in self.tasks.items():
            arrays |= task.columns(task.decode(raw[name]))
            for title, baseline in self.baselines[name].items():
                (values,) = task.columns({name: torch.as_tensor(baseline.predict(light))}).values()
                arrays[baseline_branch(title, task)] = _column(values, BRANCHES[task.branch].dtype)
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


def write_csv(path: Path, columns: Mapping[str, NDArray] | Iterable[Mapping[str, NDArray]]) -> None:
    """One row per event; several values become columns <branch>_0, <branch>_1, ...; float32 reads back exactly.

    `columns` may come in portions with the same names: then only one is in memory.
    """
    with completed(path) as part, part.open("w", encoding="utf-8") as file:
        for number, portion in enumerate([columns] if isinstance(columns, Mapping) else columns):
            names: list[str] = []
            values: list[NDArray] = []
            formats: list[str] = []
            for name, array in portion.items():
                wide = array.reshape(len(array), -1)
                names += [name] if wide.shape[1] == 1 else [f"{name}_{i}" for i in range(wide.shape[1])]
                formats += ["%d" if np.issubdtype(array.dtype, np.integer) else "%.9g"] * wide.shape[1]
                values.append(wide)
            if number == 0:
                file.write(",".join(names) + "\n")
            for start in range(0, len(values[0]), CSV_ROWS):
                rows = [wide[start : start + CSV_ROWS].astype(np.float64) for wide in values]
                np.savetxt(file, np.concatenate(rows, 1), fmt=formats, delimiter=",")


def write_root(path: Path, columns: Mapping[str, NDArray]) -> None:
    """The same columns as branches of a tree, with several values per entry where there are several."""
    from xecgnn.data.writer import TreeWriter, layout_of

    with TreeWriter(path, layout_of(columns)) as writer:
        writer.write(columns)


def _column(values: NDArray, dtype: str) -> NDArray:
    """(E,) or (E, width > 1) in the type of the branch."""
    wide = values.astype(dtype).reshape(len(values), -1)
    return wide[:, 0] if wide.shape[1] == 1 else wide
