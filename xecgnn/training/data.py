"""The data of a run: two loaders whose position travels in the checkpoint."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl

from xecgnn.data import DataConfig, EventLoader
from xecgnn.detector import Detector

__all__ = ["EventDataModule"]


class EventDataModule(pl.LightningDataModule):
    """Training and validation files as streams of batches.

    Args:
        detector: detector the files were recorded with.
        config: files and reading settings.
        seed: of the shuffling.
    """

    def __init__(self, detector: Detector, config: DataConfig, seed: int) -> None:
        super().__init__()
        self.detector = detector
        self.config = config
        self.seed = seed
        self._train: EventLoader | None = None

    def train_dataloader(self) -> EventLoader:
        if self._train is None:
            self._train = self._loader(self.config.train_path, shuffle=True)
        return self._train

    def val_dataloader(self) -> EventLoader:
        return self._loader(self.config.val_path, shuffle=False)

    def state_dict(self) -> dict[str, Any]:
        return self.train_dataloader().state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.train_dataloader().load_state_dict(state_dict)

    def _loader(self, paths: list[str], shuffle: bool) -> EventLoader:
        rank, world_size = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        return EventLoader(
            paths, self.detector, self.config, shuffle=shuffle, seed=self.seed, rank=rank, world_size=world_size
        )
