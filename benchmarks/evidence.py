"""Every figure and table of README and docs, from runs that anyone can make again.

Usage: python benchmarks/evidence.py [STUDY ...] [--seeds 3 4 5] [--data FOLDER] [--runs FOLDER]
       python benchmarks/evidence.py --check     # what is missing or stale; exit code 1 if anything is
       python benchmarks/evidence.py --remake    # only tables and figures, from the results there are

Without names all studies are made, which takes days of one core. A result is a JSON in benchmarks/results/evidence,
with commit, seed and a hash of all settings, those of the simulated files included; those that are right stay, those of
other settings are made again. Interrupted, it goes on where it was: trainings continue from their checkpoints.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from record import RESULTS, ROOT, commit
from studies import STUDIES
from studies.results import make_result, read_results, why_wanted
from studies.study import Folders, Job, Study
from studies.tables import PAGES, filled
from xecgnn.output import write_text

log = logging.getLogger("evidence")

EVIDENCE = RESULTS / "evidence"


def wanted(
    studies: Sequence[Study], folder: Path, seeds: Sequence[int] | None = None
) -> Iterator[tuple[str, Job, str]]:
    """Study, job and reason of each result that has to be made; of the seeds that are given, or all."""
    for study in studies:
        for seed in study.seeds if seeds is None else [seed for seed in study.seeds if seed in seeds]:
            for job in study.jobs(seed):
                if why := why_wanted(folder, study.name, job):
                    yield study.name, job, why


def tables(folder: Path) -> dict[str, str]:
    """Every table of every study, as Markdown, from the results there are."""
    return {
        marker: table(results)
        for study in STUDIES.values()
        for results in [read_results(folder, study.name)]
        for marker, table in study.tables.items()
    }


def remake(studies: Sequence[Study], folders: Folders) -> None:
    """Tables in all pages, and the figures of the studies whose runs are there."""
    found = tables(folders.results)
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        if (new := filled(text, found)) != text:
            write_text(page, new)
            log.info("%s: tables remade", page.relative_to(ROOT))
    for study in studies:
        for file in study.figures(folders):
            log.info("%s drawn", file.relative_to(ROOT))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="*", metavar="STUDY", help=f"{', '.join(STUDIES)} (none: all)")
    parser.add_argument("--seeds", type=int, nargs="+", help="only these seeds of the studies")
    parser.add_argument("--data", type=Path, default=Path("data/demo"), help="simulated files; missing ones are made")
    parser.add_argument("--runs", type=Path, default=Path("artifacts/evidence"), help="folders of the trainings")
    parser.add_argument("--check", action="store_true", help="only list results that are missing or stale")
    parser.add_argument("--remake", action="store_true", help="only make tables and figures")
    options = parser.parse_args()
    if unknown := [name for name in options.studies if name not in STUDIES]:
        parser.error(f"unknown study {unknown[0]!r}; known studies: {', '.join(STUDIES)}")
    studies = [STUDIES[name] for name in options.studies or STUDIES]
    folders = Folders(options.data, options.runs, EVIDENCE)

    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stdout)
    log.setLevel(logging.INFO)
    logging.getLogger("xecgnn.evaluation.artifacts").setLevel(logging.ERROR)  # of pictures that a study does not want
    torch.set_num_threads(1)
    commit()  # that of the code that runs, whatever is committed meanwhile
    missing = list(wanted(studies, EVIDENCE, options.seeds))
    if options.check:
        for name, job, why in missing:
            print(f"{name}: {job.setting}, seed {job.seed} is {why}")
        sys.exit(1 if missing else 0)
    for name, job, why in () if options.remake else missing:
        log.info("%s: %s, seed %d is %s", name, job.setting, job.seed, why)
        make_result(folders, name, job)
        remake([], folders)
    remake(studies, folders)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted; the same command goes on")
