from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.loggers.logger import DummyLogger
from matplotlib.figure import Figure
from matplotlib.image import imread
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader

from xecgnn.config import FORMAT
from xecgnn.evaluation.compared import Run
from xecgnn.evaluation.pages.curves import PLOTS, training_pictures
from xecgnn.evaluation.report import report
from xecgnn.evaluation.runs import RunFolder
from xecgnn.training.ema import WarmEMA
from xecgnn.training.metrics import MetricsCallback, MetricsTracker, generate_all_plots, tracker
from xecgnn.training.metrics.tracker import compute_grad_norm
from xecgnn.training.module import TrainingModule

# The example of seed 003, word for word but for the path of the import.
EXAMPLE = """
from xecgnn.training.metrics import MetricsTracker, generate_all_plots, generate_report
from xecgnn.training.metrics.tracker import compute_grad_norm

tracker = MetricsTracker(output_dir="./my_metrics")

for epoch in range(num_epochs):
    tracker.start_epoch(epoch)

    for batch in dataloader:
        loss = train_step(batch)
        grad_norm = compute_grad_norm(model)
        tracker.log_batch(loss=loss.item(), lr=optimizer.param_groups[0]["lr"], grad_norm=grad_norm)

    tracker.end_epoch(model=model, ema_model=ema_model)

# Generate outputs
plot_paths = generate_all_plots(tracker, save_dir="./my_metrics")
generate_report(tracker, config=TRAINING_CONFIG, save_dir="./my_metrics", plot_paths=plot_paths)
"""
PICTURES = {
    "loss_linear", "loss_log", "loss_distribution", "learning_rate", "grad_norm", "throughput", "gpu_memory",
    "ema_divergence", "epoch_timing", "loss_derivative", "resolution", "training_dashboard",
}  # fmt: skip


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that the example of the seed leaves."""
    torch.manual_seed(0)
    model, ema_model = nn.Linear(3, 1), nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def train_step(batch: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = model(batch).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    names = {"num_epochs": 2, "dataloader": torch.randn(3, 8, 3), "TRAINING_CONFIG": {"lr": 0.1, "data": {"batch": 8}}}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("seed"))
        exec(
            EXAMPLE, names | {"train_step": train_step, "model": model, "ema_model": ema_model, "optimizer": optimizer}
        )
        yield Path("my_metrics").resolve()


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "training_metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def run_epochs(measure: MetricsTracker, epochs: range, **columns: float) -> None:
    for epoch in epochs:
        measure.start_epoch(epoch)
        for batch in range(4):
            measure.log_batch(loss=1.0 + batch, lr=0.1, grad_norm=float(batch), batch_size=16)
        measure.end_epoch(metrics=columns)


def test_the_example_of_the_seed_leaves_its_files(example: Path) -> None:
    written = {"training_metrics.csv", "training_metrics.json", "training_report.md"}
    assert {path.name for path in example.iterdir()} == written | {f"{name}.png" for name in PICTURES}
    (picture, *_) = imread(example / "loss_linear.png")[0]
    assert [round(255 * channel) for channel in picture[:3]] == [0x0E, 0x11, 0x17]
    assert imread(example / "loss_linear.png").shape[:2] == (864, 1440)  # 8 x 4.8 inches at 180 dots per inch


def test_the_report_shows_all_and_links_only_what_is_there(example: Path) -> None:
    report = (example / "training_report.md").read_text()
    links = re.findall(r"\]\(([^)]+)\)", report)
    assert links
    assert all((example / link).is_file() for link in links)
    assert {Path(link).stem for link in re.findall(r"!\[[^]]*\]\(([^)]+)\)", report)} == PICTURES
    settings = re.search(r"```json\n(.*?)```", report, re.DOTALL)
    assert settings is not None
    assert json.loads(settings[1]) == {"lr": 0.1, "data": {"batch": 8}}
    assert re.search(r"\| finished epochs +\| 2 +\|", report)
    assert "gpu_peak_mb" not in report  # columns without any value


@pytest.mark.drawn
def test_the_report_of_a_run(tmp_path: Path) -> None:
    run = tmp_path / "a run"
    run_epochs(MetricsTracker(run / "metrics"), range(2), val_loss=0.5)
    (run / "config.yaml").write_text(f"format: {FORMAT}\nseed: 3\n")
    (run / "predictions_a run.csv").touch()
    files = report(RunFolder(run)).files
    assert {path.parent for path in files} == {run / "metrics"}
    text = files[-1].read_text()
    assert text.startswith("# Training report: a run\n")
    assert '"seed": 3' in text
    assert "| best validation loss | 0.5 (epoch 0) " in text
    links = [unquote(link) for link in re.findall(r"\]\(([^)]+)\)", text)]
    assert {"../config.yaml", "../predictions_a run.csv", "training_metrics.csv"} <= set(links)
    assert all((run / "metrics" / link).is_file() for link in links)


def test_the_row_of_an_epoch(tmp_path: Path) -> None:
    measure = MetricsTracker(tmp_path)
    model, average = nn.Linear(2, 1, bias=False), nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[3.0, 5.0]]))
        average.weight.copy_(torch.tensor([[0.0, 1.0]]))
    measure.start_epoch(7)
    for loss, norm in ((1.0, 2.0), (2.0, None), (6.0, math.inf), (3.0, 4.0)):
        measure.log_batch(loss, lr=loss / 10, grad_norm=norm, batch_size=10)
    row = measure.end_epoch(model, average, {"val_loss": torch.tensor(0.25)})
    assert (row.epoch, row.loss_mean, row.loss_min, row.loss_max, row.loss_median) == (7, 3.0, 1.0, 6.0, 2.5)
    assert row.loss_std == pytest.approx(np.std([1, 2, 6, 3]))
    assert (row.lr, row.grad_norm, row.grad_norm_max, row.ema_delta_norm) == (0.3, 3.0, 4.0, 5.0)
    assert row.samples_per_sec == pytest.approx(10 * row.batches_per_sec)
    assert row.extra == {"val_loss": 0.25}
    (line,) = table(tmp_path)
    assert (line["epoch"], line["loss_mean"], line["val_loss"], line["gpu_peak_mb"]) == ("7", "3", "0.25", "")
    (entry,) = json.loads((tmp_path / "training_metrics.json").read_text())["epochs"]
    assert (entry["epoch"], entry["ema_delta_norm"], entry["gpu_peak_mb"]) == (7, 5.0, None)


def test_a_killed_and_resumed_loop_has_each_epoch_once(tmp_path: Path) -> None:
    killed = MetricsTracker(tmp_path)
    run_epochs(killed, range(4))
    killed.start_epoch(4)
    killed.log_batch(loss=99.0)
    assert [line["epoch"] for line in table(tmp_path)] == ["0", "1", "2", "3"]  # on disk, whatever comes
    with (tmp_path / "training_metrics.csv").open("a") as file:
        file.write("4,99.0,1.")  # a line that was cut off

    resumed = MetricsTracker(tmp_path)  # from a checkpoint of epoch 1
    assert [metrics.epoch for metrics in resumed.history] == [0, 1, 2, 3]
    before = resumed.history[1].cumulative_time_sec
    run_epochs(resumed, range(2, 6), val_loss=0.5)
    lines = table(tmp_path)
    assert [line["epoch"] for line in lines] == ["0", "1", "2", "3", "4", "5"]
    assert [line["val_loss"] for line in lines] == ["", "", "0.5", "0.5", "0.5", "0.5"]
    times = [float(line["cumulative_time_sec"]) for line in lines]
    assert times[1] == pytest.approx(before)
    assert times == sorted(times)
    assert [row["epoch"] for row in json.loads((tmp_path / "training_metrics.json").read_text())["epochs"]] == [
        *range(6)
    ]
    assert not list(tmp_path.glob("*.part"))


def test_rows_are_appended_not_written_again(tmp_path: Path) -> None:
    measure = MetricsTracker(tmp_path)
    run_epochs(measure, range(2), val_loss=1.0)
    inode = (tmp_path / "training_metrics.csv").stat().st_ino
    run_epochs(measure, range(2, 4), val_loss=1.0)
    assert (tmp_path / "training_metrics.csv").stat().st_ino == inode
    assert len(table(tmp_path)) == 4


def test_logging_never_reads_a_tensor(tmp_path: Path) -> None:
    class Calls(TorchDispatchMode):
        names: list[str] = []  # noqa: RUF012

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.names.append(str(func))
            return func(*args, **(kwargs or {}))

    model = nn.Linear(3, 2)
    model(torch.ones(1, 3)).sum().backward()
    measure, rate = MetricsTracker(tmp_path), torch.tensor(0.5)
    measure.start_epoch(0)
    with Calls() as calls:
        for loss in (torch.tensor(1.0), torch.tensor([3.0], requires_grad=True)):
            measure.log_batch(loss, rate, compute_grad_norm(model))
    assert not [name for name in calls.names if "local_scalar" in name or "copy" in name]
    rate.zero_()  # a scheduler changes it in place
    row = measure.end_epoch()
    assert (row.loss_mean, row.lr, row.grad_norm) == (2.0, 0.5, pytest.approx(3.0 * math.sqrt(8 / 9)))


def test_norm_of_the_gradients() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    assert compute_grad_norm(model) == 0
    model(torch.randn(5, 3)).sum().backward()
    gradients = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    torch.testing.assert_close(compute_grad_norm(model), gradients.norm())


@pytest.mark.parametrize(
    ("picture", "text"),
    [
        ("gpu_memory", "no GPU was used"),
        ("ema_divergence", "no averaged weights"),
        ("learning_rate", "no learning rate was recorded"),
        ("grad_norm", "no gradient norm was recorded"),
        ("loss_derivative", "needs the loss of two epochs"),
        ("loss_log", "no loss above zero: there is no logarithm"),
    ],
)
def test_a_picture_says_what_does_not_exist(tmp_path: Path, picture: str, text: str) -> None:
    measure = MetricsTracker(tmp_path)
    measure.start_epoch(0)
    measure.log_batch(loss=-1.0)
    measure.end_epoch()
    ax = Figure().subplots()
    next(plot for plot in PLOTS if plot.name == picture).draw(ax, measure.curves)
    assert [label.get_text() for label in ax.texts] == [text]
    assert not ax.lines
    assert not ax.patches


def test_resolutions_are_drawn_by_unit_and_what_has_no_value_is_not_on_the_dashboard(tmp_path: Path) -> None:
    measure = MetricsTracker(tmp_path)
    run_epochs(measure, range(2), val_u_resolution_68=4.0, val_w_resolution_68=5.0, val_resolution_deg=2.5)
    run_epochs(measure, range(2, 3), val_u_resolution_68=3.0, val_w_resolution_68=6.0, train_resolution_deg=2.0)
    pages = {name: next(pages) for name, pages in training_pictures(measure.curves, "run")}
    plots = pages["resolution.png"].axes
    assert [ax.get_ylabel()[-5:] for ax in plots] == ["[deg]", " [mm]"]
    labels = [[text.get_text() for text in ax.get_legend().get_texts()] for ax in plots]
    assert labels[0] == ["val_resolution_deg: best 2.5 deg", "train_resolution_deg: best 2 deg"]
    assert labels[1] == ["val_u_resolution_68: best 3 mm", "val_w_resolution_68: best 5 mm"]
    np.testing.assert_array_equal(plots[1].lines[1].get_xydata(), [[0, 5], [1, 5], [2, 6]])
    titles = [ax.get_title(loc) for ax in pages["training_dashboard.png"].axes for loc in ("left", "center")]
    assert titles.count("Resolution") == 2
    assert not {"GPU memory", "EMA divergence"} & set(titles)
    assert all(ax.lines or ax.patches for ax in pages["training_dashboard.png"].axes)


def test_a_loss_that_is_not_a_number(tmp_path: Path) -> None:
    measure = MetricsTracker(tmp_path)
    for epoch, loss in enumerate((1.0, math.nan, 0.5)):
        measure.start_epoch(epoch)
        measure.log_batch(loss)
        measure.end_epoch()
    assert [line["loss_mean"] for line in table(tmp_path)] == ["1", "nan", "0.5"]
    assert json.loads((tmp_path / "training_metrics.json").read_text())["epochs"][1]["loss_mean"] is None
    assert Run("", {}, MetricsTracker(tmp_path).curves).best("loss_mean") == 2


def test_only_the_first_process_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    measure = MetricsTracker(tmp_path / "metrics")
    run_epochs(measure, range(1))
    assert generate_all_plots(measure, tmp_path / "metrics") == []
    assert not (tmp_path / "metrics").exists()


def test_memory_of_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    for name, value in (("memory_allocated", 1e9), ("memory_reserved", 3e9), ("max_memory_allocated", 2e9)):
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    measure = MetricsTracker(tmp_path)
    measure.start_epoch(0)
    row = measure.end_epoch()
    assert (row.gpu_allocated_mb, row.gpu_reserved_mb, row.gpu_peak_mb) == (1000, 3000, 2000)
    measure.start_epoch(1)
    assert measure.end_epoch(nn.Linear(1, 1)).gpu_peak_mb is None  # a model that is not on it


@pytest.mark.drawn
def test_mistakes_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    measure = MetricsTracker(tmp_path)
    with pytest.raises(ValueError, match="call start_epoch first"):
        measure.log_batch(1.0)
    with pytest.raises(ValueError, match="no finished epoch, nothing to draw"):
        generate_all_plots(measure, tmp_path)
    assert report(RunFolder(tmp_path, {"format": FORMAT})).files == []  # nor in its metrics/
    assert re.search(r"not drawn: training report \(.*training_metrics.csv: no finished epoch\)", caplog.text)
    (tmp_path / "training_metrics.csv").write_text("run,loss\n1,x\n")
    with pytest.raises(ValueError, match="not a table of training metrics"):
        MetricsTracker(tmp_path)


class Batch(SimpleNamespace):
    """A batch of events, as far as the callback looks."""

    def __len__(self) -> int:
        return len(self.x)


class Small(pl.LightningModule):
    """Remembers what it did, to compare."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1)
        self.losses: list[float] = []
        self.norms: list[float] = []
        self.fail_at: tuple[int, int] | None = None

    def transfer_batch_to_device(self, batch: Any, device: Any, dataloader_idx: int) -> Any:
        return batch

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        if (self.current_epoch, batch_idx) == self.fail_at:
            raise KeyboardInterrupt
        loss = self.layer(batch.x).square().mean()
        self.losses.append(loss.item())
        self.log("train_loss", loss.detach(), on_step=False, on_epoch=True, batch_size=len(batch))
        return loss

    configure_gradient_clipping = TrainingModule.configure_gradient_clipping

    def on_before_zero_grad(self, optimizer: Any) -> None:
        self.norms.append(float(compute_grad_norm(self)))  # after clipping

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.log("val_loss", self.layer(batch.x).square().mean(), batch_size=len(batch))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.01)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5), "interval": "step"},
        }


