"""A training as a study wants it: found finished, continued where it was, or begun; and what its end has measured."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studies.samples import Sample
from studies.study import Folders, Job, Metrics, digest
from xecgnn.cli.pretrain import reconstruct
from xecgnn.cli.train import train
from xecgnn.cli.training import prepare
from xecgnn.config import RunConfig, TrainConfig, load_config
from xecgnn.evaluation.compared import read_run
from xecgnn.evaluation.measures import logged_metrics, measure
from xecgnn.evaluation.pages.training_report import REPORT
from xecgnn.evaluation.runs import METRICS, EvaluatedRun
from xecgnn.settings import flattened
from xecgnn.training import load_model
from xecgnn.training.folder import BEST, LAST
from xecgnn.training.kinds import kind_of

__all__ = ["UNDRAWN", "Training", "measured"]

log = logging.getLogger("evidence")

ONE_CORE = {
    "data.num_workers": 0, "training.device": "cpu",
    "logging.mlflow": False, "logging.tensorboard": False, "logging.progress_bar": False,
}  # fmt: skip
UNDRAWN = {"evaluation.worst_events": 0, "evaluation.saliency_events": 0}  # where nobody looks at the pictures
# Settings that say where something is, who is told, what is looked at; which files are read, `Training.files` says.
PLACES = ("run_name", "logging.", "evaluation.", "data.train_path", "data.val_path", "data.test_path",
          "checkpoint.artifacts_dir", "checkpoint.resume_from", "checkpoint.init_from")  # fmt: skip


@dataclass(frozen=True)
class Training:
    """A run of xecgnn-train or one of its siblings, on one core: what it is, not where.

    Attributes:
        name: of its folder, with the seed.
        seed: of the run.
        base: a shipped config.
        settings: those that differ from it, by dotted names.
        files: {"train": samples, "val": samples, "test": samples}; the last may be missing.
        cls: of its settings.
        start: the pretraining whose last weights it begins with.
    """

    name: str
    seed: int
    base: str
    settings: Mapping[str, Any]
    files: Mapping[str, Sequence[Sample]]
    cls: type[RunConfig] = TrainConfig
    start: Training | None = None

    def config(self, places: Mapping[str, Any] | None = None) -> Any:
        """The settings, with those that say where."""
        return load_config(self.base, {"seed": self.seed, **ONE_CORE, **self.settings, **(places or {})}, self.cls)

    def resolved(self) -> dict[str, Any]:
        """All that decides what comes out, as JSON has it."""
        settings = flattened(self.config().model_dump(mode="json"))
        return {
            "config": {name: value for name, value in settings.items() if not name.startswith(PLACES)},
            "files": {part: [sample.resolved() for sample in samples] for part, samples in self.files.items()},
            "start": self.start.resolved() if self.start else None,
        }

    def folder(self, folders: Folders) -> Path:
        """Where it is; with other settings it would be elsewhere."""
        return folders.runs / digest(self.resolved()) / f"{self.name}_seed{self.seed}"

    def paths(self, folders: Folders) -> dict[str, Any]:
        """Settings of the files, which are made where they are missing; a config's own test events are not read."""
        found = {f"data.{part}_path": [str(s.file(folders.data)) for s in some] for part, some in self.files.items()}
        return {"data.test_path": None} | found

    def is_finished(self, folders: Folders) -> bool:
        """Whether it has come to its end: its report is the last that it writes."""
        return (self.folder(folders) / METRICS / REPORT).is_file()

    def run(self, folders: Folders) -> Path:
        """Train, as far as that is still to be done; returns the folder."""
        folder = self.folder(folders)
        if self.is_finished(folders):
            return folder
        last = folder / f"{LAST}.pth"
        places = self.paths(folders) | {"run_name": folder.name, "checkpoint.artifacts_dir": str(folder.parent)}
        if last.is_file():
            places["checkpoint.resume_from"] = str(last)
        elif self.start:
            places["checkpoint.init_from"] = str(self.start.run(folders) / f"{LAST}.pth")
        log.info("  %s %s", "continuing" if last.is_file() else "training in", folder)
        return (train if self.cls is TrainConfig else reconstruct)(self.config(places))

    def last(self, folders: Folders, checkpoint: str = LAST) -> Any:
        """The network after the last step, trained where that is still to be done."""
        return load_model(self.run(folders) / f"{checkpoint}.pth", kind=kind_of(self.config()))

    def best(self, folders: Folders) -> Any:
        """The network of the epoch that was best on the validation events."""
        return self.last(folders, BEST)

    def untrained(self, folders: Folders) -> Any:
        """The network before the first step, with the constants of its readings."""
        _, _, model, data = prepare(self.config(self.paths(folders)))
        model.backbone.normalizer.fit(data.sample().x)
        return model.eval()

    def job(self) -> Job:
        """The result that is what its end has measured."""
        return Job(self.name, self.seed, self.resolved(), lambda folders: measured(self.run(folders)))


def measured(folder: Path) -> Metrics:
    """What the end of a run of xecgnn-train has found, by the names under which it logs.

    Returns:
        {"parameters": number, "seconds": of all epochs, "validation": {metric: value in the best epoch}}, and where
        there are test events {"test": {task: {method: {metric: value}}}}: network, baselines, whatever the file has.
    """
    run, curves = EvaluatedRun(folder), read_run(str(folder), mlflow_uri="")
    best = curves.best(run.settings["checkpoint"]["monitor"])
    found: Metrics = {
        "parameters": sum(p.numel() for p in load_model(folder / f"{BEST}.pth").parameters()),
        "seconds": sum(curves.history["epoch_time_sec"].values()),
        "validation": {name: v[best] for name, v in curves.history.items() if name.startswith("val_") and best in v},
    }
    if run.test_path:
        sample = run.predictions
        found["test"] = {
            name: {
                title: logged_metrics(task, estimates)
                for title, estimates in measure(task, sample.predictions[name], sample.truth[task.branch]).items()
            }
            for name, task in run.drawn.items()
        }
    return found
