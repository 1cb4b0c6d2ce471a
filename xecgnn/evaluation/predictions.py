"""Events with what a network and the baselines say of them, and its loss: a stream from batches of readings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor

from xecgnn.data.batch import Readings
from xecgnn.data.events import Events
from xecgnn.evaluation.baselines.light import LightSummary
from xecgnn.evaluation.baselines.targets import Baseline
from xecgnn.models.xec import XECModel
from xecgnn.names import FEATURES, LOSS, SCHEMA, TARGETS
from xecgnn.tasks.task import Task, as_column

__all__ = ["NETWORK", "baseline_branch", "event_losses", "judged_events"]

NETWORK = "network"  # title of the network's own predictions, beside those of the baselines


@torch.no_grad()
def judged_events(
    model: XECModel,
    batches: Iterable[Readings],
    summarize: LightSummary,
    baselines: Mapping[str, Mapping[str, Baseline]],
) -> Iterator[Events]:
    """The events of batches, as read, with predictions.

    Columns: run and event where known, truth, loss (see `event_losses`), for each task pred_<branch>, sigma_<branch>
    where predicted, and what `baseline_branch` names; npho and relative_time.

    Args:
        model: the network, in evaluation mode, on the device to use.
        batches: with all the truth that the events should have.
        summarize: the light that baselines look at.
        baselines: {task: {title: fitted baseline}}.
    """
    tasks, device = {name: model.task(name) for name in model.tasks}, next(model.parameters()).device
    for batch in batches:
        batch = batch.to(device)
        raw, light = model.raw_outputs(batch), summarize(batch)
        known = batch.identifiers | {branch: batch.y[name] for name, branch in TARGETS.items() if name in batch.y}
        columns = {name: as_column(values) for name, values in known.items()}
        columns[LOSS] = as_column(event_losses(tasks, raw, batch.y))
        for name, task in tasks.items():
            columns |= task.columns(task.decode(raw[name]))
            for title, baseline in baselines[name].items():
                (values,) = task.columns({name: torch.as_tensor(baseline.predict(light))}).values()
                columns[baseline_branch(title, task)] = values.astype(SCHEMA[task.branch].dtype)
        columns |= dict(zip(FEATURES, batch.x.cpu().numpy().transpose(2, 0, 1), strict=True))
        yield Events(columns)


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
