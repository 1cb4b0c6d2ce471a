"""Mistakes in YAML files: a configuration and a detector."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from fault_injection.mutations import mutated_text
from fault_injection.outcome import Outcome, classify
from xecgnn.config import load_config
from xecgnn.detector import load_detector

ROOT = Path(__file__).parents[2]


def outcomes(folder: Path, number: int, seed: int) -> Iterator[Outcome]:
    """Mistakes in turn in a config and in a detector. What is read without a word is `right`: a hand may mean it."""
    readers: list[tuple[str, Path, Callable[[Path], object]]] = [
        ("config", ROOT / "configs" / "demo.yaml", lambda path: load_config(path).model_dump(mode="json")),
        ("detector", ROOT / "geometry" / "mini.yaml", lambda path: load_detector(path).hash),
    ]
    for case in range(number):
        name, source, run = readers[case % len(readers)]
        changed, how = mutated_text(source.read_text(), np.random.default_rng([seed, case]))
        path = folder / "mistaken.yaml"
        path.write_text(changed)
        kind, text = classify(partial(run, path), None)
        yield Outcome(f"yaml: {name}", "right" if kind == "wrong" else kind, f"number {case}, {how}", text)
