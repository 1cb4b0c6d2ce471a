"""The examples of extensions run through the commands: detector, network, task and picture in one training, then the
layout in one with our network."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uproot

import xecgnn
from xecgnn import plugins
from xecgnn.cli.export import main as export
from xecgnn.cli.infer import main as infer
from xecgnn.cli.report import main as report
from xecgnn.cli.simulate import main as simulate
from xecgnn.cli.train import main as train
from xecgnn.config import TrainConfig
from xecgnn.evaluation.artifacts import ARTIFACTS
from xecgnn.models.encoder import LAYOUTS
from xecgnn.models.network import NETWORKS
from xecgnn.names import TARGETS
from xecgnn.tasks.config import ReweightingConfig, TasksConfig
from xecgnn.tasks.registry import TASKS

EXAMPLES = Path(__file__).parents[1] / "examples"
PLUGINS = ["--plugins", "network.py", "task.py", "picture.py"]
QUIET = [
    "--training.device", "cpu", "--logging.progress_bar", "false", "--logging.mlflow", "false",
    "--logging.tensorboard", "false", "--evaluation.worst_events", "0", "--evaluation.saliency_events", "0",
]  # fmt: skip
TRAIN = [
    "angle.yaml", "--detector", "detector.yaml", "--train_path", "a.root", "--val_path", "a.root", "--batch", "32",
    "--model.network", "two_layers", "--model.hidden_dim", "8", "--tasks", "deposit", *PLUGINS, *QUIET,
]  # fmt: skip


@contextmanager
def nothing_registered() -> Iterator[None]:
    """What plugins register is gone afterwards: for the tests that follow in this process there are none."""
    registries = (TASKS, NETWORKS, LAYOUTS, ARTIFACTS)
    kept = [TARGETS, plugins._loaded, TasksConfig.model_fields, ReweightingConfig.model_fields]
    kept += [registry._modules for registry in registries]
    before = [dict(entries) for entries in kept]
    yield
    for entries, old in zip(kept, before, strict=True):
        entries.clear()
        entries.update(old)
    for registry in registries:  # what of ours was imported meanwhile stays
        for name in set(registry._entries) - set(registry):
            del registry._entries[name]
    for settings in (TasksConfig, ReweightingConfig, TrainConfig):
        settings.model_rebuild(force=True)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the examples, a simulated file, and a run of one epoch which has gone on for a second one."""
    folder = tmp_path_factory.mktemp("own")
    for name in ("detector.yaml", *PLUGINS[1:]):
        shutil.copy(EXAMPLES / name, folder)
    with pytest.MonkeyPatch.context() as patch, nothing_registered():
        patch.chdir(folder)
        simulate(["--detector", "detector.yaml", "--events", "64", "--output", "a.root"])
        train([*TRAIN, "--epochs", "1", "--run_name", "own"])
        train([*TRAIN, "--epochs", "2", "--resume_from", "artifacts/own/checkpoint_last.pth"])
        patch.undo()
        yield folder


@pytest.fixture
def run(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(workplace)
    return Path("artifacts/own")


def test_a_run_is_evaluated_with_what_is_ones_own(run: Path) -> None:
    names = {path.name for path in run.iterdir()}
    assert {"depth_deposit.pdf", "resolution_profile_deposit.pdf"} <= names
    assert "pred_edepTruth" in uproot.open(run / "validation_results_own.root")["tree"].keys()  # noqa: SIM118
    assert (run / "metrics/training_metrics.csv").read_text().count("\n") == 3
    config = xecgnn.load_config(run / "config.yaml")
    assert [Path(plugin.path).stem for plugin in config.plugins] == ["network", "task", "picture"]
    assert all(len(plugin.sha256 or "") == 64 for plugin in config.plugins)


def test_a_run_is_reported_again(run: Path) -> None:
    (run / "depth_deposit.pdf").unlink()
    report([str(run), *PLUGINS])
    assert (run / "depth_deposit.pdf").stat().st_size


def test_files_are_predicted_by_checkpoint_and_by_model_file(run: Path) -> None:
    export([str(run / "checkpoint_best.pth"), "--output", "own.onnx", "--events", "8", *PLUGINS])
    for number, model in enumerate((run / "checkpoint_best.pth", "own.onnx")):
        infer(["--onnx", str(model), "--input", "a.root", "--output", f"{number}.root", *PLUGINS])
    first, second = (uproot.open(f"{n}.root")["tree"].arrays(["pred_edepTruth"], library="np") for n in range(2))
    assert first["pred_edepTruth"] == pytest.approx(second["pred_edepTruth"], rel=1e-4)


def test_what_it_cannot_do_is_said(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    best = str(run / "checkpoint_best.pth")
    for command, argv, line in (
        (export, [best, "--encoder", "--output", "no.onnx", *PLUGINS], "TwoLayers has no encoder of its own to export"),
        (train, [*TRAIN, "--init_from", best, "--training.freeze_encoder", "true"], "TwoLayers has no backbone"),
        (train, [*TRAIN, "--model.network", "three_layers"], "unknown network 'three_layers'; known: xecgnn, two"),
    ):
        with pytest.raises(SystemExit):
            command(argv)
        assert capsys.readouterr().err.startswith(f"error: {line}")


def test_another_file_is_refused(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(plugins, "_loaded", {})  # as in a process that has imported none
    Path("task.py").write_text((EXAMPLES / "task.py").read_text() + "# changed\n")
    for options, line in (([], "made with the plugin"), (PLUGINS, "made with task.py of SHA-256")):
        with pytest.raises(SystemExit):
            report([str(run), *options])
        assert capsys.readouterr().err.startswith(f"error: {run}: {line}")
    monkeypatch.setattr(plugins, "_loaded", {})
    with pytest.raises(ValueError, match="made with the plugin"):
        xecgnn.load_model(run / "checkpoint_best.pth")


def test_a_layout_trains_goes_on_and_leaves(mini_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(EXAMPLES / "layout.py", tmp_path)
    plugin, data = ["--plugins", "layout.py"], str(mini_files / "data/val/a.root")
    small = ["--model.encoder_dim", "128", "--model.hex_dim", "8", "--model.depths", "[1,1]", "--model.hex_depth", "1"]
    layouts = ["--model.layouts", "top=together", "--model.layouts", "us=together"]
    options = ["angle.yaml", "--detector", "mini", "--train_path", data, "--val_path", data, "--batch", "32", *small]
    with nothing_registered():
        train([*options, *layouts, "--epochs", "1", "--run_name", "own", *plugin, *QUIET])
        resume = ["--resume_from", "artifacts/own/checkpoint_last.pth"]
        train([*options, *layouts, "--epochs", "2", *resume, *plugin, *QUIET])
        best = "artifacts/own/checkpoint_best.pth"
        assert "together" in xecgnn.load_model(best).backbone.encoder
        export([best, "--output", "own.onnx", "--events", "8", *plugin])
        for number, model in enumerate((best, "own.onnx")):
            infer(["--onnx", model, "--input", data, "--output", f"{number}.root", *plugin])
    first, second = (uproot.open(f"{n}.root")["tree"]["pred_emiAng"].array(library="np") for n in range(2))
    assert first == pytest.approx(second, rel=1e-3, abs=1e-4)
