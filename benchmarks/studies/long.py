"""A wider spot on many events: what more data brings, and how the resolution depends on the photon."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from studies import demo
from studies.samples import FINAL, JUDGE, LONG
from studies.study import Folders, Job, Metrics, Results, Study
from studies.tables import NOT_MEASURED, cell
from studies.training import UNDRAWN, Training, measured
from xecgnn.detector import Detector
from xecgnn.directions import angle_between, angles_to_direction
from xecgnn.estimate import quantile
from xecgnn.evaluation.measures import build_methods
from xecgnn.evaluation.runs import EvaluatedRun
from xecgnn.table import Table

FILES = {"train": LONG, "val": [JUDGE], "test": [FINAL]}
SETTINGS = {  # nearly all is read around the spot: a wide one, and tokens of the faces as small as they come
    "data.batch_size": 256, "model.spot.dim": 512, "model.encoder_dim": 64, "model.hex_dim": 4, "model.depths": [0, 1],
    "model.num_fusion_layers": 1, "model.fusion_dropout": 0.0, "model.head_dropout": 0.0,
    "training.max_lr": 2e-3, "training.epochs": 6,
}  # fmt: skip
BINS = {  # edges
    "energy [MeV]": (15, 25, 35, 45, 60),
    "depth w [cm]": (0, 2, 4, 8, 16, 38.5),
    "angle to the surface's normal [deg]": (0, 10, 20, 30, 45),
}


def training(seed: int) -> Training:
    return Training("long", seed, "demo", SETTINGS | UNDRAWN, FILES)


def jobs(seed: int) -> Iterator[Job]:
    wanted = training(seed)
    decides = wanted.resolved() | {"bins": BINS}
    yield Job(wanted.name, seed, decides, partial(profiled, wanted))


def profiled(wanted: Training, folders: Folders) -> Metrics:
    """What the end of the training has measured, and its resolutions in bins."""
    folder = wanted.run(folders)
    return measured(folder) | {"profiles": profiles(EvaluatedRun(folder))}


def profiles(run: EvaluatedRun) -> dict[str, list[Metrics]]:
    """{quantity: [{"events": number, method: 68 % of the opening angles (deg)} for each bin]}."""
    task, sample = run.drawn[demo.TASK], run.predictions
    methods = build_methods(task, sample.predictions[demo.TASK], sample.truth[task.branch])
    places = (sample.truth["energyTruth"] * 1e3, sample.truth["uvwTruth"][:, 2], slant(run.detector, sample.truth))
    found: dict[str, list[Metrics]] = {}
    for (name, edges), values in zip(BINS.items(), places, strict=True):
        found[name] = []
        for low, high in pairwise(edges):
            chosen = (values >= low) & (values < high)
            angles = {method.title: quantile(method.errors[chosen, 0]).value for method in methods}
            found[name].append({"events": int(chosen.sum()), **angles})
    return found


def slant(detector: Detector, truth: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
    """Angle (E,) in deg of the photons to the normal of the first face, at the sensor nearest to the interaction."""
    first = next(iter(detector.faces.values())).sensor_ids
    _, nearest = cKDTree(detector.position[first]).query(detector.to_xyz(truth["uvwTruth"].astype(np.float64)))
    direction = angles_to_direction(*truth["emiAng"].T.astype(np.float64))
    return np.degrees(angle_between(direction, detector.normal[first][nearest]))


def table(results: Results) -> str:
    """The whole sample, then bin by bin."""
    found = list(results.get("long", {}).values())
    methods = list(found[0]["test"][demo.TASK]) if found else []
    shown = Table(["68 % of the opening angles [deg]", "events", *methods])
    for name, edges in BINS.items() if found else ():
        for place, (low, high) in enumerate(pairwise(edges)):
            rows = [metrics["profiles"][name][place] for metrics in found]
            values = (cell(row[title] for row in rows) for title in methods)
            shown.add(f"{name} {low:g} to {high:g}", rows[0]["events"], *values)
    if found:
        whole = (cell(m["test"][demo.TASK][title]["resolution_deg"] for m in found) for title in methods)
        shown.add("all", FINAL.config.events, *whole)
    return shown.markdown() if found else NOT_MEASURED


STUDY = Study("long", (0,), jobs, {"long": table})
