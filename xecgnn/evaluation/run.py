"""Everything that follows a training: predictions, worst events and saliency of a sample, and plots."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from xecgnn.evaluation.baselines import Baseline, fit_baselines
from xecgnn.evaluation.config import EvaluationConfig
from xecgnn.evaluation.light import LightSummary
from xecgnn.evaluation.predictions import ValidationSample, write_csv, write_root
from xecgnn.evaluation.worst import WorstEvents
from xecgnn.models.xec import XECModel
from xecgnn.tasks.task import Task

__all__ = ["Evaluation", "evaluate_run", "fit_on_batches"]

BASELINE_EVENTS = 20_000  # training events that the baselines are fitted to


class Evaluation(NamedTuple):
    """What an evaluation leaves: the table as text, the files it wrote, and of test events the network's numbers."""

    table: str
    files: list[Path]
    numbers: Mapping[str, float] = {}  # test_resolution_deg and others


def evaluate_run(
    model: XECModel,
    training: Iterable[Any],
    events: Iterable[Any],
    folder: Path,
    run_name: str,
    config: EvaluationConfig | None = None,
) -> Evaluation:
    """Predict the test sample (without one, that of validation) with the network and with baselines, and leave what a
    physicist looks at.

    Writes predictions_<run_name>.csv, validation_results_<run_name>.root, worst_events_<run_name>.root and
    saliency_<run_name>.npz, and what `report_evaluation` draws from these.

    Args:
        model: the network; evaluated on the device it is on.
        training: batches of training events; the first BASELINE_EVENTS are read to fit the baselines.
        events: batches to predict, with all the truth that plots should show; gone through twice.
        folder: of the run, with its config.yaml; the files go there.
        run_name: in the names of the files and on the plots, as in config.yaml.
        config: how many events are looked at closely.
    """
    from xecgnn.evaluation.report import report_evaluation
    from xecgnn.evaluation.saliency import compute_saliency

    config = config or EvaluationConfig()
    _remove_earlier(folder, run_name)
    tasks = {name: model.task(name) for name in model.tasks}
    summarize = LightSummary(model.detector, float(model.backbone.normalizer.npho_threshold))
    sample = ValidationSample(tasks, fit_on_batches(tasks, summarize, training))
    worst = WorstEvents(config.worst_events)
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    with torch.no_grad():
        for batch in events:
            batch = batch.to(device)
            worst.add(batch.x, sample.add(batch, model.raw_outputs(batch), summarize(batch)))

    columns = sample.columns
    csv, root = folder / f"predictions_{run_name}.csv", folder / f"validation_results_{run_name}.root"
    write_csv(csv, columns)
    write_root(root, columns)
    files = [csv, root]
    if len(worst):
        files.append(folder / f"worst_events_{run_name}.root")
        worst.write(files[-1], model)
    if config.saliency_events:
        files.append(folder / f"saliency_{run_name}.npz")
        compute_saliency(model, events, config.saliency_events).write(files[-1])
    model.train(was_training)
    table, drawn, numbers = report_evaluation(folder)
    return Evaluation(table, [*files, *drawn], numbers)


def _remove_earlier(folder: Path, run_name: str) -> None:
    """What an earlier evaluation of a continued run left would be drawn again, or stay, where this one has less."""
    drawn = [path for pattern in ("worst_event_*.pdf", "saliency_profile_*.pdf") for path in folder.glob(pattern)]
    for path in [folder / f"worst_events_{run_name}.root", folder / f"saliency_{run_name}.npz", *drawn]:
        path.unlink(missing_ok=True)


def fit_on_batches(
    tasks: Mapping[str, Task], summarize: LightSummary, batches: Iterable[Any], max_events: int = BASELINE_EVENTS
) -> dict[str, dict[str, Baseline]]:
    """Baselines of all tasks, fitted to about `max_events` events of a stream of batches."""
    lights, targets, events = [], [], 0
    for batch in batches:
        lights.append(summarize(batch))
        targets.append({name: batch.y[name].cpu().numpy() for name in tasks})
        events += len(batch)
        if events >= max_events:
            break
    if not lights:
        raise ValueError("baselines need training events, found none")
    return fit_baselines(
        tasks,
        {feature: np.concatenate([light[feature] for light in lights]) for feature in lights[0]},
        {name: np.concatenate([target[name] for target in targets]) for name in tasks},
    )
