"""A command line from a settings class: every field is an option, and a YAML file may come first."""

from __future__ import annotations

import argparse
import difflib
import functools
import logging
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NoReturn, TypeVar, get_origin

import yaml
from pydantic import BaseModel
from pydantic_settings import BaseSettings, CliSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from xecgnn.settings import ConfigError, Settings, read_yaml, validated

__all__ = ["ALIASES", "INTERRUPTED", "command", "parse_command", "run_command"]

ConfigT = TypeVar("ConfigT", bound=Settings)

INTERRUPTED = 130  # exit code after Ctrl-C: 128 + SIGINT

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

    def error(self, message: str) -> NoReturn:
        unknown = message.removeprefix("unrecognized arguments: ").split()
        if message.startswith("unrecognized arguments") and unknown[0].startswith("-"):
            near = difflib.get_close_matches(unknown[0].split("=")[0], self._option_string_actions, n=1)
            message = f"unknown option {unknown[0]}; " + (
                f"did you mean {near[0]}?" if near else "--help lists all options"
            )
        self.exit(2, f"{self.prog}: {message}\n")


def command(
    cls: type[ConfigT], *, prog: str, description: str, usage: str = "[options]"
) -> Callable[[Callable[[ConfigT], Any]], Callable[..., None]]:
    """Makes a function of settings the entry point of a command, `main(argv=None)`; arguments as `parse_command`."""

    def decorate(function: Callable[[ConfigT], Any]) -> Callable[..., None]:
        @functools.wraps(function)
        def main(argv: Sequence[str] | None = None) -> None:
            parse = functools.partial(parse_command, cls, argv, prog=prog, description=description, usage=usage)
            run_command(lambda: function(parse()[0]))

        return main

    return decorate


def parse_command(
    cls: type[ConfigT],
    argv: Sequence[str] | None,
    *,
    prog: str,
    description: str,
    config: bool = False,
    usage: str = "[options]",
) -> tuple[ConfigT, str | None]:
    """Parse a command line into settings.

    Args:
        cls: settings class; nested fields become options such as `--training.lr`.
        argv: arguments without the program name (None: those of the process).
        config: whether a YAML file is the first argument; options win over its values.
        usage: what follows the program's name in the first line of the help.

    Returns:
        The settings, and the path of the YAML file if there is one.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    epilog = "--tasks TASK ... enables exactly these tasks." if "tasks" in cls.model_fields else None
    usage = f"{prog} CONFIG [options]" if config else f"{prog} {usage}"
    if not config:
        arguments = [_with_dashes(argument) for argument in arguments]
    parser = _Parser(prog, usage, description, epilog, allow_abbrev=False, formatter_class=_help_width)
    if config:
        parser.add_argument("config", help="YAML file with the settings that differ from the defaults")
        parser.add_argument("--print-config", action="store_true", help="print the resolved settings and exit")
        if "tasks" in cls.model_fields:
            arguments = _expand_tasks(cls, arguments, parser)
    path = arguments[0] if config and arguments and not arguments[0].startswith("-") else None
    if config and path is None and not {"-h", "--help"} & set(arguments):
        parser.error("the config file comes first: " + usage)
    show = config and "--print-config" in arguments
    values = read_yaml(path) if path else {}
    single = set() if config else {f"--{name}".replace("_", "-") for name in _single_values(cls)}
    command = _command_class(cls, parser, _repeat_values(arguments, single), paths=config)
    settings = validated(cls, validated(command, values).model_dump(exclude_unset=True))
    if show:
        sys.stdout.write(yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False))
        raise SystemExit(0)
    return settings, path


def run_command(main: Callable[[], Any]) -> None:
    """Call `main`; mistakes of the user end in one line on stderr and exit code 2, Ctrl-C in exit code 130."""
    logging.basicConfig(format="%(message)s")
    logging.getLogger("xecgnn").setLevel(logging.INFO)
    try:
        main()
    except (ConfigError, ValueError, KeyError, OSError) as error:
        text = error.args[0] if isinstance(error, KeyError) and error.args else error
        sys.stderr.write(f"error: {text}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _help_width(prog: str) -> argparse.HelpFormatter:
    return argparse.HelpFormatter(prog, max_help_position=44, width=120)


def _command_class(cls: type[ConfigT], parser: _Parser, arguments: list[str], paths: bool) -> type[ConfigT]:
    """`cls` whose values come from the options first and from the keyword arguments second.

    With `paths`, options are settings paths with a value (`--logging.mlflow false`), else flags (`--all-branches`).
    """

    class Command(BaseSettings, cls):  # type: ignore[valid-type, misc]
        model_config = SettingsConfigDict(
            extra="forbid",
            cli_parse_none_str="null",
            cli_shortcuts={path: flag for path, flag in ALIASES.items() if path.split(".")[0] in cls.model_fields},
            cli_kebab_case=not paths,
            cli_implicit_flags=not paths,
            nested_model_default_partial_update=True,
        )

        @classmethod
        def settings_customise_sources(
            cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: Any, **__: Any
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            options: CliSettingsSource = CliSettingsSource(
                settings_cls, root_parser=parser, cli_parse_args=arguments, cli_hide_none_type=True, cli_avoid_json=True
            )
            return (options, init_settings)

    return Command


def _with_dashes(argument: str) -> str:
    """`--dead_channels` is as good as `--dead-channels`."""
    option, equals, value = argument.partition("=")
    return option.replace("_", "-") + equals + value if option.startswith("--") else argument


def _single_values(cls: type[BaseModel]) -> list[str]:
    """Fields that are no lists."""
    return [name for name, field in cls.model_fields.items() if get_origin(field.annotation) is not list]


def _repeat_values(arguments: Iterable[str], single: Collection[str] = ()) -> list[str]:
    """`--path a b` -> `--path a --path b`, so that a shell glob works for a list; what follows the value of a `single`
    option is a positional argument.
    """
    repeated: list[str] = []
    option, values = "", 0
    for argument in arguments:
        is_option = argument.startswith("--")
        if is_option:
            option, values = argument, 0
        elif option and "=" not in option and option not in single:
            values += 1
            if values > 1:
                repeated.append(option)
        repeated.append(argument)
    return repeated


def _expand_tasks(cls: type[BaseModel], arguments: list[str], parser: _Parser) -> list[str]:
    """`--tasks angle energy` -> one `--tasks.NAME.enabled` option for each task."""
    arguments = [part for a in arguments for part in (a.split("=", 1) if a.startswith("--tasks=") else [a])]
    if "--tasks" not in arguments:
        return arguments
    start = arguments.index("--tasks")
    stop = next((i for i in range(start + 1, len(arguments)) if arguments[i].startswith("--")), len(arguments))
    wanted = arguments[start + 1 : stop]
    group: Mapping[str, Any] = cls.model_fields["tasks"].annotation.model_fields  # type: ignore[union-attr]
    for name in wanted or ["(none)"]:
        if name not in group:
            parser.error(f"--tasks: unknown task {name!r}; known tasks: {', '.join(group)}")
    switches = [part for name in group for part in (f"--tasks.{name}.enabled", str(name in wanted).lower())]
    return arguments[:start] + switches + arguments[stop:]
