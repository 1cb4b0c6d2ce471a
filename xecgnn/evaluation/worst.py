"""The events that the network gets most wrong, kept while all others pass by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xecgnn.data.events import Events
from xecgnn.names import LOSS

__all__ = ["WorstEvents"]


class WorstEvents:
    """The `count` events with the largest finite loss of a stream, the worst first; of equal ones the earlier.

    They do not depend on how the stream is cut, and no other event is kept.

    Attributes:
        events: as they were added, fewer than `count` where there are fewer; None for none.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.events: Events | None = None

    def add(self, events: Events) -> None:
        """Look at a part of the stream, which has a column `loss`."""
        found = events[self._largest(events[LOSS])]
        if self.events:
            found = Events.concatenate([self.events, found])
        self.events = found[self._largest(found[LOSS])] or None

    def _largest(self, loss: np.ndarray) -> NDArray[np.intp]:
        """Rows of at most `count` finite losses, in falling order."""
        finite = np.flatnonzero(np.isfinite(loss))
        return finite[np.argsort(-loss[finite], kind="stable")][: self.count]
