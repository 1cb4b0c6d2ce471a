"""What a study is: the results that it wants, how each is made, and the tables and figures that are made of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Folders", "Job", "Metrics", "Results", "Study", "digest"]

Metrics = dict[str, Any]  # numbers by name, nested
Results = Mapping[str, Mapping[int, Metrics]]  # setting -> seed -> metrics, of those that are there


class Folders(NamedTuple):
    """Where things are; none of it changes a number."""

    data: Path  # simulated files; what is missing is simulated
    runs: Path  # folders of trainings
    results: Path  # the numbers


class Job(NamedTuple):
    """One result that a study wants.

    Attributes:
        setting: name of what is measured.
        seed: of the training.
        settings: all that decides the numbers, as JSON has it: a result of others is stale.
        make: measures; an entry "seconds" is the time of the training, in place of that of the call.
    """

    setting: str
    seed: int
    settings: Mapping[str, Any]
    make: Callable[[Folders], Metrics]


class Study(NamedTuple):
    """A question, with the runs that answer it.

    Attributes:
        name: as on the command line.
        seeds: those that are made unless others are asked for.
        jobs: of one seed.
        tables: {marker in a page: function of the results, gives Markdown}.
        figures: draws what is drawn of a run in `Folders.runs`, where that is; yields the files.
    """

    name: str
    seeds: Sequence[int]
    jobs: Callable[[int], Iterable[Job]]
    tables: Mapping[str, Callable[[Results], str]]
    figures: Callable[[Folders], Iterable[Path]] = lambda folders: ()


def digest(settings: Mapping[str, Any]) -> str:
    """A short hash of settings, the same for the same values in any order of the keys."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
