"""What ends a command, and what it says then; files that another process writes or a killed one left."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from xecgnn.cli import simulate, train
from xecgnn.cli.check import CheckConfig
from xecgnn.cli.command import command
from xecgnn.cli.compare import CompareConfig
from xecgnn.cli.display import DisplayConfig
from xecgnn.cli.report import ReportConfig
from xecgnn.cli.validate import ValidateConfig
from xecgnn.config import InpaintConfig, PretrainConfig, TrainConfig
from xecgnn.data import Readings
from xecgnn.data.parts import PartFiles
from xecgnn.detector import Detector
from xecgnn.export.config import ExportConfig, VerifyConfig
from xecgnn.inference.config import FillConfig, InferConfig
from xecgnn.lock import Lock
from xecgnn.nn.lattice_conv import LatticeConv
from xecgnn.output import check_new, completed
from xecgnn.plugins import load_plugins
from xecgnn.progress import Progress
from xecgnn.settings import ConfigError, Settings, expanded
from xecgnn.simulation import SimulationConfig, write_simulation

ROOT = Path(__file__).parents[2]


@pytest.fixture
def ended(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Exit code and stderr of a command whose work is a function."""

    def end(work: Callable[[], Any], *argv: str) -> tuple[int, str]:
        class Nothing(Settings):
            """No settings."""

        with pytest.raises(SystemExit) as stop:
            command(Nothing, prog="try", description="")(lambda _: work())(argv)
        return stop.value.code, capsys.readouterr().err

    return end


def test_a_fault_of_ours_is_one_line_that_says_so(ended: Callable[..., tuple[int, str]]) -> None:
    def fault() -> None:
        raise RuntimeError("first\nlast")

    code, text = ended(fault)
    assert code == 1
    assert text.startswith("error: RuntimeError: last (")
    assert "this is a fault of xecgnn" in text
    assert "--debug" in text
    assert text.count("\n") == 1
    with pytest.raises(RuntimeError):
        ended(fault, "--debug")


def test_a_value_error_of_a_library_is_no_mistake_of_the_user(ended: Callable[..., tuple[int, str]]) -> None:
    assert ended(lambda: logging.getLogger("x").setLevel("NO"))[0] == 1


