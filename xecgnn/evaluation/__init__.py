"""After the training: baselines, predictions in files, resolution plots, summary table."""

from __future__ import annotations

from xecgnn.evaluation.baselines import Baseline, fit_baselines
from xecgnn.evaluation.config import EvaluationConfig
from xecgnn.evaluation.inpainting import evaluate_inpainting
from xecgnn.evaluation.light import LightSummary
from xecgnn.evaluation.predictions import ValidationSample
from xecgnn.evaluation.reconstruction import write_sensor_predictions
from xecgnn.evaluation.run import Evaluation, evaluate_run, fit_on_batches
from xecgnn.evaluation.summary import summary_table

__all__ = [
    "Baseline",
    "Evaluation",
    "EvaluationConfig",
    "LightSummary",
    "ValidationSample",
    "evaluate_inpainting",
    "evaluate_run",
    "fit_baselines",
    "fit_on_batches",
    "summary_table",
    "write_sensor_predictions",
]
