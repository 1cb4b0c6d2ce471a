"""Physics targets: each task owns its head width, loss, decoding, metrics, units and columns."""

from __future__ import annotations

from xecgnn.lazy import lazy_names

_PUBLIC = {
    "AXES": "axes",
    "Angle": "direction",
    "AngleVec": "direction",
    "Axis": "axes",
    "Energy": "regression",
    "NGamma": "n_gamma",
    "Position": "regression",
    "RegressionConfig": "config",
    "RegressionTask": "regression",
    "ReweightingConfig": "config",
    "SampleReweighter": "reweighting",
    "TASKS": "registry",
    "Task": "task",
    "TaskConfig": "config",
    "TasksConfig": "config",
    "Timing": "regression",
    "build_tasks": "registry",
}

__all__ = [*_PUBLIC]
__getattr__, __dir__ = lazy_names(__name__, _PUBLIC)
