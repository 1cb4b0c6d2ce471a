"""What the training metrics cost: `python benchmarks/metrics.py [--detector meg2] [--steps 30] [--threads 2]`.

Fits with the callback and reports the time in each of its hooks as a share of the same fit; the norm of the gradients
is not among them, since clipping needs it anyway. On a GPU the hooks wait
for their own work, which they do not do in a training: the share is an upper limit.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader

from record import Recorder, add_record_option
from xecgnn import load_detector
from xecgnn.data import Readings
from xecgnn.models import ModelConfig, XECModel
from xecgnn.nn import NormalizationConfig
from xecgnn.simulation import simulate_events
from xecgnn.tasks import ReweightingConfig, SampleReweighter, TasksConfig, build_tasks
from xecgnn.training import TrainingConfig
from xecgnn.training.ema import WarmEMA
from xecgnn.training.metrics import MetricsCallback
from xecgnn.training.module import TrainingModule
from xecgnn.training.objective import RegressionObjective

PER_STEP = ("on_train_batch_start", "on_before_optimizer_step", "on_train_batch_end")
PER_EPOCH = ("on_train_epoch_start", "on_train_epoch_end")


def timed(hook: Callable[..., None], spent: dict[str, float], name: str) -> Callable[..., None]:
    wait = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None

    def run(*arguments: Any) -> None:
        wait()
        start = time.perf_counter()
        hook(*arguments)
        wait()
        spent[name] += time.perf_counter() - start

    return run


class Clock(pl.Callback):
    """Time of the training, without validation: there is none."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.start = time.perf_counter()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.seconds = time.perf_counter() - self.start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detector", default="meg2")
    parser.add_argument("--encoder_dim", type=int, default=256)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=30, help="of an epoch")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    add_record_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    detector = load_detector(options.detector)
    batch = Readings.of(simulate_events(detector, options.batch, seed=1))
    model = XECModel(
        detector, ModelConfig(encoder_dim=options.encoder_dim), NormalizationConfig(), build_tasks(TasksConfig())
    )
    config = TrainingConfig(epochs=2)
    module = TrainingModule(RegressionObjective(model, SampleReweighter(ReweightingConfig())), config, 0, {})
    with tempfile.TemporaryDirectory() as folder:
        metrics, clock = MetricsCallback(folder), Clock()
        spent: dict[str, float] = defaultdict(float)
        for name in (*PER_STEP, *PER_EPOCH):
            setattr(metrics, name, timed(getattr(metrics, name), spent, name))
        trainer = pl.Trainer(
            max_epochs=config.epochs,
            devices=1,
            callbacks=[WarmEMA(config.ema_decay), metrics, clock],
            gradient_clip_val=config.grad_clip,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, DataLoader([batch] * options.steps, batch_size=None, collate_fn=lambda batch: batch))
    steps = options.steps * config.epochs
    parameters = sum(p.numel() for p in model.parameters()) / 1e6
    print(
        f"{options.detector}, {parameters:.1f} M parameters, batch {options.batch}, on {trainer.strategy.root_device}"
    )
    print(f"step {1e3 * clock.seconds / steps:.2f} ms")
    for name in PER_STEP:
        print(
            f"   {name:26s} {1e6 * spent[name] / steps:8.0f} us   {100 * spent[name] / clock.seconds:.3f} % of the fit"
        )
    for name in PER_EPOCH:
        print(f"   {name:26s} {1e3 * spent[name] / config.epochs:8.2f} ms per epoch")
    share = 100 * sum(spent[name] for name in PER_STEP) / clock.seconds
    print(f"share of all steps: {share:.3f} %")
    Recorder("metrics", options.record)(f"{options.detector}, share of the fit", share, "%", "lower")


if __name__ == "__main__":
    main()
