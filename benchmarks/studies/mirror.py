"""Does the network know that the calorimeter is its own mirror image? Its answer to a mirrored event, mirrored back.

Beside it what two trainings differ by that start from other seeds: the mirror should change no more than that.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from studies import demo
from studies.measurements import events
from studies.samples import TEST
from studies.study import Folders, Job, Metrics, Results, Study
from studies.tables import NOT_MEASURED, cell
from studies.training import Training
from xecgnn.data import Readings
from xecgnn.estimate import quantile
from xecgnn.table import Table

MIRRORS = {"mirrored in z": "z", "mirrored in y": "y", "mirrored in both": "zy"}
PAIRS = {seed: demo.REPORTED[place - 1] for place, seed in enumerate(demo.REPORTED)}  # each beside the one before it


def jobs(seed: int) -> Iterator[Job]:
    pair = demo.training(seed), demo.training(PAIRS[seed])
    decides = {"networks": [training.resolved() for training in pair], "mirrors": list(MIRRORS)}
    yield Job("demo", seed, decides, partial(differences, *pair))


def differences(training: Training, other: Training, folders: Folders) -> Metrics:
    """{what was changed: 68 % of the angles (deg) between the answers to the test events}."""
    model, another = training.best(folders), other.best(folders)
    parts = [angles(model, another, batch) for batch in events(folders, model.detector, [TEST])]
    return {title: quantile(np.concatenate([part[title] for part in parts])).value for title in parts[0]}


@torch.no_grad()
def angles(model: Any, another: Any, batch: Readings) -> dict[str, NDArray[np.float64]]:
    """{what was changed: angles (B,) in deg to the model's answer}."""
    task, answer = model.task(demo.TASK), model(batch)[demo.TASK]
    changed = {title: mirrored_answer(model, batch, axes) for title, axes in MIRRORS.items()}
    changed["another seed"] = another(batch)[demo.TASK]
    return {title: task.errors(values, answer)[:, 0].double().numpy() for title, values in changed.items()}


def mirrored_answer(model: Any, batch: Readings, axes: str) -> Tensor:
    """The answer (B, 2) to the mirror images of events, mirrored back."""
    x = batch.x
    for axis in axes:
        x = x[:, model.detector.mirrored(axis)]
    answer = model(Readings(x))[demo.TASK]
    for axis in axes:
        answer = model.task(demo.TASK).mirrored(answer, axis)
    return answer


def table(results: Results) -> str:
    found = list(results.get("demo", {}).values())
    shown = Table(["the answer changes by", "68 % of the angles [deg]"])
    for title in found[0] if found else ():
        shown.add(title, cell(metrics[title] for metrics in found))
    return shown.markdown() if shown.rows else NOT_MEASURED


STUDY = Study("mirror", demo.REPORTED, jobs, {"mirror": table})
