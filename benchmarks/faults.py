"""Damaged inputs and killed commands: how each ends, by class. Wanted: no traceback, no hang, nothing wrong or lost.

Usage: python benchmarks/faults.py [root yaml checkpoint onnx kills ...] [--number 400] [--seed 0] [--show]

Each part of `fault_injection/` does its damage `--number` times, the same for the same seed.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

from fault_injection.outcome import BAD, KINDS, Outcome
from xecgnn.table import Table

# part -> its module in fault_injection, and how often it does its damage unless told
PARTS = {
    "root": ("root_files", 400),
    "yaml": ("yaml_files", 400),
    "checkpoint": ("checkpoints", 400),
    "onnx": ("onnx_files", 400),
    "kills": ("kills", 20),
}


def main() -> None:
    """Entry point; exit code 1 where something ended badly."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="what is damaged (all)")
    parser.add_argument("--number", type=int, help="damages of each part")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", action="store_true", help="print every try that ended badly")
    options = parser.parse_args()
    counts: dict[str, Counter[str]] = {}
    with suppress(KeyboardInterrupt):  # the table of what was done until then
        for part in options.parts or PARTS:
            for outcome in outcomes(part, options.number, options.seed):
                counts.setdefault(outcome.what, Counter())[outcome.kind] += 1
                if options.show and outcome.kind in BAD:
                    show(outcome)
    table = Table(["what", "tries", *KINDS])
    for what, found in counts.items():
        table.add(what, found.total(), *(found[kind] for kind in KINDS))
    print(table.text())
    sys.exit(any(found[kind] for found in counts.values() for kind in BAD))


def outcomes(part: str, number: int | None, seed: int) -> Iterator[Outcome]:
    """What one part yields, in a folder that is removed afterwards."""
    module, usual = PARTS[part]
    with TemporaryDirectory() as folder:
        yield from import_module(f"fault_injection.{module}").outcomes(Path(folder), number or usual, seed)


def show(outcome: Outcome) -> None:
    """A try, and the end of what was said."""
    print(f"{outcome.kind}: {outcome.what}, {outcome.case}")
    print("".join(f"    {line}\n" for line in outcome.text.splitlines()[-12:]), end="", flush=True)


if __name__ == "__main__":
    main()
