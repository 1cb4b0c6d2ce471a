"""A run goes on with its own settings or not at all; a new run may begin with the weights of any other."""

from __future__ import annotations

import logging
import os
import subprocess
from pathlib import Path

import pytest
import torch
import yaml

from xecgnn.cli.pretrain import main as pretrain
from xecgnn.cli.train import main
from xecgnn.config import PretrainConfig, TrainConfig, load_config
from xecgnn.settings import flattened, overridden
from xecgnn.training.checkpoint import sealed
from xecgnn.training.resume import find_start

NETWORK = [
    "--detector", "mini", "--batch", "32", "--data.num_workers", "0", "--model.encoder_dim", "32",
    "--model.hex_dim", "8", "--model.hex_depth", "1", "--model.depths", "1", "1", "--model.num_heads", "2",
]  # fmt: skip
QUIET = [
    "--training.device", "cpu", "--logging.progress_bar", "false", "--logging.mlflow", "false",
    "--logging.tensorboard", "false",
]  # fmt: skip
UNSEEN = ["--evaluation.worst_events", "0", "--evaluation.saliency_events", "0"]
STARTED = ["--lr", "1e-4", "--tasks", "angle", "energy", "--seed", "3", "--epochs", "1"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, mini_files: Path) -> Path:
    """A folder with `data`, a pretraining, and a run `first` of one epoch with other settings than angle.yaml."""
    folder = tmp_path_factory.mktemp("resume")
    (folder / "data").symlink_to(mini_files / "data")
    before = Path.cwd()
    os.chdir(folder)
    try:
        main(["angle.yaml", *NETWORK, *QUIET, *UNSEEN, *STARTED, "--run_name", "first"])
        pretrain(["pretrain.yaml", *NETWORK, *QUIET, "--epochs", "1", "--run_name", "pre"])
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def workplace(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it as the current folder."""
    subprocess.run(["cp", "-a", f"{finished}/.", str(tmp_path)], check=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


FIRST = "artifacts/first/checkpoint_last.pth"
PRE = "artifacts/pre/checkpoint_best.pth"


def test_the_line_of_the_readme_goes_on_with_the_settings_of_the_run(
    workplace: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "xecgnn"):
        main(["angle.yaml", "--resume_from", FIRST, "--epochs", "2"])
    assert "Continuing artifacts/first after epoch 1." in caplog.messages
    assert "training.epochs: 2 from here on, 1 before." in caplog.messages
    assert sorted(path.name for path in (workplace / "artifacts").iterdir()) == ["first", "pre"]
    after = yaml.safe_load(Path("artifacts/first/config.yaml").read_text())
    assert (after["training"]["lr"], after["seed"], after["detector"]) == (1e-4, 3, "mini")
    assert after["tasks"]["energy"]["enabled"]
    assert after["training"]["epochs"] == 2
    assert torch.load(FIRST, weights_only=True)["epoch"] == 1


def test_each_given_setting_that_differs_is_named(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("other.yaml").write_text("tasks: {angle: {enabled: true}, timing: {enabled: true}}\ntraining: {lr: 2.0e-4}\n")
    before = Path(FIRST).read_bytes()
    with pytest.raises(SystemExit) as stop:
        main(["other.yaml", "--resume_from", FIRST, "--seed", "0", "--run_name", "new", "--epochs", "2"])
    assert stop.value.code == 2
    head, *lines = capsys.readouterr().err.splitlines()
    own = "artifacts/first goes on with its own settings; a new run can begin with its weights (--init_from):"
    assert head == f"error: {own}"
    assert sorted(lines) == [
        "  run_name: the run has 'first', found 'new'",
        "  seed: the run has 3, found 0",
        "  tasks.timing.enabled: the run has False, found True",
        "  training.lr: the run has 0.0001, found 0.0002",
    ]
    assert Path(FIRST).read_bytes() == before
    assert sorted(path.name for path in (workplace / "artifacts").iterdir()) == ["first", "pre"]


def test_paths_workers_and_devices_may_change(workplace: Path) -> None:
    Path("elsewhere").symlink_to("data")
    Path("artifacts/first").rename("moved")
    given = {
        "checkpoint.resume_from": "moved/checkpoint_last.pth", "data.train_path": ["elsewhere/train"],
        "data.num_workers": 2, "training.num_devices": 2, "logging.mlflow_uri": "sqlite:///other.db",
        "run_name": "moved",
    }  # fmt: skip
    config, start = find_start(load_config("angle.yaml", given), "regression")
    assert start.continues == Path("moved/checkpoint_last.pth")
    settings = flattened(config.model_dump(mode="json"))
    given["data.train_path"] = [str(workplace / "elsewhere/train")]
    assert settings.items() >= given.items()
    run = flattened(start.checkpoint["xecgnn"]["config"])
    assert {name for name in run if settings[name] != run[name]} <= {*given, "data.val_path"}


def test_fewer_epochs_than_done_are_an_error(workplace: Path) -> None:
    checkpoint = torch.load(FIRST, weights_only=True)
    checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"] = 5
    torch.save(sealed(checkpoint), FIRST)
    with pytest.raises(ValueError, match=r"^training\.epochs: the checkpoint has 5 epochs done, found 1$"):
        find_start(load_config("angle.yaml", {"checkpoint.resume_from": FIRST}), "regression")


def test_constants_of_a_branch_are_not_given() -> None:
    """A run whose npho_scale was an option goes on with a file that names only the branch."""
    config = load_config("angle.yaml", {"data.npho_branch": "relative_npho"})
    assert config.normalization.npho_scale == 0.58
    assert config.model_dump(exclude_unset=True)["normalization"] == {"constants": "auto"}
    again = TrainConfig(**config.model_dump(exclude_unset=True))
    assert again == config
    given = {"data.npho_branch": "relative_npho", "normalization.npho_scale": 7.0}
    assert load_config("angle.yaml", given).normalization.npho_scale == 7.0
    assert load_config("angle.yaml", given).normalization.sentinel_value == -5.0


def test_a_new_run_begins_with_weights(workplace: Path, caplog: pytest.LogCaptureFixture) -> None:
    same = ["angle.yaml", *NETWORK, *QUIET, *UNSEEN, "--epochs", "1", "--lr", "1e-12"]
    with caplog.at_level(logging.INFO, "xecgnn"):
        main([*same, "--init_from", FIRST, "--run_name", "again"])
    (line,) = [message for message in caplog.messages if message.startswith("From a checkpoint")]
    assert "xecgnn-train: loaded backbone" in line
    assert "heads.energy" in line.split("not used:")[1]
    old, new = (torch.load(path, weights_only=True) for path in (FIRST, "artifacts/again/checkpoint_last.pth"))
    assert new["epoch"] == 0
    assert new["xecgnn"]["config"]["training"]["lr"] == 1e-12
    shared = [name for name in new["state_dict"] if ".encoder." in name]
    assert all(torch.allclose(old["state_dict"][n], new["state_dict"][n], atol=1e-6) for n in shared)


@pytest.mark.parametrize("kind", ["regression", "inpainting"])
def test_a_run_of_another_kind_gives_its_weights(
    workplace: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    config = load_config("angle.yaml", {"checkpoint.resume_from": PRE, "training.lr": 0.5})
    with caplog.at_level(logging.INFO, "xecgnn"):
        same, start = find_start(config, kind)
    assert same == config
    assert start.continues is None
    assert start.checkpoint["xecgnn"]["kind"] == "pretraining"
    said = "is a checkpoint of xecgnn-pretrain: a new run begins with its weights (--init_from)."
    assert caplog.messages == [f"{PRE} {said}"]


def test_two_checkpoints_with_weights_are_an_error(workplace: Path) -> None:
    both = {"checkpoint.resume_from": PRE, "checkpoint.init_from": FIRST}
    with pytest.raises(ValueError, match=r"resume_from and init_from both give weights, found .*pre.*first"):
        find_start(load_config("angle.yaml", both), "regression")
    config = load_config("pretrain.yaml", both, PretrainConfig)  # its run goes on: where that began does not matter
    assert find_start(config, "pretraining")[1].continues == Path(PRE)


def test_the_same_line_of_slurm_goes_on(workplace: Path) -> None:
    """`bin/slurm` puts the checkpoint of the run after all other options, also after one to begin with."""
    Path("sbatch").write_text('#!/bin/sh\nfor last in "$@"; do :; done\necho "$last"\n')
    Path("sbatch").chmod(0o755)
    slurm = Path(__file__).parents[2] / "bin" / "slurm"
    env = {**os.environ, "PATH": f"{workplace}:{os.environ['PATH']}"}
    line = ["first", "angle.yaml", "gpu", "1:00", *STARTED[:-2], "--epochs", "2", "--resume_from", PRE]
    out = subprocess.run([str(slurm), *line], env=env, capture_output=True, text=True, check=True).stdout
    arguments = out.strip().removeprefix("--wrap=exec ").split()[1:]
    assert arguments[-2:] == ["--resume_from", FIRST]
    main(arguments)
    assert torch.load(FIRST, weights_only=True)["epoch"] == 1


def test_overriding_nothing_is_the_inverse_of_flattened() -> None:
    values = TrainConfig().model_dump(mode="json")
    assert overridden({}, flattened(values)) == values
