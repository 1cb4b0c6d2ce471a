"""Are files usable? Their branches, units, sensors, duplicates and baskets, with the problems at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from xecgnn.data.blocks import cut_blocks
from xecgnn.data.check_sensors import MIN_EVENTS, SensorTotals
from xecgnn.data.check_tree import Problem, basket_problems, branch_layouts, branch_problems, usable_branches
from xecgnn.data.check_units import check_agreement, guess_units
from xecgnn.data.config import ReaderConfig
from xecgnn.data.files import Paths, find_files
from xecgnn.data.reader import BadFileError, TreeReader
from xecgnn.detector import Detector
from xecgnn.names import BRANCHES, IDENTIFIERS, NPHO, RELATIVE_NPHO, RELATIVE_TIME, SENSOR, TARGETS, TREE

__all__ = ["CheckReport", "check_files"]

BLOCK_EVENTS = 1000  # read at once: 38 MB of a MEG II file
FLAKY = 0.01  # share of invalid readings from which on a live sensor is counted as flaky
SHOWN = 20  # ids, or events, that are listed

Keys = NDArray[np.int64]  # one number per (run, event)


@dataclass
class CheckReport:
    """What was found in all files: lines for people, facts for programs."""

    totals: SensorTotals
    lines: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=lambda: {"files": {}})
    problems: list[Problem] = field(default_factory=list)

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

    def warn(self, where: object, text: str, level: str = "warning") -> None:
        """Add a problem."""
        self.problems.append(Problem(level, str(where), text))


def check_files(paths: Paths, detector: Detector, against: Paths = (), tree: str = TREE) -> CheckReport:
    """Look at every event of the files, in bounded memory (but 8 bytes per event, to find duplicates).

    Args:
        paths: data files, globs, directories; sensors are judged over all of them together.
        detector: whose readings they should hold.
        against: a sample that must not share events with them.
        tree: name of the tree.

    Raises:
        FileNotFoundError: no such file. (One that cannot be read is a problem in the report.)
    """
    report, config = CheckReport(SensorTotals(detector.num_sensors)), ReaderConfig(tree=tree)
    files = find_files(paths)
    others = find_files(against) if against else []
    keys: dict[Path, Keys] = {}
    for path in files:
        try:
            with TreeReader(path, config) as reader:
                _check_file(reader, detector, report)
                keys[path] = _keys(reader)
        except BadFileError as error:
            report.warn(path, str(error).removeprefix(f"{path}: "), "error")
    if len({tuple(sorted(facts["branches"])) for facts in report.facts["files"].values()}) > 1:
        report.warn("files", "have different branches; training uses the truth that all of them have")
    if report.totals.num_events:
        _check_sensors(detector, report)
    _check_duplicates(keys, report)
    if others:
        _check_overlap(keys, others, config, report)
    return report


def _check_file(reader: TreeReader, detector: Detector, report: CheckReport) -> None:
    """Branches, units and readings of one file; the readings go into the totals."""
    path, events = reader.path, reader.num_entries
    report.lines.append(f"{path}: {events} events, {path.stat().st_size / 1e6:.1f} MB")
    report.problems += branch_problems(reader, detector)
    layouts = _check_layout(reader, report)
    usable = usable_branches(reader, detector)
    tasks = [task for task, branch in TARGETS.items() if branch in usable]
    report.lines.append(f"  truth for tasks: {', '.join(tasks) or 'none'}")
    sample = {name: _native(reader.read_branch(name, 0, min(BLOCK_EVENTS, events))) for name in usable}
    units = _check_units(sample, path, detector, report)
    unknown = {}
    for name in usable:
        if BRANCHES[name].width != SENSOR:
            values = reader.read_branch(name, 0, events).reshape(events, -1)
            unknown[name] = int((~np.isfinite(values)).any(1).sum())
            report.lines += [f"  {name} is unknown (NaN) in {unknown[name]} events"] * (unknown[name] > 0)
    report.lines.append("")
    facts = {"events": events, "branches": layouts, "tasks": tasks, "units": units, "not_finite": unknown}
    report.facts["files"][str(path)] = facts

    npho = next((name for name in (NPHO, RELATIVE_NPHO) if name in usable), None)
    if npho and RELATIVE_TIME in usable:
        blocks = cut_blocks(0, np.asarray(reader.tree[npho].entry_offsets, dtype=np.int64), BLOCK_EVENTS)
        for block in tqdm(blocks, desc=path.name, unit="block", leave=False, disable=None):
            readings = (reader.read_branch(name, block.start, block.stop) for name in (npho, RELATIVE_TIME))
            report.totals.add(*map(_native, readings))


def _check_layout(reader: TreeReader, report: CheckReport) -> dict[str, dict[str, Any]]:
    """How the branches are stored: {branch: facts}; a table of them, unless an earlier file has the same types."""
    layouts = branch_layouts(reader)
    report.problems += basket_problems(reader, layouts)
    types = [(entry.name, entry.type) for entry in layouts]
    for path, known in report.facts["files"].items():
        if types == [(name, facts["type"]) for name, facts in known["branches"].items()]:
            report.lines.append(f"  branches as in {path}")
            break
    else:
        rows = [["branch", "type", "unit", "events/basket", "compression", "stored/raw"]]
        for entry in layouts:
            cells = [str(entry.events_per_basket), entry.compression, f"{entry.ratio:.2f}"]
            rows.append([entry.name, entry.type, entry.unit, *cells])
        report.lines += [*_table(rows), ""]
    return {entry.name: entry._asdict() for entry in layouts}


def _check_units(sample: dict[str, NDArray], path: Path, detector: Detector, report: CheckReport) -> dict[str, str]:
    """Units and agreement of the branches in the first events: {branch: unit}."""
    findings = guess_units(sample)
    units = {finding.branch: finding.unit for finding in findings if finding.unit}
    if units.get("emiAng") == "deg":
        sample = sample | {"emiAng": np.deg2rad(sample["emiAng"])}
    findings += check_agreement(sample, detector)
    if findings:
        report.lines.append(f"  units and values (first {len(next(iter(sample.values())))} events)")
    report.lines += _table([[f"  {finding.branch}", finding.unit, finding.reason] for finding in findings])
    for finding in findings:
        if finding.problem:
            report.warn(path, f"{finding.branch} {finding.problem}", finding.level)
    return units


def _check_sensors(detector: Detector, report: CheckReport) -> None:
    """Readings by face, dead and hot sensors, over all files."""
    totals = report.totals
    dead, hot, mean, events = totals.dead, totals.hot(detector), totals.mean, totals.num_events
    invalid, nan, no_time = (n / events for n in (totals.npho_invalid, totals.npho_nan, totals.time_invalid))
    live = np.ones(detector.num_sensors, dtype=bool)
    live[dead] = False
    rows = [["face", "sensors", "mean npho", "npho invalid", "NaN", "time invalid", "dead", "flaky", "hot"]]
    for face in detector.faces.values():
        ids = face.sensor_ids
        alive = ids[live[ids]]
        level = f"{mean[alive].mean():.4g}" if len(alive) else "-"
        shares = [f"{100 * share[ids].mean():.2f} %" for share in (invalid, nan, no_time)]
        counts = [len(ids) - len(alive), (invalid[alive] > FLAKY).sum(), sum(sensor in hot for sensor in ids.tolist())]
        rows.append([face.name, str(len(ids)), level, *shares, *map(str, counts)])
    report.lines += [f"sensors over {events} events", *_table(rows), ""]
    report.lines.append(f"  dead (never valid, or always the same value): {_listed(dead.tolist())}")
    flaky = np.flatnonzero(live & (invalid > FLAKY))
    report.lines.append(f"  flaky (npho invalid in more than {FLAKY:.0%} of the events): {_listed(flaky.tolist())}")
    loud = [f"{sensor} ({factor:.1f} x its neighbours)" for sensor, factor in hot.items()]
    report.lines += [f"  hot: {_listed(loud)}", ""]
    report.facts["sensors"] = {
        "events": events,
        "dead": dead.tolist(),
        "flaky": flaky.tolist(),
        "hot": {str(sensor): factor for sensor, factor in hot.items()},
        "npho_invalid": invalid.tolist(),
        "npho_nan": nan.tolist(),
        "time_invalid": no_time.tolist(),
    }
    if events < MIN_EVENTS:
        report.warn("sensors", f"{events} events are too few to find hot or stuck sensors ({MIN_EVENTS} needed)")
    if not live.any():
        report.warn("sensors", "all are dead", "error")
    elif len(dead):
        report.warn("sensors", f"{len(dead)} of {detector.num_sensors} are dead")
    if hot:
        report.warn("sensors", f"{len(hot)} of {detector.num_sensors} are hot")
    if totals.blind_events:
        report.warn("sensors", f"{totals.blind_events} of {events} events have no valid npho at all")


def _check_duplicates(keys: dict[Path, Keys], report: CheckReport) -> None:
    """Events that are there more than once, in a file or in several."""
    within = {path: len(values) - len(np.unique(values)) for path, values in keys.items()}
    together = np.concatenate([np.empty(0, np.int64), *keys.values()])
    values, counts = np.unique(together, return_counts=True)
    across = len(together) - len(values) - sum(within.values())
    report.facts["duplicates"] = {"within": {str(path): n for path, n in within.items()}, "across": across}
    report.lines += [f"duplicates of (run, event): {sum(within.values())} within files, {across} across files", ""]
    for where, number in (*within.items(), ("files", across)):
        if number:
            report.warn(where, f"{number} events are there again (run, event): {_events(values[counts > 1])}")


def _check_overlap(keys: dict[Path, Keys], others: Sequence[Path], config: ReaderConfig, report: CheckReport) -> None:
    """Events that the sample shares with the files it must be independent of."""
    overlap = report.facts["overlap"] = {}
    for other in others:
        try:
            with TreeReader(other, config) as reader:
                known = np.unique(_keys(reader))
        except BadFileError as error:
            report.warn(other, str(error).removeprefix(f"{other}: "), "error")
            continue
        if not len(known):
            report.warn(other, "no branch run and event: overlap cannot be found")
        for path, values in keys.items():
            common = np.intersect1d(values, known)
            overlap.setdefault(str(other), {})[str(path)] = len(common)
            if len(common):
                report.warn(path, f"{len(common)} events are also in {other}: {_events(common)}", "error")
    shared = sum(number for numbers in overlap.values() for number in numbers.values())
    report.lines += [f"events (run, event) in common with the {len(others)} files against: {shared}", ""]


def _keys(reader: TreeReader) -> Keys:
    """One number per event from run and event; none where the file does not have both."""
    readable, _ = reader.layout()
    if not set(IDENTIFIERS) <= readable.keys():
        return np.empty(0, np.int64)
    run, event = (reader.read_branch(name, 0, reader.num_entries).astype(np.int64) for name in IDENTIFIERS)
    return (run << 32) + event


def _events(keys: Keys) -> str:
    return _listed([f"({key >> 32}, {key & 0xFFFFFFFF})" for key in keys[: SHOWN + 1].tolist()], 3)


def _listed(entries: Sequence[object], limit: int = SHOWN) -> str:
    shown = ", ".join(map(str, entries[:limit])) + (", ..." if len(entries) > limit else "")
    return shown or "none"


def _native(values: NDArray) -> NDArray:
    """Native byte order: arithmetic on stored big-endian values is slow."""
    return values.astype(values.dtype.newbyteorder("="))


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Cells in columns, indented."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
