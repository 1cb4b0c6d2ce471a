"""Everything that follows a training: predictions of the validation sample, plots, and the table to print."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from xecgnn.evaluation.baselines import Baseline, fit_baselines
from xecgnn.evaluation.light import LightSummary
from xecgnn.evaluation.predictions import ValidationSample, write_csv, write_root
from xecgnn.evaluation.summary import summary_table
from xecgnn.models import XECModel
from xecgnn.tasks import Task

__all__ = ["Evaluation", "evaluate_run", "fit_on_batches"]

BASELINE_EVENTS = 20_000  # training events that the baselines are fitted to


class Evaluation(NamedTuple):
    """What `evaluate_run` leaves: the table as text, and the files it wrote."""

    table: str
    files: list[Path]


def evaluate_run(
    model: XECModel, training: Iterable[Any], validation: Iterable[Any], folder: Path, run_name: str
) -> Evaluation:
    """Predict the validation sample with the network and with baselines, and write what a physicist looks at.

    Writes predictions_<run_name>.csv, validation_results_<run_name>.root and resolution_profile_<task>.pdf.

    Args:
        model: the network; evaluated on the device it is on.
        training: batches of training events; the first BASELINE_EVENTS are read to fit the baselines.
        validation: batches of validation events, with all the truth that plots should show.
        folder: where the files go.
        run_name: in the names of the files and on the plots.
    """
    from xecgnn.evaluation.profiles import write_profile

    tasks = {name: model.task(name) for name in model.tasks}
    summarize = LightSummary(model.detector, float(model.encoder.normalizer.npho_threshold))
    sample = ValidationSample(tasks, fit_on_batches(tasks, summarize, training))
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    with torch.no_grad():
        for batch in validation:
            batch = batch.to(device)
            sample.add(batch, model(batch), summarize(batch))
    model.train(was_training)

    columns, predictions = sample.columns, sample.predictions
    csv, root = folder / f"predictions_{run_name}.csv", folder / f"validation_results_{run_name}.root"
    write_csv(csv, columns)
    write_root(root, columns)
    files = [csv, root]
    for name, task in tasks.items():
        files.append(folder / f"resolution_profile_{name}.pdf")
        write_profile(files[-1], task, predictions[name], columns, run_name)
    return Evaluation(summary_table(tasks, predictions, columns), files)


def fit_on_batches(
    tasks: Mapping[str, Task], summarize: LightSummary, batches: Iterable[Any], max_events: int = BASELINE_EVENTS
) -> dict[str, dict[str, Baseline]]:
    """Baselines of all tasks, fitted to about `max_events` events of a stream of batches."""
    lights, targets, events = [], [], 0
    for batch in batches:
        lights.append(summarize(batch))
        targets.append({name: batch.y[name].cpu().numpy() for name in tasks})
        events += batch.num_graphs
        if events >= max_events:
            break
    if not lights:
        raise ValueError("baselines need training events, found none")
    return fit_baselines(
        tasks,
        {feature: np.concatenate([light[feature] for light in lights]) for feature in lights[0]},
        {name: np.concatenate([target[name] for target in targets]) for name in tasks},
    )
