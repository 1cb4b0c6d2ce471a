"""Settings classes: typed, strict, each field with the text that `--help` prints; and the YAML that fills them."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError, field_validator
from yaml.constructor import ConstructorError

__all__ = [
    "AnyPath", "ConfigError", "Paths", "Settings", "expanded", "flattened", "overridden", "parse_yaml", "read_yaml",
    "to_yaml", "validated",
]  # fmt: skip

ModelT = TypeVar("ModelT", bound=BaseModel)

SHOWN = 4  # mistakes that are told at once


def expanded(path: Any) -> Any:
    """A path with the home folder for `~` and the values of `$VARIABLES`; what is no path stays as it is.

    Raises:
        ValueError: a variable is not set, and there is no file of that name.
    """
    if not isinstance(path, str | Path):
        return path
    head, mark, name = str(path).rpartition(":///")  # of a URI
    text = head + mark + os.path.expandvars(os.path.expanduser(name))
    unset = re.search(r"\$\{?(\w+)", text)
    if unset and not os.path.exists(text):
        raise ValueError(f"{path}: there is no variable {unset[1]} in the environment")
    return type(path)(text)


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


AnyPath = Annotated[str, AfterValidator(expanded)]  # a path, a glob, a name or a URI, as text
Paths = Annotated[list[AnyPath], BeforeValidator(_as_list)]


class Settings(BaseModel):
    """A group of settings. Unknown keys and wrong types are errors; assignments are validated like the constructor."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True, validate_default=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _expanded(cls, value: object) -> object:
        """Paths are those of the user's shell, wherever they are written; `AnyPath` is for those that are text."""
        if isinstance(value, list):
            return [expanded(item) if isinstance(item, Path) else item for item in value]
        return expanded(value) if isinstance(value, Path) else value


class ConfigError(ValueError):
    """Settings that cannot be used; the text has one line per problem."""


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file; where there is no such file, the shipped config of that name."""
    source = Path(expanded(path))
    if not source.is_file() and source.parent not in (Path(), Path("configs")):
        raise FileNotFoundError(f"config {str(path)!r} not found")
    if not source.is_file():
        shipped = files("xecgnn") / "configs"
        source = Path(str(shipped / f"{source.stem}.yaml"))
        if not source.is_file():
            known = sorted(p.name for p in Path(str(shipped)).glob("*.yaml"))
            raise FileNotFoundError(f"config {str(path)!r} not found; shipped configs: {', '.join(known)}")
    return parse_yaml(source.read_bytes(), path)


def parse_yaml(text: str | bytes, source: str | Path) -> dict[str, Any]:
    """The mapping in the text of a YAML file, whose values are what YAML 1.2 says; see `Loader`.

    Raises:
        ConfigError: one line, which begins with `source`.
    """
    try:
        values = yaml.load(text.decode("utf-8-sig") if isinstance(text, bytes) else text, Loader)  # a SafeLoader
    except (yaml.YAMLError, ValueError, LookupError, TypeError, RecursionError) as error:
        said = " ".join(str(error).replace('in "<unicode string>", ', "").split())
        raise ConfigError(f"{source}: cannot be read as YAML: {said}") from None
    if not isinstance(values, dict | None):
        raise ConfigError(f"{source}: expected a mapping of settings, found {type(values).__name__}")
    return values or {}


def to_yaml(values: Mapping[str, Any]) -> str:
    """Text that `parse_yaml` reads back."""
    return yaml.dump(values, Dumper=Dumper, sort_keys=False)


class Loader(yaml.SafeLoader):
    """YAML as it is written: a key twice is an error, keys are text, and plain words have the types of YAML 1.2.

    YAML 1.1, as PyYAML reads it, has it that no is false, 2026_11_25 a number, 1:30 is 90, 010 is 8, 1e-3 a text. Here
    they are text, text, text, 10 and 0.001; None, which Python writes where YAML has null, is refused.
    """

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.deep_construct = True  # what contains itself is an error
        self._merged: set[int] = set()

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merge the keys of others into a mapping, whose own win."""
        if id(node) in self._merged:
            return
        self._merged.add(id(node))
        names = [key.value for key, _ in node.value]
        for key, _ in node.value:
            plain = isinstance(key, yaml.ScalarNode)
            if not plain or names.count(key.value) > 1:
                what = f"{key.value!r} is there more than once" if plain else "a key that is no text"
                raise ConstructorError(None, None, what, key.start_mark)
            key.tag = TEXT if key.tag != MERGE else MERGE
        super().flatten_mapping(node)

    def construct_none(self, node: yaml.Node) -> None:
        """Of the text None."""
        raise ConstructorError(None, None, "None is no value: write null, or 'None' for the text", node.start_mark)

    def construct_int(self, node: yaml.ScalarNode) -> int:
        """0x and 0o have their base; a zero at the beginning means nothing."""
        text = self.construct_scalar(node)
        return int(text, {"0x": 16, "0o": 8}.get(text[:2], 10))


