"""All quantities together, with the network and the events of the demo, beside baselines and what the light allows."""

from __future__ import annotations

from collections.abc import Iterable

from studies import demo
from studies.samples import TEST_LIMITS
from studies.study import Job, Results, Study
from studies.tables import NOT_MEASURED, cell
from studies.training import UNDRAWN, Training
from xecgnn.evaluation.limits import USES_TRUTH, uses_truth
from xecgnn.evaluation.predictions import NETWORK
from xecgnn.settings import flattened, read_yaml
from xecgnn.table import Table
from xecgnn.tasks.registry import named_tasks

TASKS = ("angle", "energy", "uvwFI", "timing", "edep", "centroid")
FILES = demo.FILES | {"test": [TEST_LIMITS]}
QUANTITIES = {"resolution_deg": "opening angle", "edep_resolution_68": "deposited energy"}
QUANTITIES |= {f"{axis}_resolution_68": f"{axis} of the centroid" for axis in "xyz"}


def training(seed: int) -> Training:
    """`configs/multitask.yaml` with the network and the training of the demo."""
    settings = {name: value for name, value in flattened(read_yaml("demo")).items() if not name.startswith("data.t")}
    enabled = {f"tasks.{name}.enabled": True for name in TASKS}
    return Training("multitask", seed, "multitask", settings | enabled | UNDRAWN, FILES)


def jobs(seed: int) -> Iterable[Job]:
    return [training(seed).job()]


def table(results: Results) -> str:
    """A row for each resolution: the network, baselines, and what knows the truth."""
    found = [metrics["test"] for metrics in results.get("multitask", {}).values()]
    shown = Table(["68 % of the errors", NETWORK, "baselines", USES_TRUTH])
    for name, task in named_tasks(TASKS).items() if found else ():
        for key, unit in task.resolutions.items():
            cells: dict[bool, list[str]] = {False: [], True: []}
            for title in found[0][name].keys() - {NETWORK}:
                short = title.removesuffix(f" ({USES_TRUTH})")
                cells[uses_truth(title)].append(f"{short} {cell(test[name][title][key] for test in found)}")
            network = cell(test[name][NETWORK][key] for test in found)
            row = QUANTITIES.get(key, key.removesuffix("_resolution_68"))
            shown.add(f"{row} [{unit}]", network, *(", ".join(sorted(part)) or "–" for part in cells.values()))
    return shown.markdown() if found else NOT_MEASURED


STUDY = Study("multitask", demo.REPORTED, jobs, {"multitask": table})
