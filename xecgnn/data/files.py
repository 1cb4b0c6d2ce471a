"""From a list of names, globs and directories to checked files, and to their events where these fit into memory."""

from __future__ import annotations

import glob
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from xecgnn.data.config import ReaderConfig
from xecgnn.data.events import EventArrays
from xecgnn.data.reader import BadFileError, FileScan, TreeReader
from xecgnn.names import BRANCHES, FEATURES, SENSOR

__all__ = ["Paths", "common_columns", "find_files", "read_events", "scan_files"]

logger = logging.getLogger(__name__)

Paths = str | Path | Iterable[str | Path]

# Truth and identification: read where present.
OPTIONAL = tuple(name for name, branch in BRANCHES.items() if branch.width != SENSOR)


def find_files(paths: Paths) -> list[Path]:
    """Files behind names, globs (sorted) and directories (their ``*.root``, sorted), each once, in the order given.

    Raises:
        FileNotFoundError: One of ``paths`` stands for no file.
    """
    found: list[Path] = []
    for entry in [paths] if isinstance(paths, str | Path) else paths:
        path = Path(entry).expanduser()
        pattern = glob.escape(str(path)) + "/*.root" if path.is_dir() else str(path)
        # A file may have a name that reads as a pattern.
        matches = [path] if path.is_file() else [Path(match) for match in sorted(glob.glob(pattern, recursive=True))]
        if not matches:
            raise FileNotFoundError(f"no file matches {pattern!r}")
        found += matches
    if not found:
        raise FileNotFoundError("no input file given")
    return list(dict.fromkeys(found))


def scan_files(
    paths: Paths,
    columns: Sequence[str],
    config: ReaderConfig,
    num_sensors: int | None = None,
) -> list[FileScan]:
    """Look into every file once: entries, baskets, columns, fiducial events.

    Raises:
        FileNotFoundError: No such file.
        BadFileError: A bad file and ``on_bad_file`` is stop, or all files are bad.
        ValueError: A file lacks one of ``columns`` or belongs to a detector with another number of sensors.
    """
    unknown = [column for column in columns if column not in BRANCHES]
    if unknown:
        raise ValueError(f"unknown column {unknown[0]!r}; columns: {', '.join(BRANCHES)}")
    files = find_files(paths)
    scans = []
    for path in files:
        try:
            with TreeReader(path, config) as reader:
                scans.append(reader.scan(columns, num_sensors))
        except BadFileError as error:
            if config.on_bad_file == "stop":
                raise
            logger.warning("skipped %s", error)
    if not scans:
        raise BadFileError(f"none of {len(files)} files can be read: {files[0]}" + (", ..." if len(files) > 1 else ""))
    return scans


def common_columns(scans: Sequence[FileScan], names: Iterable[str] = OPTIONAL) -> tuple[str, ...]:
    """Those of ``names`` that every file has."""
    return tuple(name for name in names if all(name in scan.columns for scan in scans))


def read_events(
    paths: Paths,
    *,
    branches: Sequence[str] | None = None,
    start: int = 0,
    stop: int | None = None,
    num_sensors: int | None = None,
    config: ReaderConfig | None = None,
    **options: Any,
) -> EventArrays:
    """Read whole (small) files into memory.

    Args:
        paths: Files, globs, directories, or a list of these.
        branches: Columns, names of ``BRANCHES``; None reads npho, relative_time and every truth and identification that
            all files have.
        start: First entry, counted over all files before the fiducial cut.
        stop: Entry after the last one; None = all.
        num_sensors: Number of sensors that the files must have; None accepts any.
        config: Reader settings.
        **options: Single reader settings, e.g. ``npho_branch="relative_npho"`` or ``angle_unit="deg"``.

    Returns:
        The events in file order.

    Raises:
        As :func:`scan_files`; ValueError where no event is left.
    """
    config = ReaderConfig(**((config.model_dump(include=set(ReaderConfig.model_fields)) if config else {}) | options))
    scans = scan_files(paths, branches or FEATURES, config, num_sensors)
    columns = tuple(branches) if branches is not None else (*FEATURES, *common_columns(scans))
    parts, offset = [], 0
    for scan in scans:
        first = max(start - offset, 0)
        last = scan.num_entries if stop is None else min(scan.num_entries, stop - offset)
        offset += scan.num_entries
        if first < last:
            with TreeReader(scan.path, config) as reader:
                part = EventArrays(reader.read(columns, first, last))
            parts.append(part if scan.keep is None else part[scan.keep[first:last]])
    if not parts:
        raise ValueError(f"entries {start} to {stop} are outside the {offset} entries of {len(scans)} files")
    return EventArrays.concatenate(parts)
