"""Settings classes: typed, strict, each field with the text that `--help` prints; and the YAML that fills them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

__all__ = ["ConfigError", "Settings", "flattened", "overridden", "read_yaml", "validated"]

ModelT = TypeVar("ModelT", bound=BaseModel)


class Settings(BaseModel):
    """A group of settings. Unknown keys and wrong types are errors; assignments are validated like the constructor."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True, validate_default=True)


class ConfigError(ValueError):
    """Settings that cannot be used; the text has one line per problem."""


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file; where there is no such file, the shipped config of that name."""
    source = Path(path)
    if not source.is_file() and source.parent not in (Path(), Path("configs")):
        raise FileNotFoundError(f"config {str(path)!r} not found")
    if not source.is_file():
        shipped = files("xecgnn") / "configs"
        source = Path(str(shipped / f"{source.stem}.yaml"))
        if not source.is_file():
            known = sorted(p.name for p in Path(str(shipped)).glob("*.yaml"))
            raise FileNotFoundError(f"config {str(path)!r} not found; shipped configs: {', '.join(known)}")
    try:
        values = yaml.safe_load(source.read_text()) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not a YAML file: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a mapping of settings, found {type(values).__name__}")
    return values


def validated(cls: type[ModelT], values: Mapping[str, Any]) -> ModelT:
    """`cls(**values)`, with one-line errors."""
    try:
        return cls(**values)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(cls, problem) for problem in error.errors())) from None


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted names: {"training.lr": 0.0003}."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= flattened(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
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


def _explain(cls: type[BaseModel], problem: Mapping[str, Any]) -> str:
    """One line for one validation error: key, what was found, what is allowed."""
    location = [str(part) for part in problem["loc"]]
    key = ".".join(location) or cls.__name__
    if problem["type"] == "extra_forbidden":
        known = _fields_at(cls, location[:-1])
        near = difflib.get_close_matches(location[-1], known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
        return f"{key}: unknown key; {hint}"
    message = problem["msg"].removeprefix("Value error, ").replace("Input should", "should")
    return f"{key}: {message}" if problem["type"] == "value_error" else f"{key}: {message}, found {problem['input']!r}"


def _fields_at(cls: type[BaseModel], location: Sequence[str]) -> list[str]:
    for part in location:
        annotation = cls.model_fields[part].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        cls = annotation
    return list(cls.model_fields)
