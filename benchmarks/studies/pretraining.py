"""Is pretraining worth it, and filling dead channels? The demo with wider tokens; the tables of docs/pretraining.md.

Pretraining should help where labels are few: fine-tuning against training from scratch with an eighth of them and with
all, a linear fit of the direction to the tokens, the inpainter against neighbours, and the reconstruction of events
with dead sensors, untouched and filled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from studies import demo
from studies.choices import TOKENS
from studies.measurements import events, filling_errors, kill, linear_fit, resolutions
from studies.samples import Sample
from studies.study import Folders, Job, Metrics, Results, Study
from studies.tables import NOT_MEASURED, cell
from studies.training import UNDRAWN, Training
from xecgnn.config import InpaintConfig, PretrainConfig
from xecgnn.settings import flattened, read_yaml
from xecgnn.table import Table
from xecgnn.training.checkpoint import read_checkpoint
from xecgnn.training.folder import LAST
from xecgnn.training.resume import load_weights

PARTS, VALIDATION = [Sample(f"part_{seed}", 2000, seed) for seed in range(100, 108)], Sample("part_99", 2000, 99)
LABELS = {"1/8": (1, 16), "all": (8, 4)}  # share of the labelled events -> files, epochs
DEAD, KILLED = (0.02, 0.05, 0.10), 0.05
RIDGE = (0.1, 1.0, 10.0, 100.0, 1000.0)  # penalties of the linear fit
PRETRAINED = "pretrained"
STARTS = {"scratch": "from scratch", PRETRAINED: PRETRAINED}
METHODS = ("network", "solid angle", "neighbours", "floor")
METRICS = {
    "resolution_deg": "opening angle [deg]",
    "u_resolution_68": "u [mm]",
    "v_resolution_68": "v [mm]",
    "w_resolution_68": "w [mm]",
    "energy_resolution_68": "energy [%]",
}
NETWORK = {n: value for n, value in flattened(read_yaml("demo")).items() if n.startswith(("model.", "training."))}
NETWORK |= {"data.batch_size": 32, "training.max_lr": 1.5e-3, **TOKENS}  # what is pretrained are the tokens
PRETRAINING, INPAINTING = 6, 2  # epochs over all events


def pretrain(seed: int) -> Training:
    settings = {**NETWORK, "training.epochs": PRETRAINING}
    return Training("pretrain", seed, "pretrain", settings, files(len(PARTS)), PretrainConfig)


def inpaint(seed: int) -> Training:
    settings = {**NETWORK, "training.epochs": INPAINTING}
    return Training("inpaint", seed, "inpaint", settings, files(len(PARTS)), InpaintConfig)


def regress(seed: int, used: int, epochs: int, start: str) -> Training:
    """From scratch, or from the pretraining, on a share of the labelled events."""
    settings = {**NETWORK, **UNDRAWN, "training.epochs": epochs}
    before = None if start == "scratch" else pretrain(seed)
    return Training(f"{start}_{used}", seed, "multitask", settings, files(used), start=before)


def files(used: int) -> dict[str, list[Sample]]:
    return {"train": PARTS[:used], "val": [VALIDATION]}


def jobs(seed: int) -> Iterator[Job]:
    reference, filler = regress(seed, *LABELS["all"], "scratch"), inpaint(seed)
    for used, epochs in LABELS.values():
        for start in STARTS:
            training = regress(seed, used, epochs, start)
            yield Job(training.name, seed, training.resolved(), partial(judge, training))
    for start, source in {"untrained": None, "scratch": reference, PRETRAINED: pretrain(seed)}.items():
        decides = {"ridge": RIDGE, "network": (source or reference).resolved(), "trained": source is not None}
        yield Job(f"probe_{start}", seed, decides, partial(probe, reference, source))
    for share in DEAD:
        decides = {"share": share, "network": filler.resolved()}
        yield Job(f"recover_{share:g}", seed, decides, partial(recover, filler.last, share))
    decides = {"share": KILLED, "network": filler.resolved(), "trained": False}
    yield Job("recover_untrained", seed, decides, partial(recover, filler.untrained, KILLED))
    decides = {"share": KILLED, "network": reference.resolved(), "inpainter": filler.resolved()}
    yield Job("dead", seed, decides, partial(dead, reference, filler))


def judge(training: Training, folders: Folders) -> Metrics:
    model = training.last(folders)
    return resolutions(model, events(folders, model.detector, [VALIDATION]))


def probe(reference: Training, source: Training | None, folders: Folders) -> Metrics:
    """A linear fit to the tokens of a network with the weights of `source`, or with random ones."""
    model = reference.untrained(folders)
    if source:
        settings = reference.config().model_dump(mode="json")
        load_weights(model, read_checkpoint(source.run(folders) / f"{LAST}.pth"), settings)
    train, judged = (events(folders, model.detector, samples) for samples in (PARTS[: len(PARTS) // 4], [VALIDATION]))
    return {"resolution_deg": linear_fit(model, train, judged, RIDGE)}


def recover(network: Callable[[Folders], Any], share: float, folders: Folders) -> Metrics:
    inpainter = network(folders)
    return filling_errors(inpainter, events(folders, inpainter.detector, [VALIDATION]), share)


def dead(regressor: Training, filler: Training, folders: Folders) -> Metrics:
    """One regressor where no sensor is dead, some are, and these are filled."""
    model, inpainter = regressor.last(folders), filler.last(folders)
    batches = events(folders, model.detector, [VALIDATION])
    return {
        "none dead": resolutions(model, batches),
        f"{KILLED:.0%} dead, untouched": resolutions(model, batches, kill(model, KILLED)),
        f"{KILLED:.0%} dead, filled": resolutions(model, batches, kill(model, KILLED, inpainter)),
    }


def by_metric(rows: Mapping[str, Iterable[Metrics]]) -> str:
    """A row per title with results, a column for each of METRICS."""
    shown = Table(["", *METRICS.values()])
    for title, results in rows.items():
        if found := list(results):
            shown.add(title, *(cell(metrics[key] for metrics in found) for key in METRICS))
    return shown.markdown() if shown.rows else NOT_MEASURED


def fine_tuning(results: Results) -> str:
    return by_metric({
        f"{labels} of the labels, {title}": results.get(f"{start}_{used}", {}).values()
        for labels, (used, _) in LABELS.items()
        for start, title in STARTS.items()
    })


def linear(results: Results) -> str:
    shown = Table(["tokens", "opening angle [deg]"])
    for start in ("untrained", *STARTS):
        if found := results.get(f"probe_{start}"):
            title = "trained from scratch" if start == "scratch" else STARTS.get(start, start)
            shown.add(title, cell(metrics["resolution_deg"] for metrics in found.values()))
    return shown.markdown() if shown.rows else NOT_MEASURED


def filling(results: Results) -> str:
    """68 % quantiles of the error of npho, photons."""
    shown = Table(["dead", "face", *METHODS])
    titles = {f"recover_{share:g}": f"{share:.0%}" for share in DEAD}
    for setting, title in (titles | {"recover_untrained": f"{KILLED:.0%}, network untrained"}).items():
        found = list(results.get(setting, {}).values())
        for face in found[0] if found else ():
            shown.add(title, face, *(cell(metrics[face][method] for metrics in found) for method in METHODS))
    return shown.markdown() if shown.rows else NOT_MEASURED


def dead_sensors(results: Results) -> str:
    found = list(results.get("dead", {}).values())
    return by_metric({title: [metrics[title] for metrics in found] for title in (found[0] if found else ())})


TABLES = {"fine-tuning": fine_tuning, "linear fit": linear, "filling": filling, "dead sensors": dead_sensors}
STUDY = Study("pretraining", demo.CHOOSING, jobs, TABLES)
