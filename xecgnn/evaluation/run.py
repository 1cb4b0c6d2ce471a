"""What follows a training: the predictions of a sample, its worst events and saliency, kept for whoever draws them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from xecgnn.data.batch import Readings
from xecgnn.data.events import Events
from xecgnn.data.writer import write
from xecgnn.evaluation.attribution.saliency import compute_saliency, event_saliency
from xecgnn.evaluation.baselines.light import LightSummary
from xecgnn.evaluation.baselines.targets import Baseline, fit_baselines
from xecgnn.evaluation.config import EvaluationConfig
from xecgnn.evaluation.limits import with_references
from xecgnn.evaluation.predictions import baseline_columns
from xecgnn.evaluation.runs import EvaluatedRun
from xecgnn.evaluation.worst import WorstEvents
from xecgnn.export.metadata import weights_hash
from xecgnn.inference.predictions import predict
from xecgnn.inference.predictor import Judge
from xecgnn.models.network import Network
from xecgnn.names import FEATURES, INVALID_VALUE, MODEL_HASH
from xecgnn.progress import progress
from xecgnn.tasks.task import Task

__all__ = ["evaluate_run", "fit_on_batches"]

BASELINE_EVENTS = 20_000  # training events that the baselines are fitted to


def evaluate_run(
    model: Network,
    training: Iterable[Readings],
    events: Iterable[Readings],
    run: EvaluatedRun,
    config: EvaluationConfig | None = None,
    references: Events | None = None,
) -> list[Path]:
    """Predict the test sample (without one, that of validation) with the network and with baselines.

    Writes what `report` draws from: predictions_<run_name>.csv, validation_results_<run_name>.root,
    worst_events_<run_name>.root and saliency_<run_name>.npz; returns the files.

    Args:
        model: the network; evaluated on the device it is on.
        training: batches of training events; the first BASELINE_EVENTS are read to fit the baselines.
        events: batches to predict, with all the truth that plots should show; gone through twice.
        run: where the files go.
        config: how many events are looked at closely.
        references: further columns to keep, of the same events by (run, event): those of the limits.
    """
    config = config or EvaluationConfig()
    _remove_earlier(run)
    was_training = model.training
    summarize = LightSummary(model.detector, float(model.normalizer.npho_threshold))
    baselines = fit_on_batches({name: model.task(name) for name in model.tasks}, summarize, training)
    stream = (batch.as_events().with_columns(dict(baseline_columns(baselines, summarize(batch)))) for batch in events)
    worst, parts = WorstEvents(config.worst_events), []
    for some in progress(predict(Judge(model), stream), "predictions", getattr(events, "num_events", None)):
        worst.add(some)
        parts.append(some.select(*(name for name in some.fields if name not in FEATURES)))

    files = [run.file("csv"), run.file("predictions")]
    predicted = Events.concatenate(parts)
    predicted = with_references(predicted, references) if references else predicted
    for file in files:
        write([predicted], file, notes={MODEL_HASH: weights_hash(model)})
    if worst.events:
        files.append(run.file("worst_events"))
        x = Readings.of(worst.events).x.to(next(model.parameters()).device)
        readings = {name: np.nan_to_num(worst.events[name], nan=INVALID_VALUE) for name in FEATURES}
        write(worst.events.with_columns(readings | event_saliency(model, x)), files[-1])
    if config.saliency_events:
        files.append(run.file("saliency"))
        compute_saliency(model, events, config.saliency_events).write(files[-1])
    model.train(was_training)
    return files


def _remove_earlier(run: EvaluatedRun) -> None:
    """What an earlier evaluation of a continued run left would be drawn again, or stay, where this one has less."""
    drawn = [path for pattern in ("worst_event_*.pdf", "saliency_profile_*.pdf") for path in run.path.glob(pattern)]
    for path in [run.file("worst_events"), run.file("saliency"), *drawn]:
        path.unlink(missing_ok=True)


def fit_on_batches(
    tasks: Mapping[str, Task], summarize: LightSummary, batches: Iterable[Readings], max_events: int = BASELINE_EVENTS
) -> dict[str, dict[str, Baseline]]:
    """Baselines of all tasks, fitted to about `max_events` events of a stream of batches."""
    parts, number = [], 0
    for batch in batches:
        parts.append(Events({**summarize(batch), **batch.as_events().select("truth").columns}))
        number += len(batch)
        if number >= max_events:
            break
    if not parts:
        raise ValueError("baselines need training events, found none")
    sample = Events.concatenate(parts)
    return fit_baselines(tasks, sample.columns, {name: sample[task.branch] for name, task in tasks.items()})
