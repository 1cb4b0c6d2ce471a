"""Message passing of PyG, without what it leaves behind."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch_geometric.nn as pyg

__all__ = ["MessagePassing"]


class MessagePassing(pyg.MessagePassing):
    """That of PyG; the module it generates for each class is removed from the temporary folder once it is imported."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        generated = sys.modules.get(f"{type(self).__module__}_{type(self).__name__}_propagate")
        if generated and generated.__file__:
            Path(generated.__file__).unlink(missing_ok=True)
