"""The hash at the end of a model file: the last entry of its metadata, over all bytes before it.

Protobuf takes fields in any order, so that every program reads the file as before and finds `sha256` among the texts.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

__all__ = ["SEAL", "is_sealed", "seal"]

SEAL = "sha256"
# ModelProto.metadata_props, 74 bytes of (key, value); its value of 64 characters follows.
HEAD = b"\x72\x4a\x0a\x06" + SEAL.encode() + b"\x12\x40"
LENGTH = len(HEAD) + 64


def seal(path: Path) -> None:
    """Add the hash to a file without one."""
    with path.open("rb+") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.write(HEAD + digest.encode())


def is_sealed(path: Path) -> bool:
    """Whether a file ends with a hash.

    Raises:
        ValueError: the hash is that of other bytes.
    """
    content = memoryview(path.read_bytes())
    body, end = content[:-LENGTH], bytes(content[-LENGTH:])
    if not end.startswith(HEAD):
        return False
    if hashlib.sha256(body).hexdigest().encode() != end[len(HEAD) :]:
        raise ValueError(f"{path}: damaged or changed, it has another SHA-256 than when it was written")
    return True
