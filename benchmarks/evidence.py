"""Is pretraining worth it, and filling dead channels? `python benchmarks/evidence.py [--folder evidence] [--seeds 0 1]`

Simulates MEG II events, trains small networks and prints the tables of docs/pretraining.md. Every result is kept in
FOLDER/results, so that an interrupted study goes on; several processes with other seeds may share a folder after the
first has simulated. About an hour per seed on one CPU core.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from xecgnn.cli.pretrain import reconstruct
from xecgnn.cli.training import prepare, run_training
from xecgnn.config import InpaintConfig, PretrainConfig, TrainConfig, load_config
from xecgnn.data import Readings
from xecgnn.directions import opening_angle
from xecgnn.evaluation import evaluate_inpainting
from xecgnn.nn import Masker, MaskingConfig
from xecgnn.simulation import SimulationConfig, write_simulation
from xecgnn.tasks import SampleReweighter
from xecgnn.tasks.metrics import QUANTILE
from xecgnn.training import load_model
from xecgnn.training.checkpoint import read_checkpoint
from xecgnn.training.data import EventDataModule
from xecgnn.training.kinds import build_model
from xecgnn.training.objective import RegressionObjective
from xecgnn.training.resume import load_weights

FILES, EVENTS_PER_FILE, VALIDATION = 8, 2000, 2000
LABELS = {"1/8": 1, "1/2": 4, "all": 8}  # share of the labelled events -> files
DEAD = (0.02, 0.05, 0.10)
RIDGE = (0.1, 1.0, 10.0, 100.0, 1000.0)  # penalties of the linear fit
LAST = "checkpoint_last.pth"
METRICS = {
    "val_resolution_deg": "opening angle [deg]",
    "u_resolution_68": "u [mm]",
    "v_resolution_68": "v [mm]",
    "w_resolution_68": "w [mm]",
    "energy_resolution_68": "energy [%]",
}
NETWORK = {
    "model.encoder_dim": 128, "model.hex_dim": 16, "model.hex_depth": 1,
    "model.fusion_dropout": 0.0, "model.head_dropout": 0.0,
    "data.batch_size": 16, "data.num_workers": 0,
    "training.scheduler": "onecycle", "training.lr": 5e-5, "training.max_lr": 1e-3, "training.pct_start": 0.15,
    "training.device": "cpu", "logging.mlflow": False, "logging.tensorboard": False, "logging.progress_bar": False,
}  # fmt: skip
TASKS = {"tasks.angle.enabled": True, "tasks.energy.enabled": True, "tasks.uvwFI.enabled": True}

log = logging.getLogger("evidence")
Metrics = dict[str, float]
Transform = Callable[[Readings], Readings]


class Study:
    """Files, runs and results in one folder."""

    def __init__(self, folder: Path, optimizer: str = "muon") -> None:
        self.folder = folder
        self.optimizer = optimizer
        self.train = [str(folder / "train" / f"{number}.root") for number in range(FILES)]
        self.val = str(folder / "val.root")
        (folder / "results").mkdir(parents=True, exist_ok=True)

    def simulate(self) -> None:
        """Files that are not there yet."""
        wanted = [(path, EVENTS_PER_FILE, 100 + i) for i, path in enumerate(self.train)] + [(self.val, VALIDATION, 99)]
        for path, events, seed in wanted:
            if not Path(path).exists():
                Path(path).parent.mkdir(exist_ok=True)
                config = SimulationConfig(events=events, seed=seed, output=Path(path), pileup=False)
                write_simulation(config, progress=False)

    def config(self, cls: Any, base: str, name: str, seed: int, settings: Mapping[str, Any]) -> Any:
        files = {"data.train_path": self.train, "data.val_path": self.val, "checkpoint.artifacts_dir": str(self.folder)}
        run = {"run_name": name, "seed": seed, "training.optimizer": self.optimizer}
        return load_config(base, {**NETWORK, **files, **run, **settings}, cls)

    def result(self, name: str, compute: Callable[[], Any]) -> Any:
        """What `compute` gives, kept as a file."""
        path = self.folder / "results" / f"{name}.json"
        if not path.exists():
            log.info("%s", name)
            path.write_text(json.dumps(compute()))
        return json.loads(path.read_text())

    def pretrain(self, seed: int, pattern: str) -> str:
        name = f"pretrain_{pattern}_{seed}"
        settings = {"training.epochs": 2, "masking.pattern": pattern}
        self.result(name, lambda: str(reconstruct(self.config(PretrainConfig, "pretrain", name, seed, settings))))
        return str(self.folder / name / LAST)

    def regress(self, seed: int, labels: str, start: str) -> Metrics:
        """Resolutions after as many steps as one pass over all events takes; from scratch, or from a pretraining."""
        name = f"{start}_{LABELS[labels]}_{seed}"
        settings = {
            **TASKS,
            "data.train_path": self.train[: LABELS[labels]],
            "training.epochs": FILES // LABELS[labels],
            "checkpoint.init_from": None if start == "scratch" else self.pretrain(seed, start),
        }
        return self.result(name, lambda: self._regress(self.config(TrainConfig, "multitask", name, seed, settings)))

    def _regress(self, config: TrainConfig) -> Metrics:
        config, start, model, data = prepare(config)
        for name, targets in data.training_targets().items():
            model.task(name).fit_scaling(targets)
        objective = RegressionObjective(model, SampleReweighter(config.reweighting))
        run = run_training(config, start, objective, data, "evidence")
        return self.measure(load_model(run.folder / LAST))

    def batches(self) -> Iterator[Any]:
        config = self.config(TrainConfig, "multitask", "none", 0, {"data.batch_size": 50})
        model = build_model(config)
        yield from EventDataModule(model.detector, config.data, 0, tasks=[]).val_dataloader()

    @torch.no_grad()
    def measure(self, model: Any, transform: Transform = lambda batch: batch) -> Metrics:
        """Resolutions on the validation sample, whose readings `transform` may change."""
        metrics = {name: model.task(name).build_metrics() for name in model.tasks}
        for batch in self.batches():
            predictions = model(transform(batch))
            for name, metric in metrics.items():
                metric.update(predictions[name], batch.y[name])
        values = {key: float(value) for metric in metrics.values() for key, value in metric.compute().items()}
        return {key: values[key.removeprefix("val_")] for key in METRICS}

    def probe(self, seed: int, start: str) -> float:
        """Opening angle (deg) that a ridge fit of the direction to the fused tokens reaches, nothing being trained."""
        return self.result(f"probe_{start}_{seed}", lambda: self._probe(seed, start))

    def _probe(self, seed: int, start: str) -> float:
        config = self.config(TrainConfig, "multitask", "none", seed, {**TASKS, "data.batch_size": 50})
        prepare(config, "regression")
        model = build_model(config).eval()
        if start != "untrained":
            weights = self.pretrain(seed, start) if start != "scratch" else self.folder / f"scratch_8_{seed}/{LAST}"
            load_weights(model, read_checkpoint(weights), config.model_dump(mode="json"))
        data = EventDataModule(model.detector, config.data, seed, tasks=["angle"])

        @torch.no_grad()
        def tokens(paths: list[str]) -> tuple[Tensor, Tensor]:
            batches = data.loader(paths, shuffle=False, truth=["emiAng"])
            pairs = [(model.backbone(b).flatten(1), b.y["angle"]) for b in batches]
            x, angles = (torch.cat(part).double() for part in zip(*pairs, strict=True))
            return x, model.task("angle").to_vector(angles)

        (x, direction), (x_val, direction_val) = tokens(self.train[: FILES // 4]), tokens([self.val])
        mean, std = x.mean(0), x.std(0)
        x, x_val = (nn.functional.pad((values - mean) / std, (0, 1), value=1.0) for values in (x, x_val))

        def resolution(rows: int, penalty: float, x_new: Tensor, direction_new: Tensor) -> float:
            matrix = x[:rows].T @ x[:rows] + penalty * torch.eye(x.size(1), dtype=x.dtype)
            found = x_new @ torch.linalg.solve(matrix, x[:rows].T @ direction[:rows])
            return float(opening_angle(found, direction_new).rad2deg().quantile(QUANTILE))

        rows = int(0.8 * len(x))  # the penalty is chosen on the rest of the training events
        best = min(RIDGE, key=lambda penalty: resolution(rows, penalty, x[rows:], direction[rows:]))
        return resolution(len(x), best, x_val, direction_val)

    def inpaint(self, seed: int) -> str:
        config = self.config(InpaintConfig, "inpaint", f"inpaint_{seed}", seed, {"training.epochs": 1})
        self.result(f"inpaint_{seed}", lambda: str(reconstruct(config)))
        return str(self.folder / f"inpaint_{seed}" / LAST)

    def recover(self, seed: int, share: float, trained: bool = True) -> list[dict[str, Any]]:
        """Errors of the filled sensors, network and baselines, as `evaluate_inpainting` writes them."""
        name = f"{'recover' if trained else 'untrained'}_{share:g}_{seed}"

        def compute() -> list[dict[str, Any]]:
            if trained:
                model = load_model(self.inpaint(seed), kind="inpainting")
            else:
                model = build_model(self.config(InpaintConfig, "inpaint", name, seed, {})).eval()
            masker = Masker(model.detector, MaskingConfig(mask_ratio=share, pattern="random"))
            evaluate_inpainting(model, masker, self.batches(), self.folder, name)
            with (self.folder / f"inpainting_{name}.csv").open() as file:
                return list(csv.DictReader(file))

        return self.result(name, compute)

    def dead(self, seed: int) -> dict[str, Metrics]:
        """Resolutions of one regressor with 5 % dead sensors: none dead, untouched, filled."""
        return self.result(f"dead_{seed}", lambda: self._dead(seed))

    def _dead(self, seed: int) -> dict[str, Metrics]:
        regressor = load_model(self.folder / f"scratch_{LABELS['all']}_{seed}" / LAST)
        inpainter = load_model(self.inpaint(seed), kind="inpainting")
        masker = Masker(regressor.detector, MaskingConfig(mask_ratio=0.05, pattern="random"))

        def kill(filled: bool) -> Transform:
            generator = torch.Generator().manual_seed(0)  # the same sensors die in both

            def transform(batch: Readings) -> Readings:
                dead = masker(batch.x, regressor.backbone.normalizer.validity(batch.x), generator)
                killed = Readings(torch.where(dead.unsqueeze(-1), torch.nan, batch.x))
                return Readings(inpainter.fill(killed)[0]) if filled else killed

            return transform

        return {
            "none dead": self.measure(regressor),
            "5 % dead, untouched": self.measure(regressor, kill(filled=False)),
            "5 % dead, filled": self.measure(regressor, kill(filled=True)),
        }


def run_seed(study: Study, seed: int) -> None:
    """All results of one seed."""
    for labels in LABELS:
        for start in ("scratch", "random", "patch"):
            study.regress(seed, labels, start)
    for start in ("untrained", "random", "patch", "scratch"):
        study.probe(seed, start)
    for share in DEAD:
        study.recover(seed, share)
    study.recover(seed, 0.05, trained=False)
    study.dead(seed)


def tables(study: Study, seeds: Sequence[int]) -> str:
    """All results as Markdown: mean over the seeds, and in brackets the single ones where they differ."""

    def cell(values: Sequence[float]) -> str:
        shown = [f"{value:.3g}" for value in values]
        return shown[0] if len(set(shown)) == 1 else f"{np.mean(values):.3g} ({' '.join(shown)})"

    def load(name: str) -> list[Any]:
        paths = [study.folder / "results" / f"{name}_{seed}.json" for seed in seeds]
        return [json.loads(path.read_text()) for path in paths if path.exists()]

    def resolutions(rows: Mapping[str, Sequence[Metrics]]) -> list[str]:
        lines = ["| | " + " | ".join(METRICS.values()) + " |", "|---" * (len(METRICS) + 1) + "|"]
        for title, found in rows.items():
            if found:
                lines.append(f"| {title} | " + " | ".join(cell([m[key] for m in found]) for key in METRICS) + " |")
        return lines

    starts = {"scratch": "from scratch", "patch": "pretrained, patches", "random": "pretrained, single sensors"}
    pairs = [(labels, start) for labels in LABELS for start in starts]
    lines = ["## Fine-tuning against training from scratch", ""]
    lines += resolutions({f"{n} of the labels, {starts[s]}": load(f"{s}_{LABELS[n]}") for n, s in pairs})

    lines += ["", "## A linear fit to the tokens", "", "| tokens | opening angle [deg] |", "|---|---|"]
    for start in ("untrained", *starts):
        found = load(f"probe_{start}")
        title = f"trained {starts[start]}" if start == "scratch" else starts.get(start, start)
        lines += [f"| {title} | {cell(found)} |"] if found else []

    lines += ["", "## Inpainting against neighbours", "", "68 % quantile of the error of npho in photons.", ""]
    lines += ["| dead | face | network | solid angle | neighbours | floor |", "|---|---|---|---|---|---|"]
    for share, kind in (*((share, "recover") for share in DEAD), (0.05, "untrained")):
        found = load(f"{kind}_{share:g}")
        note = "" if kind == "recover" else ", network untrained"
        for face in dict.fromkeys(row["face"] for rows in found for row in rows):
            group = [
                {row["method"]: float(row["resolution_68"]) for row in rows if _is_total(row) and row["face"] == face}
                for rows in found
            ]
            cells = [cell([g[method] for g in group]) for method in ("network", "solid angle", "neighbours", "floor")]
            lines.append(f"| {share:.0%}{note} | {face} | " + " | ".join(cells) + " |")

    lines += ["", "## Reconstruction with 5 % dead sensors", ""]
    found = load("dead")
    lines += resolutions({title: [result[title] for result in found] for title in (found[0] if found else ())})
    return "\n".join(lines) + "\n"


def _is_total(row: Mapping[str, str]) -> bool:
    return row["quantity"] == "npho" and row["npho_from"] == "-inf" and row["npho_to"] == "inf"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--folder", type=Path, default=Path("evidence"), help="files, runs and results")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="one study for each")
    parser.add_argument("--optimizer", choices=["muon", "adamw"], default="muon", help="one folder for each")
    parser.add_argument("--tables", action="store_true", help="only print the tables of the results that are there")
    arguments = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    log.setLevel(logging.INFO)
    study = Study(arguments.folder, arguments.optimizer)
    if not arguments.tables:
        study.simulate()
        for seed in arguments.seeds:
            run_seed(study, seed)
    sys.stdout.write(tables(study, arguments.seeds))


if __name__ == "__main__":
    main()
