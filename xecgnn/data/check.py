"""Are files usable? Their branches, units, sensors, duplicates and baskets, with the problems at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xecgnn.arrays import Ints
from xecgnn.data.blocks import cut_blocks
from xecgnn.data.check_sensors import MIN_EVENTS, SensorTotals
from xecgnn.data.check_tree import basket_problems, branch_layouts, branch_problems, usable_branches
from xecgnn.data.check_truth import constant_problems, without_constants
from xecgnn.data.check_units import check_agreement, guess_units
from xecgnn.data.checksums import CHECKSUMS, Checksums
from xecgnn.data.config import ReaderConfig
from xecgnn.data.errors import listed
from xecgnn.data.files import Paths, find_files
from xecgnn.data.match import event_pairs, repeated_pairs, shared_pairs
from xecgnn.data.reader import TreeReader
from xecgnn.detector import Detector
from xecgnn.names import IDENTIFIERS, NPHO, RELATIVE_NPHO, RELATIVE_TIME, SCHEMA, TARGETS, TREE
from xecgnn.progress import Progress
from xecgnn.schema import Schema
from xecgnn.table import Table

__all__ = ["CheckReport", "Problem", "check_files"]

BLOCK_EVENTS = 1000  # read at once: 38 MB of a MEG II file
FLAKY = 0.01  # share of invalid readings from which on a live sensor is counted as flaky
SHOWN = 20  # ids that are listed

Pairs = dict[Path, Ints]  # of each file, (run, event) of each event, (E, 2)


class Problem(NamedTuple):
    """`error`: the file cannot be used as it is; `warning`: it can, but look at it."""

    level: str
    where: str
    text: str


@dataclass
class CheckReport:
    """What was found in all files: lines for people, facts for programs."""

    totals: SensorTotals
    lines: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=lambda: {"files": {}})
    problems: list[Problem] = field(default_factory=list)

    def warn(self, where: object, text: str, level: str = "warning") -> None:
        """Add a problem."""
        self.problems.append(Problem(level, str(where), text))

    @property
    def usable(self) -> bool:
        """There is no error; warnings do not count."""
        return all(problem.level != "error" for problem in self.problems)

    @property
    def text(self) -> str:
        """The whole report, problems last."""
        problems = [f"  {level:<8} {where}: {text}" for level, where, text in sorted(self.problems)]
        verdict = "usable" if self.usable else "NOT USABLE as it is"
        return "\n".join([*self.lines, "problems:" if problems else "no problems", *problems, verdict, ""])

    def as_dict(self) -> dict[str, Any]:
        """The same for JSON."""
        return {**self.facts, "usable": self.usable, "problems": [problem._asdict() for problem in self.problems]}


def check_files(paths: Paths, detector: Detector, against: Paths = (), tree: str = TREE) -> CheckReport:
    """Look at every event of the files, in bounded memory (but 16 bytes per event, to find duplicates).

    Args:
        paths: data files, globs, directories; sensors are judged over all of them together.
        detector: whose readings they should hold.
        against: a sample that must not share events with them.
        tree: name of the tree.

    Raises:
        FileNotFoundError: no such file. (One that cannot be read is a problem in the report.)
    """
    report, config = CheckReport(SensorTotals(detector.num_sensors)), ReaderConfig(tree=tree)
    files, others = find_files(paths), find_files(against) if against else []
    pairs = Pairs()
    for path in dict.fromkeys([*files, *others]):
        try:
            with TreeReader(path, config) as reader:
                if path in files:
                    _check_file(reader, detector, report)
                pairs[path] = _event_pairs(reader)
        except ValueError as error:  # a bad file, or numbers that cannot be ours
            report.warn(path, str(error).removeprefix(f"{path}: "), "error")
    branches = [set(facts["branches"]) for facts in report.facts["files"].values()]
    if some := sorted(set().union(*branches).difference(*(branches and [set.intersection(*branches)]))):
        report.warn("files", f"not all have the branches {listed(some)}: what is to be read from all is left out")
    if report.totals.num_events:
        _check_sensors(detector, report)
    checked = {path: pairs[path] for path in files if path in pairs}
    _check_duplicates(checked, report)
    if others:
        _check_overlap(checked, {path: pairs[path] for path in others if path in pairs}, report)
    return report


def _check_file(reader: TreeReader, detector: Detector, report: CheckReport) -> None:
    """Branches, units and readings of one file; the readings go into the totals."""
    path, events = reader.path, reader.num_entries
    report.lines.append(f"{path}: {events} events, {path.stat().st_size / 1e6:.1f} MB")
    if others := reader.others:
        report.lines.append(f"  beside the tree: {listed(others)}")
    for level, text in branch_problems(reader, detector):
        report.warn(path, text, level)
    layouts = _check_layout(reader, report)
    usable = usable_branches(reader, detector)
    tasks = [task for task, branch in TARGETS.items() if branch in usable]
    report.lines.append(f"  truth for tasks: {', '.join(tasks) or 'none'}")
    numbers = reader.read(name for name in usable if SCHEMA[name].kind != "reading")
    for name in numbers:
        if SCHEMA[name].kind == "truth":
            for text in constant_problems(name, numbers[name]):
                report.warn(path, text)
    truth = {name: without_constants(values[:BLOCK_EVENTS]) for name, values in numbers.items()}
    readings = reader.read([name for name in usable if name not in numbers], 0, BLOCK_EVENTS)
    units = _check_units(readings | truth, path, detector, report)
    unknown = {name: int((~np.isfinite(v)).reshape(events, -1).any(1).sum()) for name, v in numbers.items()}
    why = "unknown (NaN, or 9e9 and more)"
    report.lines += [f"  {name} is {why} in {number} events" for name, number in unknown.items() if number]
    report.lines.append("")
    facts = {"events": events, "branches": layouts, "tasks": tasks, "units": units, "not_finite": unknown}
    report.facts["files"][str(path)] = facts

    npho = next((name for name in (NPHO, RELATIVE_NPHO) if name in usable), None)
    _check_values(path, reader.config, (npho, RELATIVE_TIME) if npho and RELATIVE_TIME in usable else (), report)


def _check_values(path: Path, config: ReaderConfig, readings: tuple[str, ...], report: CheckReport) -> None:
    """One pass over all events: readings into the totals, all columns beside their checksums where there are any."""
    sums = Checksums()
    with TreeReader(path, config, Schema()) as reader:
        written = reader.text(CHECKSUMS)
        names = [*reader.stored] if written else list(readings)
        blocks = cut_blocks(0, reader.scan(names).baskets, BLOCK_EVENTS) if names else []
        with Progress(path.name, reader.num_entries) as shown:
            for block in blocks:
                values = reader.read(names, block.start, block.stop)
                sums.add(values if written else {})
                if readings:
                    report.totals.add(*(values[name] for name in readings))
                shown.advance(block.num_events)
    if written and (wrong := sums.differing(written)):
        report.warn(path, f"damaged: values are not those that were written: {listed(wrong)}", "error")


def _check_layout(reader: TreeReader, report: CheckReport) -> dict[str, dict[str, Any]]:
    """How the branches are stored: {branch: facts}; a table of them, unless an earlier file has the same types."""
    layouts = branch_layouts(reader)
    for text in basket_problems(layouts, reader.num_entries):
        report.warn(reader.path, text)
    types = {entry.name: entry.type for entry in layouts}
    earlier = report.facts["files"].items()
    alike = [path for path, facts in earlier if {n: b["type"] for n, b in facts["branches"].items()} == types]
    if alike:
        report.lines.append(f"  branches as in {alike[0]}")
    else:
        rows = [(e.name, e.type, e.unit, e.events_per_basket, e.compression, f"{e.ratio:.2f}") for e in layouts]
        table = Table(["branch", "type", "unit", "events/basket", "compression", "stored/raw"], [*rows])
        report.lines += [table.text("  "), ""]
    return {entry.name: entry._asdict() for entry in layouts}


def _check_units(sample: dict[str, np.ndarray], path: Path, detector: Detector, report: CheckReport) -> dict[str, str]:
    """Units and agreement of the branches in the first events: {branch: unit}."""
    findings = list(guess_units(sample))
    units = {finding.branch: finding.unit for finding in findings if finding.unit}
    if units.get("emiAng") == "deg":
        sample = sample | {"emiAng": np.deg2rad(sample["emiAng"])}
    findings += check_agreement(sample, detector)
    if findings:
        head = ["branch", "unit", f"values of the first {len(next(iter(sample.values())))} events"]
        report.lines += ["", Table(head, [finding[:3] for finding in findings]).text("  ")]
    for finding in findings:
        if finding.problem:
            report.warn(path, f"{finding.branch} {finding.problem}", finding.level)
    return units


def _check_sensors(detector: Detector, report: CheckReport) -> None:
    """Readings by face, dead and hot sensors, over all files."""
    totals = report.totals
    dead, hot, mean, events = totals.dead, totals.hot(detector), totals.mean, totals.num_events
    shares = {name: getattr(totals, name) / events for name in ("npho_invalid", "npho_nan", "time_invalid")}
    live = ~np.isin(np.arange(detector.num_sensors), dead)
    flaky = live & (shares["npho_invalid"] > FLAKY)
    table = Table(["face", "sensors", "mean npho", "npho invalid", "NaN", "time invalid", "dead", "flaky", "hot"])
    for face in detector.faces.values():
        ids = face.sensor_ids
        level = f"{mean[ids][live[ids]].mean():.4g}" if live[ids].any() else "-"
        percents = [f"{100 * share[ids].mean():.2f} %" for share in shares.values()]
        counts = (~live[ids]).sum(), flaky[ids].sum(), np.isin(ids, list(hot)).sum()
        table.add(face.name, len(ids), level, *percents, *map(int, counts))
    ids_of = {"dead": dead.tolist(), "flaky": np.flatnonzero(flaky).tolist()}
    loud = [f"{sensor} ({factor:.1f} x its neighbours)" for sensor, factor in hot.items()]
    report.lines += [
        f"sensors over {events} events",
        table.text("  "),
        "",
        f"  dead (never valid, or always the same value): {_listed(ids_of['dead'])}",
        f"  flaky (npho invalid in more than {FLAKY:.0%} of the events): {_listed(ids_of['flaky'])}",
        f"  hot: {_listed(loud)}",
        "",
    ]
    report.facts["sensors"] = {
        "events": events,
        **ids_of,
        "hot": {str(sensor): factor for sensor, factor in hot.items()},
        **{name: share.tolist() for name, share in shares.items()},
    }
    few = f"{events} events are too few to find hot or stuck sensors ({MIN_EVENTS} needed)"
    all_dead, of_all = not live.any(), f"of {detector.num_sensors} are"
    for wrong, level, text in (
        (events < MIN_EVENTS, "warning", few),
        (all_dead, "error", "all are dead"),
        (len(dead) and not all_dead, "warning", f"{len(dead)} {of_all} dead"),
        (hot, "warning", f"{len(hot)} {of_all} hot"),
        (totals.blind_events, "warning", f"{totals.blind_events} of {events} events have no valid npho at all"),
    ):
        if wrong:
            report.warn("sensors", text, level)


def _check_duplicates(pairs: Pairs, report: CheckReport) -> None:
    """Events that are there more than once, in a file or in several."""
    within = {str(path): int(repeated_pairs(values).sum()) for path, values in pairs.items()}
    together = np.concatenate([np.empty((0, 2), np.int64), *pairs.values()])
    again, inside = together[repeated_pairs(together)], sum(within.values())
    across = len(again) - inside
    report.facts["duplicates"] = {"within": within, "across": across}
    report.lines += [f"duplicates of (run, event): {inside} within files, {across} across files", ""]
    for where, number in (*within.items(), ("files", across)):
        if number:
            report.warn(where, f"{number} events are there again (run, event): {_events(np.unique(again, axis=0))}")


def _check_overlap(pairs: Pairs, known: Pairs, report: CheckReport) -> None:
    """Events that the sample shares with the files it must be independent of."""
    overlap: dict[str, dict[str, int]] = {str(other): {} for other in known}
    for other, there in known.items():
        if not len(there):
            report.warn(other, "no branch run and event: overlap cannot be found")
        for path, values in pairs.items():
            common = shared_pairs(values, there)
            overlap[str(other)][str(path)] = len(common)
            if len(common):
                report.warn(path, f"{len(common)} events are also in {other}: {_events(common)}", "error")
    shared = sum(sum(numbers.values()) for numbers in overlap.values())
    report.facts["overlap"] = overlap
    report.lines += [f"events (run, event) in common with the {len(known)} files against: {shared}", ""]


def _event_pairs(reader: TreeReader) -> Ints:
    """(run, event) of all events; none where the file does not have both."""
    present = [name for name in IDENTIFIERS if name in reader.stored]
    return event_pairs(reader.read(present)) if len(present) == len(IDENTIFIERS) else np.empty((0, 2), np.int64)


def _events(pairs: Ints) -> str:
    return _listed([f"({run}, {event})" for run, event in pairs[:4].tolist()], 3)


def _listed(entries: Sequence[object], limit: int = SHOWN) -> str:
    return ", ".join(map(str, entries[:limit])) + (", ..." if len(entries) > limit else "") or "none"
