"""What accompanies a training: its checkpoints, its end by a signal, and what is told of its progress."""

from __future__ import annotations

import logging
import signal
import time
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from xecgnn.output import completed
from xecgnn.progress import Progress
from xecgnn.signals import Ended
from xecgnn.tasks.ranking import direction

__all__ = ["CheckpointFiles", "KeptCheckpoint", "ShownProgress", "StopAtSignal"]

log = logging.getLogger(__name__)

SMOOTHING = 0.05  # weight of a batch in the running loss


class CheckpointFiles(TorchCheckpointIO):
    """Writes a checkpoint beside its place: Lightning's own way leads through the temporary folder."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        with completed(Path(path)) as part:
            torch.save(checkpoint, part)


class KeptCheckpoint(ModelCheckpoint):
    """One file in the folder of a run: that of the best `monitor`, or the newest.

    (`save_last` would skip epochs without a new best.)
    """

    FILE_EXTENSION = ".pth"

    def __init__(self, folder: Path, name: str, monitor: str | None) -> None:
        super().__init__(
            dirpath=folder, filename=name, monitor=monitor, mode=direction(monitor or ""), save_on_train_epoch_end=True,
            enable_version_counter=False,
        )  # fmt: skip
        self.path = folder / f"{name}{self.FILE_EXTENSION}"

    @property
    def state_key(self) -> str:
        """That of Lightning's class, under which the checkpoints of earlier versions have it."""
        return super().state_key.replace(type(self).__qualname__, ModelCheckpoint.__qualname__)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The score to beat is that of the file in this folder, wherever the folder was before."""
        score = state_dict["best_model_score"]
        if score is None:  # no epoch was done, or no score chooses
            return
        if not self.path.is_file():
            log.warning("%s is not there: the best of the epochs from here on will be.", self.path)
            return
        path = str(Path(str(self.dirpath)) / self.path.name)
        here = {"dirpath": self.dirpath, "best_model_path": path, "kth_best_model_path": path}
        super().load_state_dict(state_dict | here | {"best_k_models": {path: score}})


class StopAtSignal(Callback):
    """Ends a training in order: a signal lets the step that is under way end, then its state is the last checkpoint.

    Between the last step of an epoch and its checkpoints, these are awaited. A second signal ends at once. With several
    processes, the signal of one is that of all.

    Args:
        path: the last checkpoint.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.number = 0

    def note(self, number: int, _: FrameType | None) -> None:
        """The handler of the signals."""
        if self.number:
            raise Ended(number)
        self.number = number
        log.info("%s: ending after this step; again: at once.", signal.Signals(number).name)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if signal.getsignal(signal.SIGTERM) != signal.SIG_IGN:
            signal.signal(signal.SIGTERM, self.note)  # Lightning has put its own before it

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.world_size > 1 and trainer.strategy.reduce_boolean_decision(bool(self.number), all=False):
            self.number = self.number or signal.SIGTERM
        done = batch_idx + 1
        if self.number and done % trainer.accumulate_grad_batches == 0 and done < trainer.num_training_batches:
            trainer.save_checkpoint(self.path)
            raise Ended(self.number)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.number:
            raise Ended(self.number)


class ShownProgress(Callback):
    """Progress of each epoch with its running loss, and a line at its end."""

    def __init__(self, monitor: str) -> None:
        self.monitor = monitor
        self._shown: Progress | None = None
        self._loss: Any = None

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if not self._shown:
            self._loss, self._start = None, time.monotonic()
            self._begin(trainer, self._head(trainer), int(trainer.num_training_batches), batch_idx)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loss = outputs["loss"].detach() * trainer.accumulate_grad_batches  # Lightning has divided by it
        self._loss = loss if self._loss is None else torch.lerp(self._loss, loss, SMOOTHING)
        if self._shown:
            self._shown.advance(1, lambda: {"loss": float(self._loss)})

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._end()
        self._begin(trainer, "validation", int(sum(trainer.num_val_batches)), 0)

    def on_validation_batch_end(self, *_: Any, **__: Any) -> None:
        if self._shown:
            self._shown.advance(1)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._end()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._end()
        measured = trainer.callback_metrics
        names = [name for name in dict.fromkeys(("train_loss", "val_loss", self.monitor)) if name in measured]
        numbers = ", ".join(f"{name} {float(measured[name]):.4g}" for name in names)
        if trainer.is_global_zero:
            log.info("%s: %s, %.0f s", self._head(trainer), numbers, time.monotonic() - self._start)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._end()

    def _begin(self, trainer: Trainer, what: str, total: int, done: int) -> None:
        self._shown = Progress(what, total, "step", done) if trainer.is_global_zero else None

    def _end(self) -> None:
        if self._shown:
            self._shown.__exit__()
        self._shown = None

    @staticmethod
    def _head(trainer: Trainer) -> str:
        return f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