class Dumper(yaml.SafeDumper):
    """Writes texts that would be read as something else in quotes."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012


FLOAT = r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
TEXT, MERGE, NONE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge", "!None"
for tag, words, first in (
    ("tag:yaml.org,2002:bool", "true|True|TRUE|false|False|FALSE", "tTfF"),
    ("tag:yaml.org,2002:int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("tag:yaml.org,2002:float", FLOAT, "-+.0123456789"),
    ("tag:yaml.org,2002:null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
    (MERGE, "<<", "<"),
    (NONE, "None", "N"),
):  # fmt: skip
    for kind in (Loader, Dumper):
        kind.add_implicit_resolver(tag, re.compile(f"^(?:{words})$"), list(first))
Loader.add_constructor("tag:yaml.org,2002:int", Loader.construct_int)
Loader.add_constructor(NONE, Loader.construct_none)


def validated(cls: type[ModelT], values: Mapping[str, Any], source: str = "") -> ModelT:
    """`cls(**values)`, with a line per mistake; or with one line that begins with the `source` of the values."""
    try:
        return cls.model_validate(values)
    except ValidationError as error:
        problems = [_explain(cls, values, problem) for problem in error.errors()]
        problems[SHOWN:] = [f"... and {len(problems) - SHOWN} more"] * (len(problems) > SHOWN)
        raise ConfigError(f"{source}: {'; '.join(problems)}" if source else "\n".join(problems)) from None


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted names: {"training.lr": 0.0003}."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        section = isinstance(value, Mapping) and value
        flat |= flattened(value, f"{prefix}{key}.") if section else {f"{prefix}{key}": value}
    return flat


def overridden(values: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Nested `values` with those of `overrides` in their places, whose keys are dotted names.

    Raises:
        ConfigError: an override lies inside of what is no section.
    """
    result = dict(values)
    for key, value in overrides.items():
        name, _, rest = key.partition(".")
        if rest:
            section = result.get(name) or {}  # an empty section of a file is None
            if not isinstance(section, Mapping):
                raise ConfigError(f"{name}: expected a section, found {section!r}")
            value = overridden(section, {rest: value})
        result[name] = value
    return result


def _explain(cls: type[BaseModel], values: Any, problem: Mapping[str, Any]) -> str:
    """One line for one validation error: key, what was found, what is allowed."""
    *sections, last = problem["loc"] or [""]
    location, models = [], [cls]
    for part in sections:
        fields = [model.model_fields[part] for model in models if part in model.model_fields]
        models = [found for field in fields for found in _models_in(field.annotation)] or models
        if not isinstance(values, Mapping) or part in values:  # else the kind of an entry, which pydantic inserts
            location.append(part)
            values = values[part] if isinstance(values, Mapping) else None
    key = ".".join(map(str, [*location, last]))
    if problem["type"] == "extra_forbidden":
        known = list(dict.fromkeys(name for model in models for name in model.model_fields))
        near = difflib.get_close_matches(str(last), known, n=1)
        return f"{key}: unknown key; " + (f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}")
    message = problem["msg"].removeprefix("Value error, ").replace("Input should", "should")
    if problem["type"] != "value_error" and not isinstance(problem["input"], Mapping):
        message += f", found {problem['input']!r}"
    return f"{key}: {message}" if key else message


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """The settings classes in a type: those that an entry of a mapping or a union may have."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]
