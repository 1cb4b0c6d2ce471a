"""Where a figure was measured, and timings kept as lines of `results/<benchmark>.jsonl`, which `track.py` reads."""

from __future__ import annotations

import argparse
import json
import platform
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch

from xecgnn import provenance

__all__ = ["RESULTS", "ROOT", "Recorder", "add_record_option", "commit", "processor"]

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
CODE = ("xecgnn", "configs", "geometry", "benchmarks", ":(exclude)benchmarks/results")  # what decides a figure

Better = Literal["higher", "lower"]


@cache
def commit() -> str:
    """The commit of the code at the first call, with "+changes" where code was edited since; "unknown" without git."""
    return provenance.commit(*CODE) or "unknown"


@cache
def processor() -> str:
    """Name of the processor, as the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def add_record_option(parser: argparse.ArgumentParser) -> None:
    """`--record`: not the default, for figures of a busy machine are worth nothing."""
    parser.add_argument("--record", action="store_true", help="keep the figures, for benchmarks/track.py")


class Recorder:
    """Keeps the figures of one run of a benchmark: a line each, appended to results/<benchmark>.jsonl.

    Args:
        benchmark: name of the script.
        enabled: whether `--record` was given; else nothing is kept.
        folder: where the file is.
    """

    def __init__(self, benchmark: str, enabled: bool, folder: Path = RESULTS) -> None:
        self.benchmark, self.enabled = benchmark, enabled
        self.path = folder / f"{benchmark}.jsonl"
        self.date = datetime.now(UTC).isoformat(timespec="seconds")

    def __call__(self, name: str, value: float, unit: str, better: Better) -> None:
        """Keep a figure.

        Args:
            name: what was measured, the same in every run.
            value: the figure.
            unit: "ratio" of two that were measured in turns, which other load hardly moves; "events/s", "ms" and so on.
            better: which direction is.
        """
        if not self.enabled:
            return
        line: dict[str, Any] = {
            "benchmark": self.benchmark, "name": name, "value": float(f"{value:.4g}"), "unit": unit, "better": better,
            "commit": commit(), "processor": processor(), "threads": torch.get_num_threads(),
            "torch": str(torch.__version__), "date": self.date,
        }  # fmt: skip
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")
