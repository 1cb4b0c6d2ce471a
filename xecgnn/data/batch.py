"""What travels from the files to the network: readings of B events by sensor id, their targets and their numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from xecgnn.data.columns import cast
from xecgnn.data.events import Events
from xecgnn.names import FEATURES, IDENTIFIERS, TARGETS

__all__ = ["Readings"]


@dataclass
class Readings:
    """B events of a detector with S sensors. Nobody edits one: methods give new ones.

    Attributes:
        x: (B, S, 2) float32, npho and relative_time (s) as read, by sensor id; invalid ones are NaN or huge.
        y: task -> target, (B, width) float32 in rad, GeV, s, cm, or class (B,) int64.
        run, event: (B,) int64 where known.
    """

    x: Tensor
    y: dict[str, Tensor] = field(default_factory=dict)
    run: Tensor | None = None
    event: Tensor | None = None

    @classmethod
    def of(cls, events: Events) -> Readings:
        """Readings of events in memory, copied.

        Raises:
            ValueError: the events lack npho or relative_time.
        """
        for name in FEATURES:
            if name not in events:
                raise ValueError(f"events have no column {name!r}; columns: {', '.join(events.fields)}")
        x = np.stack([events[name] for name in FEATURES], axis=-1, dtype=np.float32)
        return cls.with_labels(x, events.columns)

    @classmethod
    def with_labels(
        cls, x: np.ndarray, columns: Mapping[str, np.ndarray], targets: Mapping[str, str] = TARGETS
    ) -> Readings:
        """Readings (B, S, 2), which are not copied, with the targets and numbers among the columns of these events."""
        y = {}
        for task, branch in targets.items():
            if branch in columns:
                values = columns[branch]
                is_class = np.issubdtype(values.dtype, np.integer)
                values = values.astype(np.int64) if is_class else values.reshape(len(values), -1).astype(np.float32)
                y[task] = torch.tensor(values)
        numbers = {name: torch.tensor(cast(name, columns[name], np.int64)) for name in IDENTIFIERS if name in columns}
        return cls(torch.from_numpy(x), y, **numbers)

    @property
    def identifiers(self) -> dict[str, Tensor]:
        """`run` and `event` where they are known."""
        return {name: getattr(self, name) for name in IDENTIFIERS if getattr(self, name) is not None}

    def as_events(self) -> Events:
        """These events as a table: numbers and targets where they are known, npho and relative_time."""
        truth = {TARGETS[task]: values.reshape(len(self), -1).squeeze(1) for task, values in self.y.items()}
        columns = self.identifiers | truth | dict(zip(FEATURES, self.x.unbind(-1), strict=True))
        return Events({name: values.cpu().numpy() for name, values in columns.items()})

    def __len__(self) -> int:
        return self.x.size(0)

    def to(self, device: torch.device | str) -> Readings:
        """A copy on a device; from pinned memory to a GPU without waiting for it."""
        return self._each(lambda values: values.to(device, non_blocking=True))

    def pin_memory(self) -> Readings:
        """A copy in memory that a GPU can read on its own."""
        return self._each(Tensor.pin_memory)

    def _each(self, function: Callable[[Tensor], Tensor]) -> Readings:
        y = {task: function(values) for task, values in self.y.items()}
        return Readings(function(self.x), y, **{name: function(ids) for name, ids in self.identifiers.items()})


torch.serialization.add_safe_globals([Readings])  # for torch.load, which takes only known classes
