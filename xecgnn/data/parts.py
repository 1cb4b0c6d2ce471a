"""A large output in numbered part files: an interrupted job goes on after the last complete one."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from xecgnn.data.events import Events
from xecgnn.data.writer import TreeWriter, write
from xecgnn.lock import Lock
from xecgnn.output import check_new, write_text
from xecgnn.schema import Schema

__all__ = ["PartFiles", "merged_before", "stored_events"]

MERGED = "merged.root"


class PartFiles:
    """The folder `<output>.parts` while a job runs. In its `with` block the job is the only one that writes there.

    A part has its name only when it is complete. When the block ends the folder is removed if the output is published
    or no part is complete; else it stays, and the same job finds its parts again. While parts are merged the disk holds
    the output twice.

    Args:
        output: The file to write in the end.
        job: What the parts depend on, as text by name; a job with other values may not go on with these parts.

    Raises:
        FileExistsError: The output exists (also later, when it is published).
        BlockingIOError: Another job is at work here.
        ValueError: One has left parts that depend on other values.
    """

    def __init__(self, output: Path, job: Mapping[str, str]) -> None:
        self.output, self.job = output, dict(job)
        self.folder = output.with_name(output.name + ".parts")
        self._lock = Lock(self.folder / "lock", output)

    def __enter__(self) -> PartFiles:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock.__enter__()
        try:
            check_new(self.output)
            self._check_job()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _check_job(self) -> None:
        record = self.folder / "job.json"
        if self.complete():
            before = json.loads(record.read_text(encoding="utf-8"))
            for name in before | self.job:
                was, now = before.get(name, "none"), self.job.get(name, "none")
                if was != now:
                    hint = "repeat the command as it was, or remove the folder to start again"
                    raise ValueError(f"{self.folder} was begun with {name} {was}, not {now}; {hint}")
        write_text(record, json.dumps(self.job, indent=1))

    def __exit__(self, *_: object) -> None:
        if not self.complete():
            shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.__exit__()

    def complete(self) -> list[Path]:
        """The parts that are done."""
        return sorted(self.folder.glob("part-*.root"))

    def _path(self, number: int) -> Path:
        return self.folder / f"part-{number:08d}.root"

    def done(self, number: int) -> bool:
        """Whether this part is complete."""
        return self._path(number).exists()

    def write(self, number: int) -> TreeWriter:
        """A writer for one part; it is read once, so it is packed quickly rather than well."""
        return TreeWriter(self._path(number), "lz4")

    def merge(self, notes: Mapping[str, str]) -> tuple[Path, int]:
        """All parts in one file, still inside the folder, with `notes` beside the tree; and its number of events."""
        merged = self.folder / MERGED
        parts = (events for part in self.complete() for events in stored_events(part))
        return merged, write(parts, merged, notes=notes)

    def publish(self, merged: Path) -> None:
        """Give the merged file the name of the output."""
        check_new(self.output)
        os.replace(merged, self.output)
        shutil.rmtree(self.folder, ignore_errors=True)


def merged_before(output: Path) -> bool:
    """Whether an interrupted job had all of an output, so that what is made of it may be there too."""
    return (output.with_name(output.name + ".parts") / MERGED).exists()


def stored_events(path: Path) -> Iterator[Events]:
    """All branches of a file as they are stored, a basket at a time."""
    return Events.stream(path, ["other"], schema=Schema())
