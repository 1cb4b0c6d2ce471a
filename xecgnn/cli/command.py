"""A command line from a settings class: every field is an option, and a YAML file may come first."""

from __future__ import annotations

import argparse
import difflib
import functools
import json
import logging
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pydantic_settings import CliSettingsSource, SettingsError

import xecgnn
from xecgnn.plugins import load_plugins, loaded_paths
from xecgnn.provenance import commit
from xecgnn.settings import Settings, flattened, overridden, read_yaml, to_yaml, validated
from xecgnn.signals import Ended, handled

__all__ = ["ALIASES", "command", "parse_command"]

ConfigT = TypeVar("ConfigT", bound=Settings)

PACKAGE = Path(xecgnn.__file__).parent
FAULT, MISTAKE, SIGNALLED = 1, 2, 128  # exit codes: our fault, the user's; what a signal's number is added to
NEGATIVE = re.compile(r"-\.?\d")  # begins a number: argparse takes -1e-1 for an option

# The short flags of the seeds' parameter table: settings path -> flag.
ALIASES = {
    "data.train_path": "train_path",
    "data.val_path": "val_path",
    "data.test_path": "test_path",
    "data.batch_size": "batch",
    "data.chunksize": "chunksize",
    "training.epochs": "epochs",
    "training.lr": "lr",
    "training.weight_decay": "weight_decay",
    "training.warmup_epochs": "warmup_epochs",
    "training.ema_decay": "ema_decay",
    "training.grad_clip": "grad_clip",
    "normalization.npho_scale": "npho_scale",
    "normalization.npho_scale2": "npho_scale2",
    "normalization.time_scale": "time_scale",
    "normalization.time_shift": "time_shift",
    "normalization.sentinel_value": "sentinel_value",
    "model.outer_mode": "outer_mode",
    "checkpoint.resume_from": "resume_from",
    "checkpoint.init_from": "init_from",
    "masking.mask_ratio": "mask_ratio",
}


class _Parser(argparse.ArgumentParser):
    """argparse with a one-line error that suggests the nearest option."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._negative_number_matcher = NEGATIVE

    def error(self, message: str) -> NoReturn:
        unknown = message.removeprefix("unrecognized arguments: ").split()
        if message.startswith("unrecognized arguments") and unknown[0].startswith("-"):
            near = difflib.get_close_matches(unknown[0].split("=")[0], self._option_string_actions, n=1)
            message = f"unknown option {unknown[0]}; " + (
                f"did you mean {near[0]}?" if near else "--help lists all options"
            )
        self.exit(2, f"{self.prog}: {message}\n")


class _Help(argparse.HelpFormatter):
    """Wide, and one word for the value of an option."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=44, width=120)

    def _format_args(self, action: argparse.Action, default_metavar: str) -> str:
        return str(action.metavar or default_metavar)


