"""What made a file, and whether it still is what was made: hashes, and where, when and by what a command ran."""

from __future__ import annotations

import hashlib
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import xecgnn

__all__ = ["commit", "content_hash", "file_hash", "made_by", "source"]

ROOT = Path(__file__).parents[1]
MB = 2**20
LIBRARIES = ("torch", "torch_geometric", "lightning", "numpy", "uproot", "onnxruntime")  # where they are used


@cache
def commit(*changes: str) -> str:
    """The commit of this code at the first call, with "+changes" where files were edited since; "" without git.

    Args:
        changes: paths, from the root of the checkout, that count as edited; none: the package.
    """

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    try:
        if not (ROOT / ".git").exists():  # installed, perhaps inside a checkout of something else
            return ""
        changed = git("status", "--porcelain", "--", *(changes or ["xecgnn"]))
        return git("rev-parse", "--short=12", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def made_by() -> dict[str, str]:
    """What runs in this process, as texts by name: command line and folder, code, libraries, host, date."""
    versions = {"xecgnn": xecgnn.__version__, "commit": commit(), "Python": platform.python_version()}
    versions |= {name: sys.modules[name].__version__ for name in LIBRARIES if name in sys.modules}
    return {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "folder": str(Path.cwd()),
        "host": platform.node(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": ", ".join(f"{name} {text}" for name, text in versions.items() if text),
    }


def file_hash(path: Path) -> str:
    """SHA-256 of a file (hex), as `sha256sum` prints it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def source(path: Path, events: int) -> dict[str, str | int]:
    """A file of data: where it lies, its events, and SHA-256 of its first and last MB, or of all where that is less."""
    with path.open("rb") as file:
        digest = hashlib.sha256(file.read(MB))
        file.seek(max(path.stat().st_size - MB, file.tell()))
        digest.update(file.read())
    return {"file": str(path.absolute()), "events": events, "sha256": digest.hexdigest()}


def content_hash(value: Any) -> str:
    """SHA-256 (hex) of nested mappings and sequences of tensors and plain values: of all that is in them, in order."""
    import torch

    digest, todo = hashlib.sha256(), [value]
    while todo:
        item = todo.pop()
        if isinstance(item, Mapping):
            item = [*item.items()]
        if isinstance(item, list | tuple):
            digest.update(f"[{len(item)}]".encode())
            todo += item
        elif isinstance(item, torch.Tensor):
            digest.update(f"{item.dtype} {tuple(item.shape)};".encode())
            digest.update(item.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        else:
            digest.update(f"{item!r};".encode())
    return digest.hexdigest()
