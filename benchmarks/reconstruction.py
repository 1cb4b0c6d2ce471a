"""Cost of masked training: `python benchmarks/reconstruction.py [--threads 2] [--rounds 5]`.

Prints the time of a training step (forward, loss, backward, AdamW) of pretraining and of inpainting over that of the
regression with the same encoder, and the share of the masking in it. MEG II, encoder_dim 256, batch 32; the steps
alternate, and ratios are medians over the rounds.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

from record import Recorder, add_record_option
from xecgnn.config import InpaintConfig, PretrainConfig, TrainConfig, load_config
from xecgnn.data import Readings
from xecgnn.detector import load_detector
from xecgnn.nn import Masker
from xecgnn.simulation import simulate_events
from xecgnn.tasks import SampleReweighter
from xecgnn.training.kinds import build_model
from xecgnn.training.objective import Objective, RegressionObjective
from xecgnn.training.optimizer import build_optimizer
from xecgnn.training.reconstruction import ReconstructionObjective
from xecgnn.training.run import reuse_freed_memory

BATCH = 32
CONFIGS = {"regression": ("angle", TrainConfig), "pretraining": ("pretrain", PretrainConfig),
           "inpainting": ("inpaint", InpaintConfig)}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    add_record_option(parser)
    arguments = parser.parse_args()
    record = Recorder("reconstruction", arguments.record)
    torch.set_num_threads(arguments.threads)
    reuse_freed_memory()
    detector = load_detector("meg2")
    batch = Readings.of(simulate_events(detector, BATCH, seed=1))

    steps: dict[str, Callable[[], object]] = {}
    for name, (base, cls) in CONFIGS.items():
        config = load_config(base, {"model.encoder_dim": 256}, cls)
        model = build_model(config)
        objective: Objective
        if isinstance(config, TrainConfig):
            objective = RegressionObjective(model, SampleReweighter(config.reweighting))
        else:
            masker = Masker(detector, config.masking)
            objective = ReconstructionObjective(model, masker, config.loss)
            validity = model.backbone.normalizer.validity(batch.x)
            steps[f"masks of {name}"] = lambda m=masker, v=validity: m(batch.x, v)
        steps[name] = training_step(objective, build_optimizer(objective, config.training), batch)

    times: dict[str, list[float]] = {name: [] for name in steps}
    for round_ in range(arguments.rounds + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if round_:  # the first one warms up
                times[name].append(time.perf_counter() - start)
    base_times = np.array(times["regression"])
    for name, values in times.items():
        ratio = np.median(np.array(values) / base_times)
        sys.stdout.write(f"{name:24s} {1e3 * np.median(values):7.1f} ms, {ratio:.3f} of a regression step\n")
        if name != "regression":
            record(f"{name} over regression", ratio, "ratio", "lower")


def training_step(objective: Objective, optimizer: torch.optim.Optimizer, batch: object) -> Callable[[], None]:
    def step() -> None:
        loss, _ = objective(batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


if __name__ == "__main__":
    main()
