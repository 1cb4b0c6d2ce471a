"""What baselines say of events, beside the predictions of a network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch

from xecgnn.evaluation.baselines.light import Light
from xecgnn.evaluation.baselines.targets import Baseline
from xecgnn.names import SCHEMA
from xecgnn.tasks.task import Task

__all__ = ["NETWORK", "baseline_branch", "baseline_columns"]

NETWORK = "network"  # title of the network's own predictions, beside those of the baselines


def baseline_branch(title: str, task: Task) -> str:
    """Branch with the predictions of a baseline: `surface_normal_emiAng`. Classes are saved, not probabilities."""
    return f"{title.replace(' ', '_')}_{task.branch}"


def baseline_columns(baselines: Mapping[str, Mapping[str, Baseline]], light: Light) -> Iterator[tuple[str, np.ndarray]]:
    """Name and values of the columns of all baselines, {task: {title: fitted baseline}}, from the light of events."""
    for fitted in baselines.values():
        for title, baseline in fitted.items():
            task = baseline.task
            (values,) = task.columns({task.name: torch.as_tensor(baseline.predict(light))}).values()
            yield baseline_branch(title, task), values.astype(SCHEMA[task.branch].dtype)
