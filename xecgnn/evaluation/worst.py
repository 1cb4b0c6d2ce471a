"""The events that the network gets most wrong, kept while all others pass by."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xecgnn.data.events import Events
from xecgnn.data.writer import write
from xecgnn.evaluation.predictions import Columns
from xecgnn.models.xec import XECModel
from xecgnn.names import FEATURES, INVALID_VALUE, LOSS

__all__ = ["WorstEvents"]


class WorstEvents:
    """The `count` events with the largest finite loss of a stream, the worst first; of equal ones the earlier.

    They do not depend on how the stream is cut into batches, and no other event is kept.

    Attributes:
        columns: npho, relative_time (K, S) as read, by sensor id, and all that was added: (K,) or (K, width).

    Args:
        count: events to keep; K of them where there are fewer.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.columns: Columns = {}

    def __len__(self) -> int:
        return len(self.columns.get(LOSS, ()))

    def add(self, x: Tensor, columns: Mapping[str, NDArray]) -> None:
        """Look at a batch: raw readings (B, S, 2), and its columns, (B,) or (B, width), `loss` among them."""
        rows = self._largest(columns[LOSS])
        chosen = x[torch.from_numpy(rows)].cpu().numpy()  # [n, S, 2]
        found = {name: chosen[..., column] for column, name in enumerate(FEATURES)}
        found |= {name: values[rows] for name, values in columns.items()}
        if self.columns:
            found = {name: np.concatenate([self.columns[name], values]) for name, values in found.items()}
        best = self._largest(found[LOSS])
        self.columns = {name: values[best] for name, values in found.items()}

    def write(self, path: Path, model: XECModel) -> None:
        """Write the events as a data file that also has predictions, loss, and what `event_saliency` gives."""
        from xecgnn.evaluation.attribution.saliency import event_saliency

        pairs = torch.from_numpy(np.stack([self.columns[name] for name in FEATURES], -1))  # [K, S, 2]
        pairs = pairs.to(next(model.parameters()).device)
        readings = {name: np.nan_to_num(self.columns[name], nan=INVALID_VALUE) for name in FEATURES}
        write(Events(self.columns | readings | event_saliency(model, pairs)), path)

    def _largest(self, loss: NDArray) -> NDArray[np.intp]:
        """Rows of at most `count` finite losses, in falling order."""
        finite = np.flatnonzero(np.isfinite(loss))
        return finite[np.argsort(-loss[finite], kind="stable")][: self.count]