@pytest.mark.parametrize(
    ("work", "line"),
    [
        (lambda: Path("no/such").read_text(), "error: no/such: No such file or directory\n"),
        (lambda: expanded("$NOT_SET/a"), "error: $NOT_SET/a: there is no variable NOT_SET in the environment\n"),
        (lambda: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA out of memory")), "error: out of memory; "),
    ],
)
def test_mistakes_are_one_line(ended: Callable[..., tuple[int, str]], work: Callable[[], Any], line: str) -> None:
    code, text = ended(work)
    assert code == 2
    assert text.startswith(line)
    assert text.count("\n") == 1


def test_a_mistake_in_a_plugin_names_its_line(tmp_path: Path, ended: Callable[..., tuple[int, str]]) -> None:
    path = tmp_path / "mine.py"
    path.write_text("def work():\n    return {}['x']\n")
    load_plugins(str(path))
    code, text = ended(sys.modules[str(path)].work)
    assert (code, text) == (2, f"error: {path}, line 2: KeyError: x\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_a_command_with_its_code(number: signal.Signals, ended: Callable[..., tuple[int, str]]) -> None:
    def work() -> None:
        os.kill(os.getpid(), number)
        time.sleep(10)

    before = signal.signal(number, signal.SIG_DFL)  # who runs the tests may have it ignored, as nohup does
    try:
        code, text = ended(work)
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        signal.signal(number, before)
    assert code == 128 + number
    assert "Traceback" not in text


COMMANDS = [
    TrainConfig, PretrainConfig, InpaintConfig, SimulationConfig, InferConfig, FillConfig, ExportConfig, VerifyConfig,
    CheckConfig, DisplayConfig, CompareConfig, ReportConfig, ValidateConfig,
]  # fmt: skip
WORDS = ("path", "folder", "file", "checkpoint", "CSV", "store", "PDF")


def named_paths(cls: type[Any], prefix: str = "") -> list[str]:
    """Fields of text that their description calls a path."""
    found = []
    for name, field in cls.model_fields.items():
        if hasattr(field.annotation, "model_fields"):
            found += named_paths(field.annotation, f"{prefix}{name}.")
            continue
        annotation = str(field.rebuild_annotation())
        is_text = "str" in annotation and "Path" not in annotation and "Literal" not in annotation
        if is_text and any(word in (field.description or "") for word in WORDS) and "expanded" not in annotation:
            found.append(prefix + name)
    return found


def test_every_setting_that_is_a_path_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    # What reads like a path and is none, or a path as such: branches, trees, prefixes, names of runs, plugins.
    known = {
        "tree", "data.tree", "data.on_bad_file", "data.angle_unit", "angle_unit", "plugins", "run_name", "reference",
        "npho_branch", "time_branch", "on_bad_file", "data.npho_branch", "data.time_branch", "copy_branches", "energy",
        "checkpoint.monitor", "metric", "tasks",
    }  # fmt: skip
    assert {name for cls in COMMANDS for name in named_paths(cls)} <= known
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("DISK", "/disk")
    given = {
        "detector": "~/d.yaml", "survey": "$DISK/s.csv", "data": {"train_path": "~/*.root", "test_path": ["${DISK}/b"]},
        "checkpoint": {"resume_from": "~/c.pth", "init_from": "~/d.pth", "artifacts_dir": "$DISK/runs"},
        "logging": {"mlflow_uri": "sqlite:///~/m.db", "tensorboard_dir": "~/t"},
    }  # fmt: skip
    config = TrainConfig.model_validate(given)
    assert (config.detector, config.survey) == ("/home/me/d.yaml", "/disk/s.csv")
    assert (config.data.train_path, config.data.test_path) == (["/home/me/*.root"], ["/disk/b"])
    assert config.checkpoint.resume_from == "/home/me/c.pth"
    assert (config.checkpoint.init_from, config.checkpoint.artifacts_dir) == ("/home/me/d.pth", "/disk/runs")
    assert (config.logging.mlflow_uri, config.logging.tensorboard_dir) == ("sqlite:////home/me/m.db", "/home/me/t")
    assert SimulationConfig(output=Path("~/a.root")).output == Path("/home/me/a.root")
    assert ReportConfig(runs=["~/run"]).runs == [Path("/home/me/run")]


@pytest.mark.parametrize("name", ["a" * 201, "a\nb", "..", "é" * 101, ""])
def test_a_name_that_no_file_can_have_is_refused_before_anything(name: str) -> None:
    with pytest.raises(ValueError, match="no name for a folder of a run"):
        TrainConfig(run_name=name)
    assert TrainConfig(run_name=f"scan/{'a' * 200}").run_name == f"scan/{'a' * 200}"


def test_two_processes_never_write_one_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.txt"
    with completed(path) as part:
        part.write_text("first")
        with pytest.raises(BlockingIOError, match=r"a\.txt is being written by another process"), completed(path):
            pass
    assert path.read_text() == "first"
    left = tmp_path / "b.txt.part"  # of a process that was killed
    left.write_text("half of something")
    with caplog.at_level(logging.INFO, "xecgnn"):
        check_new(tmp_path / "c.txt")
    assert caplog.messages == [f"{left}: left by a process that was killed; it can be removed"]
    with completed(tmp_path / "b.txt") as part:
        part.write_text("x")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.txt", "b.txt"]
    assert (tmp_path / "b.txt").read_text() == "x"


def test_a_lock_says_who_holds_it_and_ends_with_its_process(tmp_path: Path) -> None:
    holder = (
        f"import sys, time; sys.path.insert(0, {str(ROOT)!r}); from pathlib import Path; from xecgnn.lock import Lock\n"
        f"with Lock(Path({str(tmp_path / 'lock')!r}), 'it'): print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", holder], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with pytest.raises(BlockingIOError, match=f"it is in use by process {process.pid} on .* since "):
        Lock(tmp_path / "lock", "it").__enter__()
    process.kill()
    process.wait()
    with Lock(tmp_path / "lock", "it"):
        assert (tmp_path / "lock").exists()
    assert not (tmp_path / "lock").exists()


def test_a_file_system_without_locks_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", missing)
    with Lock(tmp_path / "lock", "it"), completed(tmp_path / "a") as part:
        part.write_text("x")
    assert (
        "no locks on this file system (Function not implemented); see to it that nothing else writes it" in caplog.text
    )
    with PartFiles(tmp_path / "out.root", {}):
        pass


def test_a_complete_output_of_the_same_line_is_no_mistake(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = SimulationConfig(detector="mini", events=4, output=tmp_path / "a.root")
    write_simulation(config)
    before = config.output.stat().st_mtime_ns
    with caplog.at_level(logging.INFO, "xecgnn"):
        write_simulation(config)
    assert "already there, complete" in caplog.text
    assert config.output.stat().st_mtime_ns == before
    with pytest.raises(FileExistsError):
        write_simulation(config.model_copy(update={"seed": 1}))


def test_progress_in_a_log_has_no_control_characters(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter(range(0, 10_000, 30))
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))
    with caplog.at_level(logging.INFO, "xecgnn"), Progress("epoch 1/2", 300, "step") as shown:
        for _ in range(5):
            shown.advance(20, lambda: {"loss": 0.25})
    assert caplog.messages == [
        "epoch 1/2: 40 of 300 steps, 0.667 steps/s, loss 0.25, 6 min left",
        "epoch 1/2: 80 of 300 steps, 0.667 steps/s, loss 0.25, 6 min left",
    ]
    assert capsys.readouterr().err == ""


def test_message_passing_leaves_no_files(mini: Detector) -> None:
    LatticeConv(2, 2, 3)
    generated = sys.modules["xecgnn.nn.lattice_conv_LatticeConv_propagate"].__file__
    assert generated is not None
    assert not Path(generated).exists()


def test_a_saved_batch_is_loaded_again(tmp_path: Path) -> None:
    batch = Readings(torch.rand(3, 4, 2), {"energy": torch.rand(3, 1)}, event=torch.arange(3))
    torch.save(batch, tmp_path / "batch.pt")
    again = torch.load(tmp_path / "batch.pt")
    assert torch.equal(again.x, batch.x)
    assert torch.equal(again.y["energy"], batch.y["energy"])


def test_slurm_reads_the_environment_and_makes_the_folder_of_the_log(tmp_path: Path) -> None:
    (tmp_path / "sbatch").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "sbatch").chmod(0o755)
    given = {"EPOCHS": "100", "LR": "1e-4", "TASKS": "angle energy", "LOSS_BETA": "1.0"}
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", **given}
    (tmp_path / "artifacts/scan/lr1").mkdir(parents=True)
    (tmp_path / "artifacts/scan/lr1/checkpoint_best.pth").touch()
    line = [str(ROOT / "bin/slurm"), "scan/lr1", "angle.yaml", "gpu", "1:00", "--lr", "2e-4"]
    out = subprocess.run(line, env=env, capture_output=True, text=True, cwd=tmp_path, check=True)
    *_, wrapped = out.stdout.splitlines()
    for option in ("--epochs 100", "--tasks angle energy", "--run_name scan/lr1", "checkpoint_best.pth"):
        assert option in wrapped
    assert wrapped.index("--lr 1e-4") < wrapped.index("--lr 2e-4")  # the last one wins
    assert "EPOCHS from the environment: --epochs 100" in out.stderr
    assert "LOSS_BETA from the environment is not read" in out.stderr
    assert (tmp_path / "slurm/scan").is_dir()


PYTHON = """#!/bin/sh
case "$*" in
    *"-m venv"*) for folder in "$@"; do :; done; mkdir -p "$folder/bin"; cp "$0" "$folder/bin/python" ;;
    *"-m pip"*) echo "$@" >> pip.log ;;
    *torch.version.cuda*) exit $NO_CUDA ;;
    *__version__*) echo torch==2.9.0 ;;
    --version) echo Python 3.12.0 ;;
esac
"""


@pytest.mark.parametrize(
    ("no_cuda", "machine", "runtime"), [(0, "x86_64", "gpu"), (1, "x86_64", "cpu"), (0, "aarch64", "cpu")]
)
def test_setup_installs_the_runtime_of_the_machine(tmp_path: Path, no_cuda: int, machine: str, runtime: str) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("bin/setup", "setup.cfg", "constraints.txt"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    for name, text in (("python3", PYTHON), ("uname", f"#!/bin/sh\necho {machine}\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "NO_CUDA": str(no_cuda)}
    env.pop("PYTHON", None)
    line = ["bash", str(tmp_path / "bin/setup"), "--torch", "existing"]
    for _ in range(2):
        subprocess.run(line, env=env, check=True, capture_output=True)
    (installed,) = (tmp_path / "pip.log").read_text().splitlines()  # the second run finds its stamp
    assert f"--editable .[{runtime},dev]" in installed
    assert ("onnxruntime-gpu==" in (tmp_path / ".venv/constraints.txt").read_text()) == (runtime == "gpu")
    (tmp_path / "uname").write_text("#!/bin/sh\necho riscv\n")  # another machine at the same folder
    subprocess.run(line, env=env, check=True, capture_output=True)
    assert len((tmp_path / "pip.log").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("main", "line", "option"),
    [
        (simulate.main, ["--energy", '["0.015:0.06","0.05283"]', "--output", "x.root"], "--energy"),
        (train.main, [str(ROOT / "configs" / "angle.yaml"), "--data.train_path", '["a.root"'], "--data.train_path"),
    ],
)
def test_a_list_in_json_is_one_line(
    main: Callable[[list[str]], None], line: list[str], option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(line)
    (said,) = capsys.readouterr().err.splitlines()
    assert f"{option}: a list that cannot be read" in said


def test_settings_that_name_no_variable_are_one_line() -> None:
    with pytest.raises((ConfigError, ValueError), match="no variable NOT_SET"):
        SimulationConfig(output=Path("$NOT_SET/a.root"))