def command(
    cls: type[ConfigT], *, prog: str, description: str, usage: str = "[options]", config: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., None]]:
    """Makes a function of settings the entry point of a command, `main(argv=None)`; arguments as `parse_command`.

    With `config`, the function takes the settings and the name of their file without ending. How it ends: `_ending`.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., None]:
        @functools.wraps(function)
        def main(argv: Sequence[str] | None = None) -> None:
            logging.basicConfig(format="%(message)s")
            logging.getLogger("xecgnn").setLevel(logging.INFO)
            arguments = list(sys.argv[1:] if argv is None else argv)
            with _ending(debug="--debug" in arguments):
                settings, path = parse_command(
                    cls, arguments, prog=prog, description=description, usage=usage, config=config
                )
                function(settings, *([Path(path).stem] if path else []))

        return main

    return decorate


@contextmanager
def _ending(debug: bool) -> Iterator[None]:
    """The one place where exceptions become lines on stderr and exit codes.

    2: a mistake of the user, in plain words; 1: a fault of ours, which says so; 128 and its number: a signal. With
    `debug` exceptions are shown as Python does.
    """
    try:
        with handled():
            yield
    except BrokenPipeError:  # of `| head`: nobody reads any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(MISTAKE)
    except KeyboardInterrupt as stop:
        if debug:
            raise
        number = stop.number if isinstance(stop, Ended) else signal.SIGINT
        sys.stderr.write(f"ended by {signal.Signals(number).name}\n")
        sys.exit(SIGNALLED + number)
    except Exception as error:
        if debug:
            raise
        text, code = _explain(error)
        sys.stderr.write(f"error: {text}\n")
        sys.exit(code)


def _explain(error: Exception) -> tuple[str, int]:
    """An exception in words, and the exit code.

    Ours are raised for mistakes of the user, as are those of the operating system; whatever else escapes is our fault.
    """
    stack = traceback.extract_tb(error.__traceback__)
    place = stack[-1]
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror, MISTAKE
    if type(error).__name__ in ("MemoryError", "OutOfMemoryError"):
        return "out of memory; choose smaller batches, or see that less runs beside this", MISTAKE
    text = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
    if isinstance(error, (ValueError, KeyError, OSError)) and Path(place.filename).is_relative_to(PACKAGE):
        return text, MISTAKE
    last = (text.strip().splitlines() or [""])[-1]
    for frame in reversed(stack):
        if frame.filename in loaded_paths():
            return f"{frame.filename}, line {frame.lineno}: {type(error).__name__}: {last}", MISTAKE
    said = f"{type(error).__name__}: {last} ({place.filename}, line {place.lineno})"
    ours = f"this is a fault of xecgnn {xecgnn.__version__}: please report it, with the command and what --debug shows"
    return f"{said}; {ours}", FAULT


def parse_command(
    cls: type[ConfigT],
    argv: Sequence[str] | None,
    *,
    prog: str,
    description: str,
    usage: str = "[options]",
    config: bool = False,
) -> tuple[ConfigT, str | None]:
    """Parse a command line into settings.

    Args:
        cls: settings class; nested fields become options such as `--training.lr`.
        argv: arguments without the program name (None: those of the process).
        usage: what follows the program's name in the first line of the help.
        config: whether a YAML file is the first argument; options win over its values, and are settings paths with a
            value (`--logging.mlflow false`), else flags (`--all-branches`).

    Returns:
        The settings, and the path of the YAML file if there is one.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    usage = f"{prog} {'CONFIG [options]' if config else usage}"
    epilog = "--tasks TASK ... enables exactly these tasks." if config and "tasks" in cls.model_fields else None
    parser = _Parser(
        prog, usage, description, epilog, formatter_class=_Help, allow_abbrev=False, conflict_handler="resolve"
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    version = f"{prog}: xecgnn {xecgnn.__version__} {commit()}".strip() if "--version" in arguments else ""
    parser.add_argument("--version", action="version", version=version, help="print version and commit, and exit")
    file: dict[str, Any] = {}
    if config:
        if not arguments or (arguments[0].startswith("-") and not {"-h", "--help", "--version"} & set(arguments)):
            parser.error("the config file comes first: " + usage)
        file = {} if arguments[0].startswith("-") else read_yaml(arguments[0])
        parser.add_argument("config", help="YAML file with the settings that differ from the defaults")
        parser.add_argument("--print-config", action="store_true", help="print the resolved settings and exit")
    plugins = _load_plugins(cls, arguments, file)
    source: CliSettingsSource[_Parser] = CliSettingsSource(
        cls,  # type: ignore[arg-type]
        root_parser=parser,
        add_argument_method=_add_option,
        cli_hide_none_type=True,
        cli_avoid_json=True,
        cli_parse_none_str="null",
        cli_shortcuts={path: flag for path, flag in ALIASES.items() if path.split(".")[0] in cls.model_fields},
        cli_kebab_case=not config,
        cli_implicit_flags=not config,
    )
    if epilog:
        parser.add_argument("--tasks", nargs="+", help=argparse.SUPPRESS)
    given = vars(parser.parse_args(arguments))
    del given["debug"]
    if not config:
        return validated(cls, _values(source, given, parser) | plugins), None
    path, show, tasks = (given.pop(name, None) for name in ("config", "print_config", "tasks"))
    values = _switches(cls, tasks, parser) | flattened(_values(source, given, parser)) | plugins
    settings = validated(cls, overridden(file, values))
    if show:
        sys.stdout.write(to_yaml(settings.model_dump(mode="json")))
        raise SystemExit(0)
    return settings, path


def _values(source: CliSettingsSource[_Parser], given: dict[str, Any], parser: _Parser) -> dict[str, Any]:
    try:
        return source(parsed_args=given)()
    except SettingsError as error:  # brackets and quotes in one; it names the field, or the section of the field
        name = str(error).split('"')[1]
        typed = next((key for key in given if key == name or (key.startswith(f"{name}.") and given[key])), name)
        parser.error(f"--{typed}: a list that cannot be read; give its values one after the other, without brackets")


def _load_plugins(cls: type[Settings], arguments: list[str], file: dict[str, Any]) -> dict[str, Any]:
    """Import the plugins of the command line or else of the file: they come first, for they add options."""
    if "plugins" not in cls.model_fields:
        return {}
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--plugins", nargs="*", default=file.get("plugins") or [])
    named = parser.parse_known_args(arguments)[0].plugins
    return {"plugins": load_plugins(named)} if named else {}


def _add_option(group: argparse._ActionsContainer, *names: str, **options: Any) -> None:
    """Lists take several values, so that a shell glob works; `--dead_channels` is as good as `--dead-channels`."""
    if options.get("action") == "append":
        options |= {"action": "extend", "nargs": "+"}
        if "list[str]" in str(options.get("metavar")):
            options["type"] = _verbatim
    action = group.add_argument(*names, **options)
    for name in action.option_strings:
        group._option_string_actions["--" + name[2:].replace("-", "_")] = action


def _verbatim(text: str) -> str:
    """A name with commas or brackets, which would be read as several, or as JSON."""
    return json.dumps(text, ensure_ascii=False) if set(text) & set(",[]{}") or text != text.strip() else text


def _switches(cls: type[Settings], tasks: Sequence[str] | None, parser: _Parser) -> dict[str, Any]:
    """`--tasks angle energy` as settings: each task on or off."""
    known = getattr(cls.model_fields.get("tasks"), "annotation", Settings).model_fields if tasks else ()
    for name in tasks or ():
        if name not in known:
            parser.error(f"--tasks: unknown task {name!r}; known tasks: {', '.join(known)}")
    return {f"tasks.{name}.enabled": name in (tasks or ()) for name in known}
