"""Speed of an exported network: `python benchmarks/export.py [--threads 2] [--dims 1024 256] [--profile]`.

Prints milliseconds per event of onnxruntime, PyTorch eager and torch.compile with the same (untrained) weights at batch
1, 8 and 32, next to the time it takes to read the weights once from memory; with --profile the time by operator. MEG II
detector, CPU provider, simulated events, turn by turn in one process.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from model import timed
from record import Recorder, add_record_option
from xecgnn import build_model
from xecgnn.data import Readings
from xecgnn.export.metadata import describe
from xecgnn.export.onnx_file import write_onnx
from xecgnn.export.raw_model import RawModel
from xecgnn.export.runtime import open_session
from xecgnn.names import FEATURES
from xecgnn.simulation import simulate_events

BATCHES = (1, 8, 32)
BUFFER = 2**26  # numbers: 256 MB, far more than the caches hold


def ms(seconds: float) -> str:
    return f"{1e3 * seconds:8.2f}"


def memory_rate(seconds: float) -> float:
    """Bytes/s at which all threads together read memory."""
    numbers = torch.ones(BUFFER)
    (time,) = timed(numbers.sum, seconds=seconds)
    return numbers.nbytes / time


def benchmark(
    dim: int, batches: list[int], seconds: float, rate: float, profile: bool, record: Recorder
) -> None:
    torch.manual_seed(0)
    model = build_model("angle", {"model.encoder_dim": dim}).eval()
    raw = RawModel(model)
    compiled = torch.compile(model.raw_outputs, dynamic=False)
    weights = sum(p.nbytes for p in model.parameters())
    events = simulate_events(model.detector, max(batches))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        write_onnx(raw, path, describe(raw, model, {"config": {}}))
        session = open_session(path)
        print(f"encoder_dim {dim}: weights {weights / 1e6:.0f} MB, read once from memory in {ms(weights / rate)} ms")
        print("  ms/event   onnxruntime    eager  compile   eager/onnxruntime  compile/onnxruntime")
        for batch in batches:
            inputs = {name: np.ascontiguousarray(events[name][:batch]) for name in FEATURES}
            readings = Readings.of(events[:batch])
            with torch.inference_mode():
                ort, eager, compile_ = timed(
                    lambda inputs=inputs: session.run(None, inputs),
                    lambda readings=readings: model(readings),
                    lambda readings=readings: compiled(readings),
                    seconds=seconds,
                )
            print(
                f"  batch {batch:3d}      {ms(ort / batch)} {ms(eager / batch)} {ms(compile_ / batch)}"
                f"   {eager / ort:17.2f}  {compile_ / ort:19.2f}"
            )
            record(f"eager over onnxruntime, encoder_dim {dim}, batch {batch}", eager / ort, "ratio", "higher")
            if profile:
                print_profile(path, inputs, batch)


def print_profile(path: Path, inputs: dict[str, np.ndarray], batch: int, runs: int = 50) -> None:
    """Median time of each operator kind; the time of measuring itself makes the sum larger than a run."""
    session = open_session(path, profile=True)
    for _ in range(runs):
        session.run(None, inputs)
    record = Path(session.end_profiling())
    nodes: dict[tuple[str, str], list[float]] = defaultdict(list)
    for entry in json.loads(record.read_text()):
        if entry.get("cat") == "Node" and entry["name"].endswith("_kernel_time"):
            nodes[entry["args"]["op_name"], entry["name"]].append(entry["dur"])
    record.unlink()
    total: dict[str, list[float]] = defaultdict(list)
    for (operator, _), times in nodes.items():
        total[operator].append(float(np.median(times)) / batch)
    everything = sum(sum(times) for times in total.values())
    print(f"    {len(nodes)} operators, {everything:.0f} us/event")
    for operator, times in sorted(total.items(), key=lambda item: -sum(item[1]))[:15]:
        print(f"    {operator:24s} {len(times):4d} x {sum(times):9.1f} us/event {100 * sum(times) / everything:5.1f} %")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="time for each figure, s")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--dims", type=int, nargs="+", default=[1024, 256], help="encoder_dim")
    parser.add_argument("--batches", type=int, nargs="+", default=list(BATCHES), help="events per call")
    parser.add_argument("--profile", action="store_true", help="also print the time by operator")
    add_record_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    versions = f"torch {torch.__version__}, onnxruntime {onnxruntime.__version__}"
    rate = memory_rate(options.seconds)
    print(f"{platform.machine()}, {options.threads} threads, {versions}, fp32; memory {rate / 1e9:.1f} GB/s")
    record = Recorder("export", options.record)
    for dim in options.dims:
        benchmark(dim, options.batches, options.seconds, rate, options.profile, record)


if __name__ == "__main__":
    main()