class Notes(DummyLogger):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.metrics: dict[str, float] = {}

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        self.metrics |= metrics


@pytest.fixture
def fit(tmp_path: Path) -> Callable[..., Any]:
    """Fits three epochs of five batches, two for each step, with checkpoints in the folder."""

    def run(module: Small, logger: Any = False, **options: Any) -> None:
        torch.manual_seed(0)
        batches = [Batch(x=10 * torch.randn(4, 3)) for _ in range(5)]
        loaders = [DataLoader(part, batch_size=None, collate_fn=lambda batch: batch) for part in (batches, batches[:2])]
        checkpoint = pl.callbacks.ModelCheckpoint(tmp_path, "last", save_on_train_epoch_end=True)
        pl.Trainer(
            max_epochs=3, accelerator="cpu", accumulate_grad_batches=2, gradient_clip_val=0.1, logger=logger,
            callbacks=[WarmEMA(0.999), MetricsCallback(tmp_path), checkpoint],
            enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        ).fit(module, *loaders, **options)  # fmt: skip

    return run


def test_the_callback_measures_what_happened(tmp_path: Path, fit: Callable[..., None]) -> None:
    module, notes = Small(), Notes()
    fit(module, notes)
    lines = table(tmp_path)
    assert [line["epoch"] for line in lines] == ["0", "1", "2"]
    for epoch, line in enumerate(lines):
        losses = module.losses[5 * epoch : 5 * epoch + 5]
        assert float(line["loss_mean"]) == pytest.approx(np.mean(losses), rel=1e-5)
        assert float(line["loss_max"]) == pytest.approx(max(losses), rel=1e-5)
        assert float(line["lr"]) == pytest.approx(0.01 * 0.5 ** (3 * epoch + 2))  # of the last of three steps
        assert float(line["ema_delta_norm"]) > 0
        assert math.isfinite(float(line["val_loss"]))
    assert max(module.norms) <= 0.1001  # clipped
    assert float(lines[0]["grad_norm"]) > 1  # measured before
    assert not {"train_loss", "lr-SGD"} & lines[0].keys()
    system = {name.removeprefix("system/"): value for name, value in notes.metrics.items() if "system" in name}
    assert system.keys() == {
        "epoch_duration_sec", "throughput_events_per_sec", "avg_data_load_sec", "compute_efficiency", "ram_used_gb",
    }  # fmt: skip
    assert system["throughput_events_per_sec"] == pytest.approx(float(lines[2]["samples_per_sec"]), rel=1e-5)
    assert 0 <= system["compute_efficiency"] <= 1


def test_an_interrupted_fit_goes_on(tmp_path: Path, fit: Callable[..., None]) -> None:
    module = Small()
    module.fail_at = (1, 3)
    with pytest.raises(SystemExit):
        fit(module)
    first = table(tmp_path)
    assert [line["epoch"] for line in first] == ["0"]
    fit(Small(), ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    lines = table(tmp_path)
    assert [line["epoch"] for line in lines] == ["0", "1", "2"]
    assert lines[0] == first[0]
    assert len(tracker.MetricsTracker(tmp_path).history) == 3
