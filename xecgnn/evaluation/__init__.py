"""After the training: baselines, predictions in files, resolution plots, summary table."""

from __future__ import annotations

from xecgnn.lazy import lazy_names

_PUBLIC = {
    "Baseline": "baselines",
    "Evaluation": "run",
    "EvaluationConfig": "config",
    "LightSummary": "light",
    "ValidationSample": "predictions",
    "evaluate_inpainting": "inpainting",
    "evaluate_run": "run",
    "fit_baselines": "baselines",
    "fit_on_batches": "run",
    "summary_table": "summary",
    "write_sensor_predictions": "reconstruction",
}

__all__ = [*_PUBLIC]
__getattr__, __dir__ = lazy_names(__name__, _PUBLIC)
