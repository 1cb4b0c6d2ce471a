"""Small random damage to bytes and to lines of text; each says what it did."""

from __future__ import annotations

import numpy as np

__all__ = ["mutated_bytes", "mutated_text"]

STRETCH = 64  # bytes that a larger damage hits
WORDS = [
    "no", "yes", "None", "null", "1e-3", "2026_11_25", "1_000", "010", "0x1F", "1:30", "2026-11-27", "[", "{}", "*a",
    "&a", "<<: {}", "!!python/object:os.system x", "~", "-1", "1e400", ".nan", "'", "#", "|",
]  # fmt: skip


def mutated_bytes(content: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    """The content with one piece of damage, such as disks, copies and killed writers leave; and what it is."""
    at = int(rng.integers(len(content)))
    end = min(at + int(rng.integers(1, STRETCH)), len(content))
    how = str(rng.choice(["bit", "byte", "zeros", "noise", "cut", "drop", "repeat"]))
    piece = content[at:end]
    if how == "bit":
        changed = bytes([content[at] ^ 1 << int(rng.integers(8))]) + content[at + 1 :]
    elif how == "byte":
        changed = rng.bytes(1) + content[at + 1 :]
    elif how == "zeros":
        changed = bytes(len(piece)) + content[end:]
    elif how == "noise":
        changed = rng.bytes(len(piece)) + content[end:]
    else:
        changed = {"cut": b"", "drop": content[end:], "repeat": piece + content[at:]}[how]
    return content[:at] + changed, f"{how} at {at} of {len(content)}"


def mutated_text(content: str, rng: np.random.Generator) -> tuple[str, str]:
    """The text with one line, word or character changed, as a tired hand does; and what was done."""
    lines = content.splitlines()
    at, other = (int(rng.integers(len(lines))) for _ in range(2))
    how = str(rng.choice(["repeat line", "drop line", "indent", "tab", "character", "drop character", "word", "swap"]))
    line = lines[at]
    place = int(rng.integers(max(len(line), 1)))
    if how == "repeat line":
        lines.insert(other, line)
    elif how == "drop line":
        del lines[at]
    elif how == "swap":
        lines[at], lines[other] = lines[other], line
    elif how == "word":
        lines[at] = line.partition(":")[0] + ": " + str(rng.choice(WORDS))
    elif how == "indent":
        lines[at] = " " * int(rng.integers(1, 5)) + line
    elif how == "tab":
        lines[at] = line[:place] + "\t" + line[place:]
    else:
        new = chr(int(rng.integers(32, 127))) if how == "character" else ""
        lines[at] = line[:place] + new + line[place + 1 :]
    return "\n".join(lines) + "\n", f"{how} in line {at + 1} ({lines[min(at, len(lines) - 1)].strip()!r})"
