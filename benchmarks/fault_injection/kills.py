"""Commands that write, killed at a random moment: what the same line again makes of what is left."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import uproot

from fault_injection.outcome import Outcome, classify
from xecgnn.cli import check, export, fill, infer, pretrain, simulate, train, validate

SMALL = [
    "--detector", "mini", "--batch", "32", "--data.num_workers", "0", "--training.device", "cpu", "--epochs", "2",
    "--model.encoder_dim", "32", "--model.hex_dim", "8", "--model.hex_depth", "1", "--model.depths", "1", "1",
    "--model.num_heads", "2", "--train_path", "../train.root", "--val_path", "../val.root",
]  # fmt: skip
SEEN = ["--evaluation.worst_events", "1", "--evaluation.saliency_events", "4"]
TRAIN = ["angle.yaml", *SMALL, *SEEN, "--run_name", "run"]
INPAINT = ["inpaint.yaml", *SMALL, "--run_name", "run"]
BEST, LAST = "artifacts/run/checkpoint_best.pth", Path("artifacts/run/checkpoint_last.pth")
INPUTS = {"train": 192, "val": 64}


class Job(NamedTuple):
    """A command line, the files it is about, and how often it is killed for each time of `--number`."""

    main: Callable[[list[str]], None]
    line: list[str]
    outputs: tuple[str, ...]
    share: float = 1.0


JOBS = {
    "simulate": Job(
        simulate.main, ["--detector", "mini", "--events", "200", "--output", "new.root"], ("new.root",)
    ),
    "train": Job(train.main, TRAIN, (BEST, str(LAST), "artifacts/run/predictions_run.csv"), 2.5),
    "check": Job(
        check.main, ["../val.root", "--detector", "mini", "--json_file", "found.json", "--overwrite"], ("found.json",)
    ),
    "infer": Job(
        infer.main,
        ["--onnx", f"../{BEST}", "--input", "../train.root", "--output", "out.root", "--csv", "out.csv"],
        ("out.root", "out.csv"),
    ),
    "fill": Job(fill.main, ["../inpainter.pth", "--input", "../val.root", "--output", "out.root"], ("out.root",)),
    "export": Job(
        export.main, [f"../{BEST}", "--output", "model.onnx", "--events", "8", "--overwrite"], ("model.onnx",)
    ),
    "validate": Job(
        validate.main,
        ["--input", "../artifacts/run/validation_results_run.root", "--output_dir", "seen", "--overwrite"],
        ("seen/validation.json",),
    ),
}  # fmt: skip


def outcomes(folder: Path, number: int, seed: int) -> Iterator[Outcome]:
    """Each command is run whole once, and then killed `number` times, a training more often; once again afterwards."""
    before = Path.cwd()
    _empty(folder / "try")
    for name, events in INPUTS.items():
        line = ["--detector", "mini", "--events", str(events), "--output", str(folder / f"{name}.root")]
        _run(partial(simulate.main, line))  # in a fork too: threads would not survive the next ones
    try:
        for part, (name, job) in enumerate(JOBS.items()):
            yield from _killed(folder, name, job, round(number * job.share), np.random.default_rng([seed, part]))
    finally:
        os.chdir(before)


def _killed(folder: Path, name: str, job: Job, number: int, rng: np.random.Generator) -> Iterator[Outcome]:
    where = folder / "try"
    _empty(where)
    if name == "fill":
        _run(partial(pretrain.inpaint, INPAINT))
        shutil.copy(BEST, folder / "inpainter.pth")
        _empty(where)
    start = time.monotonic()
    _run(partial(job.main, job.line))
    whole = time.monotonic() - start
    intact = _content(job.outputs)
    if name == "train":
        shutil.copytree("artifacts", folder / "artifacts")
    for case in range(number):
        _empty(where)
        after = float(rng.uniform(0, whole))
        _run(partial(job.main, job.line), after)
        kind, text = classify(partial(_again, job, intact), intact, limit=20 * whole + 60)
        left = [str(path) for path in Path().rglob("*.part*")]
        if kind == "right" and left:
            kind, text = "lost", f"left: {', '.join(left)}"
        yield Outcome(f"kill: {name}", kind, f"number {case}, after {after:.2f} of {whole:.2f} s", text)


def _empty(folder: Path) -> None:
    os.chdir(folder.parent)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    os.chdir(folder)


def _run(command: Callable[[], object], limit: float | None = None) -> None:
    """The command in a fork, killed with all that it started after `limit` seconds."""
    child = os.fork()
    if not child:
        os.setpgid(0, 0)
        file = os.open("../said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1)
        os.dup2(file, 2)
        try:
            command()
        except SystemExit as done:  # as a process ends
            os._exit(bool(done.code))
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if limit is not None:
        time.sleep(limit)
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
    if os.waitpid(child, 0)[1] and limit is None:
        raise RuntimeError(f"a command that nobody killed failed:\n{Path('../said').read_text()}")


def _again(job: Job, intact: list[str]) -> list[str]:
    """The same line once more, unless it came to its end before; a run goes on from its checkpoint, as it says."""
    with suppress(OSError, ValueError):
        if job.main is not train.main and _content(job.outputs) == intact:
            return intact
    checkpoints = [path for path in (LAST, Path(BEST)) if path.exists()] if job.main is train.main else []
    try:
        job.main([*job.line, *(["--resume_from", str(checkpoints[0])] if checkpoints else [])])
    except SystemExit as done:
        if done.code:
            raise
    return _content(job.outputs)


def _content(outputs: tuple[str, ...]) -> list[str]:
    """What files hold, without what differs from one writing to the next (dates, order of names)."""
    return [_digest(Path(path)) for path in outputs]


def _digest(path: Path) -> str:
    if path.suffix == ".root":
        with uproot.open(path) as file:
            arrays = file["tree"].arrays(library="np")
        parts = [name.encode() + np.ascontiguousarray(values).tobytes() for name, values in sorted(arrays.items())]
    elif path.suffix == ".pth":
        state = torch.load(path, weights_only=True)["state_dict"]
        parts = [name.encode() + values.numpy().tobytes() for name, values in sorted(state.items())]
    elif path.suffix == ".onnx":
        import onnx

        parts = [tensor.SerializeToString() for tensor in onnx.load(path).graph.initializer]
    else:  # a JSON says when it was made
        parts = [line for line in path.read_bytes().splitlines() if not line.lstrip().startswith(b'"date"')]
    return hashlib.sha256(b"".join(parts)).hexdigest()
