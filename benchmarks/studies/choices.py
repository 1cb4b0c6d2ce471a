"""Is each choice worth it? One setting at a time the other way, on the demo's events with a shorter schedule.

Judged by 68 % of the opening angles of the validation events. A choice stands where the ranges of the seeds do not
overlap; else it is a tie, which the simpler one wins.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from studies import demo
from studies.study import Job, Results, Study
from studies.tables import NOT_MEASURED, cell
from studies.training import UNDRAWN, Training
from xecgnn.table import Table

EPOCHS = 3
METRIC = "val_resolution_deg"
BASE = "demo"  # name of the run with all choices
# Wider tokens of the faces than those of the demo.
TOKENS = {"model.encoder_dim": 128, "model.hex_dim": 16, "model.depths": [1, 1], "model.num_fusion_layers": 2}


class Choice(NamedTuple):
    """What is chosen in `configs/demo.yaml`, and the settings of the other way.

    Attributes:
        chosen, other: both ways, for people.
        settings: those of the other way.
        prediction: degrees that the other way was thought to add, written before anything was measured.
        simpler: whether the other way is the simpler one: it wins a tie.
    """

    chosen: str
    other: str
    settings: Mapping[str, Any]
    prediction: str
    simpler: bool


CHOICES = {
    "pooling": Choice("tokens weighted by light", "averaged", {"model.token_pooling": "average"},
                      "0 to 0.5: the spot has what an average loses", True),
    "optimizer": Choice("AdamW", "Muon, its rates", {"training.optimizer": "muon", "training.weight_decay": 1e-4,
                        "training.lr": 5e-5, "training.max_lr": 1e-3}, "-0.5 to 0.5, at a step twice as long", False),
    "constants": Choice("constants of the readings from the data", "those of the seeds",
                        {"normalization.constants": "seeds"}, "0 to 0.3", True),
    "dropout": Choice("no dropout", "that of the seeds", {"model.fusion_dropout": 0.1, "model.head_dropout": 0.2},
                      "0.2 to 0.6: noise in front of a regression", False),
    "tokens": Choice("tokens as small as they come", "of width 128", TOKENS,
                     "-0.2 to 0.1, at a step half as long again", False),
    "mirrors": Choice("mirrors", "none", {"training.augmentations": []}, "0.5 to 1: four times the directions", True),
    "spot": Choice("the spot", "tokens of the faces alone, of width 128", {"model.spot.window": 0, **TOKENS}, "3 to 6",
                   True),
    "moments": Choice("moments", "window alone", {"model.spot.moments": False}, "0.5 to 2", True),
    "frame": Choice("predicted as seen from the spot", "in the detector's frame", {"model.spot.frame": False},
                    "1 to 3", True),
    "averaging": Choice("averaged weights", "the last ones", {"training.ema_decay": -1.0},
                        "0 to 0.3: the rate ends near zero", True),
}  # fmt: skip


def training(name: str, seed: int) -> Training:
    settings = {"training.epochs": EPOCHS, **UNDRAWN, **(CHOICES[name].settings if name != BASE else {})}
    return Training(name, seed, "demo", settings, {part: demo.FILES[part] for part in ("train", "val")})


def jobs(seed: int) -> Iterator[Job]:
    for name in (BASE, *CHOICES):
        yield training(name, seed).job()


def verdict(choice: Choice, base: list[float], other: list[float]) -> str:
    """Which of both is better, or simpler where their ranges overlap; one seed does not tell."""
    if len(base) < 2:
        return "one seed"
    if max(base) < min(other):
        return choice.chosen
    if max(other) < min(base):
        return choice.other
    return f"tie: {choice.other if choice.simpler else choice.chosen}"


def table(results: Results) -> str:
    """A row for each choice; medians and ranges of the seeds that both ways have."""
    measured = {name: {seed: m["validation"][METRIC] for seed, m in found.items()} for name, found in results.items()}
    base = measured.get(BASE, {})
    shown = Table(["chosen", "deg", "the other way", "deg", "difference, predicted", "measured", "verdict"])
    for name, choice in CHOICES.items():
        if seeds := base.keys() & measured.get(name, {}).keys():
            ours, others = ([found[seed] for seed in sorted(seeds)] for found in (base, measured[name]))
            change = cell(other - one for one, other in zip(ours, others, strict=True))
            said = choice.prediction, change, verdict(choice, ours, others)
            shown.add(choice.chosen, cell(ours), choice.other, cell(others), *said)
    return shown.markdown() if shown.rows else NOT_MEASURED


STUDY = Study("choices", demo.CHOOSING, jobs, {"choices": table})
