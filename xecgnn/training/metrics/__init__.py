"""What a training looked like: numbers of each epoch, pictures of them, and a report."""

from __future__ import annotations

from xecgnn.lazy import lazy_names

_PUBLIC = {
    "EpochMetrics": "tracker",
    "METRICS": "history",
    "MetricsCallback": "callback",
    "MetricsTracker": "tracker",
    "compute_grad_norm": "tracker",
    "generate_all_plots": "..evaluation.training_loop",
    "generate_report": "..evaluation.training_loop",
}

__all__ = [*_PUBLIC]
__getattr__, __dir__ = lazy_names(__name__, _PUBLIC)
