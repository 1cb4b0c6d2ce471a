"""Speed and memory of `xecgnn-infer` and `xecgnn-fill` next to the bare network on the same events.

Usage: python benchmarks/inference.py [--model FILE] [--inpainter FILE] [--events 2000] [--rounds 3]

Rates are events per second by the clock; bare network (events in memory, batch by batch) and command (from the call to
the output under its name, loading the network included) take turns in one process, and ratios are medians over the
rounds. By processor time (no gain from overlapping) other jobs on the machine hardly count. Peak memory is that of a
fresh process for one call. Without files, networks of `encoder_dim` 256 with random weights are used.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from record import Recorder, add_record_option
from xecgnn.config import InpaintConfig, TrainConfig
from xecgnn.data import Events, Readings
from xecgnn.data import write as write_events
from xecgnn.detector import load_detector
from xecgnn.inference import FillConfig, InferConfig, fill_file, load_predictor, predict_files
from xecgnn.names import FEATURES
from xecgnn.simulation import simulate_events
from xecgnn.training.checkpoint import KEY, PREFIX, describe_run, load_model, sealed
from xecgnn.training.kinds import build_model

SIMULATED = 500  # events that are simulated, and repeated
BATCH = 8  # of both, the default of the commands on a CPU
Command = Callable[[Path, Path, Path], None]  # model, input, output
COLUMNS = (*FEATURES, "emiAng", "energyTruth", "run", "event")
DEAD = range(0, 4760, 50)  # 2 %


def write(path: Path, events: Events, num_events: int) -> Path:
    write_events([events.select(*COLUMNS)] * (num_events // len(events)), path, compression="lz4")
    return path


def untrained(path: Path, kind: str, dim: int) -> Path:
    """The checkpoint of a network with random weights."""
    config = (InpaintConfig if kind == "inpainting" else TrainConfig)(model={"encoder_dim": dim})
    model = build_model(config)
    weights = {PREFIX + name: tensor for name, tensor in model.state_dict().items()}
    run = describe_run(kind, config.model_dump(mode="json"), model.detector)
    torch.save(sealed({"state_dict": weights, KEY: run}), path)
    return path


def infer(model: Path, source: Path, output: Path) -> None:
    predict_files(InferConfig(onnx=model, input=str(source), output=output, batch=BATCH))


def fill(model: Path, source: Path, output: Path) -> None:
    fill_file(FillConfig(checkpoint=model, input=source, output=output, batch=BATCH))


def bare_infer(path: Path) -> Callable[[np.ndarray, np.ndarray], Any]:
    return load_predictor(path).predict


def bare_fill(path: Path) -> Callable[[np.ndarray, np.ndarray], Any]:
    model = load_model(path, kind="inpainting")

    def call(npho: np.ndarray, time: np.ndarray) -> Any:
        with torch.inference_mode():
            return model.fill(Readings(torch.from_numpy(np.stack([npho, time], -1))))

    return call


def run_bare(call: Callable[[np.ndarray, np.ndarray], Any], events: Events, num_events: int) -> None:
    for _ in range(num_events // len(events)):
        for start in range(0, len(events), BATCH):
            call(*(events[name][start : start + BATCH] for name in FEATURES))


def run_command(command: Command, model: Path, source: Path) -> None:
    output = source.with_name("output.root")
    command(model, source, output)
    output.unlink()


def seconds(call: Callable[..., None], *arguments: Any) -> tuple[float, float]:
    """By the clock and of the processors."""
    begin = time.perf_counter(), time.process_time()
    call(*arguments)
    return time.perf_counter() - begin[0], time.process_time() - begin[1]


def peak_memory(command: Command, model: Path, source: Path) -> float:
    """MB of a fresh process."""
    context = multiprocessing.get_context("spawn")
    answer = context.SimpleQueue()
    process = context.Process(target=_peak, args=(answer, command, model, source))
    process.start()
    process.join()
    return answer.get()


def _peak(answer: Any, command: Command, model: Path, source: Path) -> None:
    run_command(command, model, source)
    answer.put(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="ONNX file or checkpoint for xecgnn-infer")
    parser.add_argument("--inpainter", type=Path, help="checkpoint for xecgnn-fill")
    parser.add_argument("--encoder-dim", type=int, default=256, help="of the untrained networks")
    parser.add_argument("--events", type=int, default=2000, help="events for the rates")
    parser.add_argument(
        "--memory", type=int, nargs=2, default=[2000, 20000], help="events for the peak memory; 0: none"
    )
    parser.add_argument("--rounds", type=int, default=3, help="repetitions of the rates")
    parser.add_argument("--only", choices=["infer", "fill"], help="one of the commands")
    add_record_option(parser)
    options = parser.parse_args()
    record = Recorder("inference", options.record)
    logging.disable(logging.WARNING)
    events = simulate_events(load_detector("meg2"), SIMULATED, dead=DEAD)
    print(f"{torch.get_num_threads()} threads, batch {BATCH}\n")
    print("| command | bare network | command | ratio | by processor time | peak memory |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = write(folder / "in.root", events, options.events)
        for command, bare, kind, given in (
            (infer, bare_infer, "regression", options.model),
            (fill, bare_fill, "inpainting", options.inpainter),
        ):
            if options.only not in (None, command.__name__):
                continue
            model = given or untrained(folder / f"{kind}.pth", kind, options.encoder_dim)
            call = bare(model)
            run_bare(call, events, SIMULATED)
            pairs = [
                (seconds(run_bare, call, events, options.events), seconds(run_command, command, model, source))
                for _ in range(options.rounds)
            ]
            cells = [f"{options.events / statistics.median(pair[i][0] for pair in pairs):.1f}" for i in (0, 1)]
            ratios = [statistics.median(b[clock] / c[clock] for b, c in pairs) for clock in (0, 1)]
            record(f"{command.__name__} over the bare network", ratios[0], "ratio", "higher")
            cells += [f"{ratio:.2f}" for ratio in ratios]
            peaks = []
            for count in filter(None, options.memory):
                large = write(folder / f"{count}.root", events, count)
                peaks.append(f"{count} events: {peak_memory(command, model, large):.0f} MB")
                large.unlink()
            print("|", " | ".join([command.__name__, *cells, ", ".join(peaks)]), "|", flush=True)


if __name__ == "__main__":
    main()
