"""Validation events with truth, predictions of the network and of the baselines; written as CSV and ROOT."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from xecgnn.evaluation.baselines import Baseline
from xecgnn.evaluation.light import Light
from xecgnn.names import BRANCHES, IDENTIFIERS, TARGETS
from xecgnn.output import completed
from xecgnn.tasks import Task

__all__ = ["NETWORK", "ValidationSample", "write_csv", "write_root"]

NETWORK = "network"  # title of the network's own predictions, beside those of the baselines
CSV_ROWS = 10_000  # events formatted at a time


class ValidationSample:
    """Collects batches; E events in all.

    Attributes (after the last `add`):
        columns: run, event, truth branches, pred_<branch>, sigma_<branch>: (E,) or (E, width), as the files hold them.
        predictions: {task: {title: (E, ...)}} of `NETWORK` and the baselines, in physical units.

    Args:
        tasks: tasks of the network, by name.
        baselines: {task: {title: fitted baseline}}.
    """

    def __init__(self, tasks: Mapping[str, Task], baselines: Mapping[str, Mapping[str, Baseline]]) -> None:
        self.tasks = tasks
        self.baselines = baselines
        self._columns: dict[str, list[NDArray]] = {}
        self._predictions: dict[tuple[str, str], list[NDArray]] = {}

    def add(self, batch: Any, outputs: dict[str, Tensor], light: Light) -> None:
        """Add a batch: truth from `batch.y`, `run` and `event` where present, network outputs in physical units."""
        columns = {name: batch[name] for name in IDENTIFIERS if name in batch}
        columns |= {branch: batch.y[name] for name, branch in TARGETS.items() if name in batch.y}
        arrays = {name: _column(values.cpu().numpy(), BRANCHES[name].dtype) for name, values in columns.items()}
        for name, task in self.tasks.items():
            arrays |= task.columns(outputs)
            predictions = {title: baseline.predict(light) for title, baseline in self.baselines[name].items()}
            for title, values in {NETWORK: outputs[name].detach().cpu().numpy(), **predictions}.items():
                self._predictions.setdefault((name, title), []).append(values)
        for name, values in arrays.items():
            self._columns.setdefault(name, []).append(values)

    @property
    def columns(self) -> dict[str, NDArray]:
        return {name: np.concatenate(parts) for name, parts in self._columns.items()}

    @property
    def predictions(self) -> dict[str, dict[str, NDArray]]:
        joined: dict[str, dict[str, NDArray]] = {}
        for (name, title), parts in self._predictions.items():
            joined.setdefault(name, {})[title] = np.concatenate(parts)
        return joined


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
    from xecgnn.data.writer import TreeWriter

    branches = {name: (str(array.dtype), 1 if array.ndim == 1 else array.shape[1]) for name, array in columns.items()}
    with TreeWriter(path, branches) as writer:
        writer.write(columns)


def _column(values: NDArray, dtype: str) -> NDArray:
    """(E,) or (E, width > 1) in the type of the branch."""
    wide = values.astype(dtype).reshape(len(values), -1)
    return wide[:, 0] if wide.shape[1] == 1 else wide
