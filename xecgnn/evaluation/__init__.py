"""After the training: baselines, predictions in files, numbers with errors, pages, reports."""

from __future__ import annotations

from xecgnn.lazy import lazy_names

_PUBLIC = {
    "Baseline": "baselines.targets",
    "EvaluationConfig": "config",
    "LightSummary": "baselines.light",
    "artifact": "artifacts",
    "evaluate_inpainting": "sensors",
    "evaluate_run": "run",
    "fit_baselines": "baselines.targets",
    "fit_on_batches": "run",
    "summary_table": "summary",
    "write_sensor_predictions": "reconstruction",
}

__all__ = list(_PUBLIC)
__getattr__, __dir__ = lazy_names(__name__, _PUBLIC)
