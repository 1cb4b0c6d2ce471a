"""The data of a run: two loaders whose position travels in the checkpoint, and the targets that scale the network."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch

from xecgnn.data.batch import Readings
from xecgnn.data.check_truth import constant_problems
from xecgnn.data.config import DataConfig
from xecgnn.data.errors import warn_once
from xecgnn.data.events import Events
from xecgnn.data.loader import EventLoader
from xecgnn.data.reader import FileScan
from xecgnn.detector import Detector
from xecgnn.names import TARGETS

__all__ = ["EventDataModule"]


class EventDataModule(pl.LightningDataModule):
    """Training and validation files as streams of batches.

    Args:
        detector: detector the files were recorded with.
        config: files and reading settings.
        seed: of the shuffling.
        tasks: names of the tasks, whose truth branches the files must have; none where nothing is known but readings.

    Attributes:
        files: what `check` found in the files of each sample.
    """

    def __init__(self, detector: Detector, config: DataConfig, seed: int, tasks: list[str]) -> None:
        super().__init__()
        self.detector = detector
        self.config = config
        self.seed = seed
        self.tasks = tasks
        self.files: dict[str, list[FileScan]] = {}
        self._train: EventLoader | None = None

    @property
    def shard(self) -> tuple[int, int]:
        """Rank and number of the processes that share the events; without a trainer one has them all."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def train_dataloader(self) -> EventLoader:
        """The loader whose position travels in checkpoints: the same one for as long as this process has its rank."""
        if self._train is None or (self._train.rank, self._train.world_size) != self.shard:
            self._train = self.loader(self.config.train_path, shuffle=True, truth=self._truth)
        return self._train

    def val_dataloader(self) -> EventLoader:
        return self.loader(self.config.val_path, shuffle=False)

    def test_dataloader(self) -> EventLoader:
        """The events that a finished run is judged by: the test files, or where there are none those of validation."""
        return self.loader(self.config.test_path or self.config.val_path, shuffle=False)

    def references(self) -> Events | None:
        """Of the events of `test_dataloader`, what knows their truth, with all truth; None where there is none."""
        paths = self.config.test_path or self.config.val_path
        events = Events.read(paths, columns=["reference", "truth", "identifier"], config=self.config)
        return events if any(events.schema[name].kind == "reference" for name in events.fields) else None

    def loader(
        self, paths: list[str], shuffle: bool, truth: list[str] | None = None, shard: tuple[int, int] | None = None
    ) -> EventLoader:
        """A new loader over this rank's share of the files; `truth` None: every truth branch they all have."""
        rank, world_size = shard or self.shard
        return EventLoader(
            paths,
            self.detector,
            self.config,
            shuffle=shuffle,
            seed=self.seed,
            rank=rank,
            world_size=world_size,
            truth=truth,
        )

    def check(self, world_size: int = 1) -> None:
        """Look at all files before anything is written: readings, truth branches, enough events for all processes.

        Raises:
            FileNotFoundError, ValueError: as `EventLoader`.
        """
        # Not the loaders of the training: these do not know their rank before there is a trainer.
        shard = (0, world_size)
        found = {"training": self.loader(self.config.train_path, shuffle=True, truth=self._truth, shard=shard)}
        found["validation"] = self.loader(self.config.val_path, shuffle=False, shard=shard)
        if self.config.test_path:
            found["test"] = self.test_dataloader()
        self.files = {sample: loader.files for sample, loader in found.items()}
        for paths in filter(None, (self.config.val_path, self.config.test_path)):
            if self._truth:
                Events.read(paths, columns=self._truth, config=self.config, stop=1)

    def training_targets(self) -> Mapping[str, np.ndarray]:
        """Targets of the whole training sample, (E, width) or (E,) for each task; readings are not touched.

        What is unknown, or looks like a writer's word for that, is named in the log.
        """
        events = Events.read(self.config.train_path, columns=self._truth, config=self.config)
        for name in self._truth:
            unknown = int((~np.isfinite(events[name])).reshape(len(events), -1).any(1).sum())
            if unknown:
                warn_once(f"{name} is unknown in {unknown} of {len(events)} training events, which do not count")
            for text in constant_problems(name, events[name]):
                warn_once(f"training files: {text}")
        return {name: events[TARGETS[name]] for name in self.tasks}

    def sample(self, events: int = 2048) -> Readings:
        """About that many events from all over the training files, for constants that the data set."""
        config = self.config.model_copy(update={"num_workers": 0})
        loader = EventLoader(config.train_path, self.detector, config, shuffle=True, seed=self.seed, truth=self._truth)
        batches = list(islice(loader, -(-events // config.batch_size)))
        targets = {name: torch.cat([batch.y[name] for batch in batches]) for name in self.tasks}
        return Readings(torch.cat([batch.x for batch in batches]), targets)

    @property
    def _truth(self) -> list[str]:
        """Branches of the tasks."""
        return [TARGETS[name] for name in self.tasks]

    def state_dict(self) -> dict[str, Any]:
        return self.train_dataloader().state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.train_dataloader().load_state_dict(state_dict)
