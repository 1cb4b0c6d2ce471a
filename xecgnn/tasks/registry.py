"""The tasks that there are, ours and those of plugins, and those of a training."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import TYPE_CHECKING, Any, cast

from pydantic import Field

from xecgnn.config import TrainConfig
from xecgnn.names import SCHEMA, TARGETS
from xecgnn.registry import Registry
from xecgnn.schema import Column
from xecgnn.settings import Settings
from xecgnn.tasks.config import Histogram1D, Histogram2D, ReweightingConfig, TasksConfig

if TYPE_CHECKING:
    from torch import nn

    from xecgnn.tasks.task import Task

__all__ = ["TASKS", "build_tasks", "metric_units", "named_tasks"]


class Tasks(Registry["type[Task]"]):
    """Name -> task. One that is registered has sections of its name in the settings, and a target in every batch."""

    def register(self, name: str) -> Callable[[type[Task]], type[Task]]:
        add = super().register(name)

        def declare(task: type[Task]) -> type[Task]:
            add(task).name = name
            if self._modules[name] != OURS.get(name):
                TARGETS[name] = task.branch
                if task.branch not in SCHEMA:
                    SCHEMA.declare(Column(task.branch, "truth", "float32", task.width))
                meaning = (task.__doc__ or name).split("\n")[0]
                histogram = Histogram1D if task.width == 1 else Histogram2D
                _add_section(TasksConfig, name, task.settings, meaning)
                _add_section(ReweightingConfig, name, histogram, f"bins of {name}")
                TrainConfig.model_rebuild(force=True)
            return task

        return declare


def _add_section(owner: type[Settings], name: str, settings: type[Settings], meaning: str) -> None:
    field: Any = Field(default_factory=settings, description=meaning)
    field.annotation = settings
    owner.model_fields[name] = field
    owner.model_rebuild(force=True)


OURS = {
    "angle": "xecgnn.tasks.direction",
    "energy": "xecgnn.tasks.regression",
    "timing": "xecgnn.tasks.regression",
    "uvwFI": "xecgnn.tasks.regression",
    "angleVec": "xecgnn.tasks.direction",
    "edep": "xecgnn.tasks.deposits",
    "centroid": "xecgnn.tasks.deposits",
    "n_gamma": "xecgnn.tasks.n_gamma",
}
TASKS = Tasks("task", OURS)


def build_tasks(config: TasksConfig) -> nn.ModuleDict:
    """The enabled tasks by name. Metrics of a later task whose names are taken get the task's name as prefix.

    Raises:
        ValueError: no task is enabled.
    """
    from torch import nn

    tasks: dict[str, Task] = {}
    taken: set[str] = set()
    for name, settings in config:
        if not settings.enabled:
            continue
        task = TASKS[name](settings)
        if taken & set(task.metric_units()):
            task.metric_prefix = f"{name}_"
        taken |= set(task.metric_units())
        tasks[name] = task
    if not tasks:
        raise ValueError(f"tasks: none is enabled; allowed: {', '.join(TASKS)}")
    return nn.ModuleDict(tasks)


def named_tasks(names: Container[str]) -> dict[str, Task]:
    """Tasks with their default settings, by name: what their columns, quantities and metrics are."""
    built = build_tasks(TasksConfig.model_validate({name: {"enabled": name in names} for name in TASKS}))
    return cast("dict[str, Task]", dict(built.items()))


def metric_units() -> dict[str, str]:
    """Unit of each metric of all tasks, by the name without `val_`; "" of what has none."""
    return {name: unit for task in named_tasks(TASKS).values() for name, unit in task.metric_units().items()}
