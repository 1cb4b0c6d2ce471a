"""One YAML file plus overrides -> one validated settings object. Components own their settings; this module composes them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, Field, ValidationError

from xecgnn.data.config import DataConfig
from xecgnn.models import ModelConfig
from xecgnn.nn import NormalizationConfig
from xecgnn.settings import Settings
from xecgnn.tasks import ReweightingConfig, TasksConfig
from xecgnn.training.config import CheckpointConfig, LoggingConfig, TrainingConfig

__all__ = ["ConfigError", "TrainConfig", "build_model", "load_config", "read_yaml", "validated"]

ConfigT = TypeVar("ConfigT", bound=Settings)


class ConfigError(ValueError):
    """Settings that cannot be used; the text has one line per problem."""


class TrainConfig(Settings):
    """Settings of `xecgnn-train`."""

    detector: str = Field("meg2", description="name of a shipped detector or path of a detector YAML")
    survey: str | None = Field(None, description="CSV of surveyed sensor positions (id, x, y, z, nx, ny, nz) in cm")
    run_name: str | None = Field(None, description="name of the run (null: config name, date and time)")
    seed: int = Field(0, ge=0, description="seed of weights, shuffling and dropout")
    data: DataConfig = Field(default_factory=DataConfig, description="files and how they are read")
    normalization: NormalizationConfig = Field(default_factory=NormalizationConfig, description="readings to network input")
    model: ModelConfig = Field(default_factory=ModelConfig, description="the network")
    tasks: TasksConfig = Field(default_factory=TasksConfig, description="what is reconstructed")
    reweighting: ReweightingConfig = Field(default_factory=ReweightingConfig, description="flattening of the training sample")
    training: TrainingConfig = Field(default_factory=TrainingConfig, description="optimisation")
    checkpoint: CheckpointConfig = Field(default_factory=CheckpointConfig, description="start and output of the run")
    logging: LoggingConfig = Field(default_factory=LoggingConfig, description="MLflow, TensorBoard, progress bar")


def load_config(path: str | Path, overrides: Mapping[str, Any] | None = None) -> TrainConfig:
    """Read a config file; `overrides` maps dotted paths to values, for example {"training.lr": 1e-4}.

    Raises:
        FileNotFoundError: no such file, and no shipped config of that name.
        ConfigError: a key, type or value that is not allowed; names the key and the nearest known one.
    """
    values = read_yaml(path)
    for key, value in (overrides or {}).items():
        *parents, leaf = key.split(".")
        group = values
        for parent in parents:
            group = group.setdefault(parent, {})
        group[leaf] = value
    return validated(TrainConfig, values)


def build_model(config: str | Path | TrainConfig, overrides: Mapping[str, Any] | None = None) -> Any:
    """An untrained model of a config, for example build_model("configs/angle.yaml", {"model.encoder_dim": 256})."""
    from xecgnn.detector import load_detector
    from xecgnn.models import XECModel
    from xecgnn.tasks import build_tasks

    if not isinstance(config, TrainConfig):
        config = load_config(config, overrides)
    detector = load_detector(config.detector)
    if config.survey:
        detector = detector.with_survey(config.survey)
    return XECModel(detector, config.model, config.normalization, build_tasks(config.tasks))


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file; where there is no such file, the shipped config of that name."""
    source = Path(path)
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


def validated(cls: type[ConfigT], values: Mapping[str, Any]) -> ConfigT:
    """`cls(**values)`, with one-line errors."""
    try:
        return cls(**values)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(cls, problem) for problem in error.errors())) from None


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
