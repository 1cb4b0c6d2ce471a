"""The files of the results: one JSON for each study, setting and seed, with what it was measured with."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

import torch

from record import commit, processor
from studies.study import Folders, Job, Metrics, digest
from xecgnn.output import write_text

__all__ = ["make_result", "read_results", "result_path", "why_wanted"]

log = logging.getLogger("evidence")


def result_path(folder: Path, study: str, setting: str, seed: int) -> Path:
    """`<study>/<setting>_<seed>.json`."""
    return folder / study / f"{setting}_{seed}.json"


def why_wanted(folder: Path, study: str, job: Job) -> str:
    """Why a result has to be made: "missing", "stale" (other settings than now); empty where it is right."""
    path = result_path(folder, study, job.setting, job.seed)
    if not path.is_file():
        return "missing"
    return "" if _read(path)["settings"] == digest(job.settings) else "stale"


def make_result(folders: Folders, study: str, job: Job) -> None:
    """Measure, and write the file."""
    start = time.perf_counter()
    facts = {"study": study, "setting": job.setting, "seed": job.seed, "settings": digest(job.settings)}
    facts |= {"commit": commit(), "processor": processor(), "threads": torch.get_num_threads()}
    metrics = job.make(folders)
    seconds = metrics.pop("seconds", time.perf_counter() - start)
    text = json.dumps(_rounded(facts | {"seconds": round(seconds)} | {"metrics": metrics}), indent=1)
    write_text(result_path(folders.results, study, job.setting, job.seed), text + "\n")


def read_results(folder: Path, study: str) -> dict[str, dict[int, Metrics]]:
    """What is there of a study, stale or not, as `Results`, in the order of the seeds."""
    found = sorted(map(_read, (folder / study).glob("*.json")), key=lambda result: result["seed"])
    results: dict[str, dict[int, Metrics]] = {}
    for result in found:
        results.setdefault(result["setting"], {})[result["seed"]] = result["metrics"]
    return results


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path}: not a result ({error}); remove it, and it is made again") from None
    return found


def _rounded(value: Any) -> Any:
    """Six digits are enough, and make small files."""
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(inner) for inner in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value
