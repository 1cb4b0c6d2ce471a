"""The tasks that there are, and those of a training."""

from __future__ import annotations

from torch import nn

from xecgnn.tasks.config import TasksConfig
from xecgnn.tasks.direction import Angle, AngleVec
from xecgnn.tasks.n_gamma import NGamma
from xecgnn.tasks.regression import Energy, Position, Timing
from xecgnn.tasks.task import Task

__all__ = ["TASKS", "build_tasks"]

TASKS: dict[str, type[Task]] = {task.name: task for task in (Angle, Energy, Timing, Position, AngleVec, NGamma)}


def build_tasks(config: TasksConfig) -> nn.ModuleDict:
    """The enabled tasks by name. Metrics of a later task whose names are taken get the task's name as prefix.

    Raises:
        ValueError: no task is enabled.
    """
    tasks: dict[str, Task] = {}
    taken: set[str] = set()
    for name, kind in TASKS.items():
        settings = getattr(config, name)
        if not settings.enabled:
            continue
        task = kind(settings)
        if taken & set(task.metric_units()):
            task.metric_prefix = f"{name}_"
        taken |= set(task.metric_units())
        tasks[name] = task
    if not tasks:
        raise ValueError(f"tasks: none is enabled; allowed: {', '.join(TASKS)}")
    return nn.ModuleDict(tasks)
