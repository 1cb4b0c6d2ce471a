"""What came of one try with a damaged input, run in a fork of this (warmed) interpreter."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple, NoReturn, get_args

__all__ = ["BAD", "KINDS", "Kind", "Outcome", "classify"]

# clean: a short error in plain words; right: as with the intact input; long: an error of many lines; wrong: no word,
# but something else than with the intact input; lost: what was there before is not there any more.
Kind = Literal["clean", "right", "traceback", "hang", "long", "wrong", "lost"]
KINDS: tuple[Kind, ...] = get_args(Kind)
BAD = KINDS[2:]

LIMIT = 60.0  # seconds until a try counts as hanging
LINES, CHARACTERS = 3, 1000  # of an error that is read to its end


class Outcome(NamedTuple):
    """One try: what was done (`checkpoint: resume`), what came of it, how to do it again, and what was said."""

    what: str
    kind: Kind
    case: str = ""
    text: str = ""


def classify(run: Callable[[], object], intact: object, limit: float = LIMIT) -> tuple[Kind, str]:
    """Run in a fork: its class, and what it said.

    Args:
        run: does something with the damaged input and returns what can be pickled and compared. An error of the user
            is a ValueError, an OSError, or SystemExit with an exit code beside 0, as commands end.
        intact: what `run` returns for the input as it was.
        limit: seconds.
    """
    with TemporaryDirectory() as folder:
        said, answer = Path(folder) / "said", Path(folder) / "answer"
        sys.stdout.flush()
        sys.stderr.flush()
        child = os.fork()
        if not child:
            _child(run, said, answer)
        status = _wait(child, limit)
        text = said.read_text(errors="replace").strip() if said.exists() else ""
        if status is None:
            return "hang", text
        if not answer.exists():
            signalled = os.WIFSIGNALED(status)
            return "traceback", f"killed by signal {os.WTERMSIG(status)}" if signalled else f"process gone; {text}"
        ended, value = pickle.loads(answer.read_bytes())
    if ended == "error":
        text = f"{text}\n{value}".strip() if value else text
        short = text.count("\n") < LINES and len(text) < CHARACTERS
        return ("traceback" if "Traceback" in text else "clean" if short else "long"), text
    if ended == "traceback":
        return "traceback", value
    return ("right" if value == intact else "wrong"), text


def _child(run: Callable[[], object], said: Path, answer: Path) -> NoReturn:
    """The forked process: never returns to the caller's code."""
    os.setpgid(0, 0)  # its own group, to be killed with all that it starts
    file = os.open(said, os.O_CREAT | os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(file, stream)
    found: tuple[str, Any]
    try:
        found = "value", run()
    except SystemExit as stop:
        found = ("error", stop.code if isinstance(stop.code, str) else "") if stop.code else ("value", None)
    except (ValueError, OSError) as error:
        found = "error", str(error)
    except BaseException:
        found = "traceback", traceback.format_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    answer.with_suffix(".part").write_bytes(pickle.dumps(found))
    answer.with_suffix(".part").rename(answer)
    os._exit(0)


def _wait(child: int, limit: float) -> int | None:
    """The exit status of a process; None where it had to be killed."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        time.sleep(0.002)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None
