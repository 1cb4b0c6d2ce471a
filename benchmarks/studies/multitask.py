"""Angle, energy, first interaction and time together, with the network and on the events of the demo."""

from __future__ import annotations

from collections.abc import Iterable

from studies import demo
from studies.study import Job, Results, Study
from studies.tables import NOT_MEASURED, cell
from studies.training import UNDRAWN, Training
from xecgnn.evaluation.predictions import NETWORK
from xecgnn.settings import flattened, read_yaml
from xecgnn.table import Table
from xecgnn.tasks.registry import named_tasks

TASKS = ("angle", "energy", "uvwFI", "timing")
QUANTITIES = {"resolution_deg": "opening angle"}


def training(seed: int) -> Training:
    """`configs/multitask.yaml` with the network and the training of the demo."""
    settings = {name: value for name, value in flattened(read_yaml("demo")).items() if not name.startswith("data.t")}
    return Training("multitask", seed, "multitask", settings | UNDRAWN, demo.FILES)


def jobs(seed: int) -> Iterable[Job]:
    return [training(seed).job()]


def table(results: Results) -> str:
    """A row for each resolution: the network, and whatever else the file has, baselines and reference lines."""
    found = [metrics["test"] for metrics in results.get("multitask", {}).values()]
    shown = Table(["68 % of the errors", NETWORK, "others"])
    for name, task in named_tasks(TASKS).items() if found else ():
        for key, unit in task.resolutions.items():
            values = {title: cell(test[name][title][key] for test in found) for title in found[0][name]}
            others = ", ".join(f"{title} {value}" for title, value in values.items() if title != NETWORK)
            shown.add(f"{QUANTITIES.get(key, key.removesuffix('_resolution_68'))} [{unit}]", values[NETWORK], others)
    return shown.markdown() if found else NOT_MEASURED


STUDY = Study("multitask", demo.REPORTED, jobs, {"multitask": table})
