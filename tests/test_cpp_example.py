"""The C++ example builds against ONNX Runtime and prints what Python's onnxruntime predicts for the same events."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from xecgnn.config import TrainConfig
from xecgnn.data import Events
from xecgnn.detector import Detector
from xecgnn.export import OnnxPredictor, RawModel
from xecgnn.export.metadata import describe
from xecgnn.export.onnx_file import write_onnx
from xecgnn.names import INVALID_VALUE
from xecgnn.training.kinds import build_model

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

pytestmark = pytest.mark.slow

SOURCE = Path(__file__).parents[1] / "examples" / "cpp"
HEADER = "onnxruntime_c_api.h"
SMALL = {"encoder_dim": 64, "hex_dim": 16, "depths": [1, 1], "hex_depth": 1, "num_fusion_layers": 1, "hidden_dim": 16}
TASKS = {"angle": {"loss_fn": "vmf"}, "energy": {"enabled": True}, "n_gamma": {"enabled": True}}
UNITS = {"angle": "rad", "angle_sigma": "rad", "energy": "GeV", "n_gamma": ""}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built example: header of ONNXRUNTIME_ROOT or the system, library of the installed wheel where it has one."""
    if shutil.which("cmake") is None:
        pytest.skip("needs cmake and a C++ compiler")
    folder = tmp_path_factory.mktemp("cpp example")
    libraries = folder / "onnxruntime" / "lib"
    libraries.mkdir(parents=True)
    for library in (Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*"):
        for name in ("libonnxruntime.so", "libonnxruntime.so.1"):  # as the linker and the loader call it
            (libraries / name).symlink_to(library)
    configure = ["cmake", "-S", str(SOURCE), "-B", str(folder / "build"), f"-DCMAKE_PREFIX_PATH={libraries.parent}"]
    configured = subprocess.run(configure, capture_output=True, text=True, check=False)
    if HEADER in configured.stderr and not os.environ.get("ONNXRUNTIME_ROOT"):
        pytest.skip(f"needs {HEADER} of ONNX Runtime; examples/cpp/README.md says where to get it")
    assert configured.returncode == 0, configured.stderr
    built = subprocess.run(["cmake", "--build", folder / "build"], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    assert "warning" not in built.stderr
    return folder / "build" / "infer"


@pytest.fixture(scope="module")
def model(mini: Detector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with an uncertainty and an output without unit, as untrained as it is."""
    torch.manual_seed(0)
    network = build_model(TrainConfig(detector=mini.name, model=SMALL, tasks=TASKS))
    raw = RawModel(network)
    path = tmp_path_factory.mktemp("cpp model") / "my model.onnx"
    write_onnx(raw, path, describe(raw, network, {"config": {"run_name": "my run"}}))
    return path


@pytest.fixture(scope="module")
def readings(mini_events: Events) -> tuple[NDArray, NDArray]:
    """npho and relative_time (8, S), with both kinds of invalid reading."""
    npho, time = mini_events.npho[:8].copy(), mini_events.relative_time[:8].copy()
    npho[0, :5], time[0, :5] = INVALID_VALUE, INVALID_VALUE
    npho[1, 5:9], time[1, 20:30] = np.nan, np.nan
    return npho, time


def run(program: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)


def predictions(output: str) -> list[dict[str, tuple[list[float], str]]]:
    """``event 0: angle = 1.5 0.1 rad, n_gamma = 1`` -> [{"angle": ([1.5, 0.1], "rad"), "n_gamma": ([1.0], "")}]"""
    events = []
    for number, line in enumerate(line for line in output.splitlines() if line.startswith("event ")):
        title, _, outputs = line.partition(": ")
        assert title == f"event {number}"
        parts = [re.fullmatch(r"(\w+) =((?: [-+.\de]+)+) ?([a-zA-Z]*)", part) for part in outputs.split(", ")]
        events.append({m[1]: ([float(value) for value in m[2].split()], m[3]) for m in parts if m})
    return events


def test_prints_the_predictions_of_onnxruntime(program, model, readings, tmp_path):
    np.concatenate(readings, axis=1).tofile(tmp_path / "my events.bin")
    out = run(program, model, tmp_path / "my events.bin")
    assert out.returncode == 0, out.stderr
    printed = predictions(out.stdout)
    assert len(printed) == len(readings[0])
    for name, expected in OnnxPredictor(model).predict(*readings).items():
        assert [event[name][1] for event in printed] == [UNITS[name]] * len(printed)
        values = np.array([event[name][0] for event in printed])
        assert expected.std(0).max() > 0
        np.testing.assert_allclose(values, expected, rtol=2e-6, atol=1e-4 * expected.std(0).max())


def test_prints_what_the_file_says_and_a_made_up_event(program, model, mini: Detector):
    out = run(program, model)
    assert out.returncode == 0, out.stderr
    for line in ("detector: mini", f"detector_hash: {mini.hash}", "run_name: my run"):
        assert line in out.stdout.splitlines()
    (event,) = predictions(out.stdout)
    assert {name: unit for name, (_, unit) in event.items()} == UNITS
    assert np.isfinite(np.concatenate([values for values, _ in event.values()])).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "usage"),
        (["absent.onnx"], "absent.onnx"),
        (["text"], "text"),
        (["MODEL", "absent.bin"], "absent.bin does not hold events of 1696 bytes"),  # 2 x 212 float32
        (["MODEL", "empty"], "empty does not hold"),
        (["MODEL", "text"], "text does not hold"),
    ],
)
def test_an_error_is_one_line(program, model, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    Path("text").write_text("hello")
    Path("empty").touch()
    out = run(program, *(model if argument == "MODEL" else argument for argument in arguments))
    assert (out.returncode, out.stdout, out.stderr.count("\n")) == (1, "", 1)
    assert message in out.stderr


def test_refuses_another_model(program, tmp_path):
    helper = onnx.helper
    x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["B", 212, 2]) for name in ("readings", "y"))
    graph = helper.make_graph([helper.make_node("Identity", ["readings"], ["y"])], "other", [x], [y])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), tmp_path / "other")
    out = run(program, tmp_path / "other")
    assert (out.returncode, out.stdout) == (1, "")
    assert out.stderr == "infer: not a model that takes npho and relative_time\n"
