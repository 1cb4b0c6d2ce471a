"""From a list of names, globs and directories to checked files, and to the columns of blocks of their events."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from xecgnn.data.blocks import Block, cut_blocks
from xecgnn.data.config import ReaderConfig
from xecgnn.data.errors import BadFileError, listed, warn_once
from xecgnn.data.reader import FileScan, TreeReader
from xecgnn.names import FEATURES, SCHEMA
from xecgnn.output import check_local
from xecgnn.schema import KINDS, Schema

__all__ = ["Paths", "common_columns", "find_files", "read_blocks", "read_columns", "scan_files"]

SKIPPED = 1000  # at most so many events are left out for one damaged basket that holds fewer

Paths = str | Path | Iterable[str | Path]


def find_files(paths: Paths) -> list[Path]:
    """Files behind names, globs (sorted) and directories (their ``*.root``, sorted), each once, in the order given.

    Raises:
        FileNotFoundError: One of ``paths`` stands for no file.
    """
    found: list[Path] = []
    for entry in [paths] if isinstance(paths, str | Path) else paths:
        check_local(entry)
        path = Path(entry).expanduser()
        pattern = _as_pattern(path / "*.root" if path.is_dir() else path)
        matches = [path] if path.is_file() else [Path(match) for match in sorted(glob.glob(pattern, recursive=True))]
        if not matches:
            wanted = str(path / "*.root" if path.is_dir() else path)
            plain = f"no such file: {wanted}"
            raise FileNotFoundError(f"no file matches {wanted!r}" if glob.has_magic(wanted) else plain)
        found += matches
    if not found:
        raise FileNotFoundError("no input file given")
    return list(dict.fromkeys(found))


def _as_pattern(path: Path) -> str:
    """A glob, in which folders that are there mean themselves: the name of one may read as a pattern."""
    there = next(folder for folder in (*path.parents, path) if folder.exists())
    return str(Path(glob.escape(str(there)), path.relative_to(there)))


def scan_files(
    paths: Paths,
    columns: Sequence[str],
    config: ReaderConfig,
    num_sensors: int | None = None,
    schema: Schema = SCHEMA,
) -> list[FileScan]:
    """Look into every file once: entries, baskets, columns, fiducial events.

    Raises:
        FileNotFoundError: No such file.
        BadFileError: A bad file and ``on_bad_file`` is stop, or all files are bad.
        ValueError: A file lacks one of ``columns`` or belongs to a detector with another number of sensors.
    """
    files = find_files(paths)
    scans = []
    for path in files:
        try:
            with TreeReader(path, config, schema) as reader:
                scans.append(reader.scan(columns, num_sensors))
                if others := reader.not_read():
                    warn_once(f"{path}: holds another {config.tree!r} that is not read: {', '.join(others)}")
        except BadFileError as error:
            if config.on_bad_file == "stop":
                raise
            warn_once(f"skipped {error}")
    if not scans:
        raise BadFileError(f"none of {len(files)} files can be read: {files[0]}" + (", ..." if len(files) > 1 else ""))
    return scans


def common_columns(scans: Sequence[FileScan], names: Iterable[str]) -> tuple[str, ...]:
    """Those of ``names`` that every file has; a line in the log names those that only some have."""
    lacking = {name: [str(scan.path) for scan in scans if name not in scan.columns] for name in names}
    if some := [name for name, paths in lacking.items() if 0 < len(paths) < len(scans)]:
        without = listed(dict.fromkeys(path for name in some for path in lacking[name]), 3)
        warn_once(f"{listed(some)}: left out, for not all of {len(scans)} files have it; it lacks in {without}")
    return tuple(name for name, paths in lacking.items() if not paths)


def read_blocks(
    files: Sequence[FileScan],
    blocks: Iterable[Block],
    columns: Sequence[str],
    config: ReaderConfig,
    schema: Schema = SCHEMA,
) -> Iterator[dict[str, np.ndarray]]:
    """Columns of each block after the cuts, perhaps without events; a bad block may be skipped, as a bad file may."""
    for number, some in groupby(blocks, key=lambda block: block.file):
        file = files[number]
        with TreeReader(file.path, config, schema) as reader:
            for block in some:
                try:
                    values = reader.read(columns, block.start, block.stop)
                except BadFileError as error:
                    if config.on_bad_file == "stop":
                        raise
                    warn_once(f"skipped {error}")
                    continue
                keep = None if file.keep is None else file.keep[block.start : block.stop]
                yield values if keep is None else {name: array[keep] for name, array in values.items()}


def read_columns(
    paths: Paths,
    columns: Sequence[str] | None,
    chunk: int,
    start: int,
    stop: int | None,
    num_sensors: int | None,
    config: ReaderConfig | None,
    schema: Schema,
    **options: Any,
) -> Iterator[dict[str, np.ndarray]]:
    """What :meth:`Events.read` and :meth:`Events.stream` read: blocks of about ``chunk`` events, cut at baskets."""
    config = ReaderConfig(**((config.model_dump(include=set(ReaderConfig.model_fields)) if config else {}) | options))
    named = FEATURES if columns is None else tuple(name for name in columns if name not in KINDS)
    files = scan_files(paths, named, config, num_sensors, schema)
    kinds = ("truth", "identifier") if columns is None else columns
    found = dict.fromkeys(name for file in files for name in file.columns if schema[name].kind in kinds)
    names = dict.fromkeys((*named, *common_columns(files, found)))
    if not names:
        raise ValueError(f"{files[0].path}: no column is {' or '.join(kinds)}; columns: {listed(files[0].columns)}")
    if config.on_bad_file == "skip":
        chunk = min(chunk, SKIPPED)
    for file in files if "other" in kinds else ():
        if file.left_out:
            warn_once(f"{file.path}: left out, as no flat arrays of numbers: {listed(file.left_out)}")
    blocks: list[Block] = []
    total = 0
    for number, file in enumerate(files):
        last = file.num_entries if stop is None else min(file.num_entries, stop - total)
        edges = np.unique(file.baskets.clip(max(start - total, 0), max(last, 0)))
        blocks += cut_blocks(number, edges, chunk) if edges[0] < last else []
        total += file.num_entries
    if not blocks:
        raise ValueError(f"entries {start} to {stop} are outside the {total} entries of {len(files)} files")
    return read_blocks(files, blocks, tuple(names), config, schema)
