"""Does the network know that the calorimeter is its own mirror image? Its answer to a mirrored event, mirrored back.

Beside it what two trainings differ by that start from other seeds: the mirror should change no more than that.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
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


@torch.no_grad()
def differences(training: Training, other: Training, folders: Folders) -> Metrics:
    """{what was changed: 68 % of the angles (deg) between the answers to the test events}."""
    model, another = training.best(folders), other.best(folders)
    angles: dict[str, list[Tensor]] = {}
    for batch in events(folders, model.detector, [TEST]):
        answer = model(batch)[demo.TASK]
        found = {title: mirrored_answer(model, batch, axes) for title, axes in MIRRORS.items()}
        for title, values in (found | {"another seed": another(batch)[demo.TASK]}).items():
            angles.setdefault(title, []).append(model.task(demo.TASK).errors(values, answer)[:, 0])
    return {title: quantile(torch.cat(parts).double().numpy()).value for title, parts in angles.items()}


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
