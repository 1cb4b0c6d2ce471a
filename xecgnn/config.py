"""One YAML file plus overrides -> one settings object. Components own their settings; here they are composed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from xecgnn.data.config import DataConfig
from xecgnn.models import ModelConfig
from xecgnn.nn.normalizer import BRANCH_CONSTANTS, NormalizationConfig
from xecgnn.settings import Settings, read_yaml, validated
from xecgnn.tasks import ReweightingConfig, TasksConfig
from xecgnn.training.config import CheckpointConfig, LoggingConfig, TrainingConfig

if TYPE_CHECKING:
    from xecgnn.models import XECModel

__all__ = ["TrainConfig", "build_model", "load_config"]


class TrainConfig(Settings):
    """Settings of `xecgnn-train`."""

    detector: str = Field("meg2", description="name of a shipped detector or path of a detector YAML")
    survey: str | None = Field(None, description="CSV of surveyed sensor positions (id, x, y, z, nx, ny, nz) in cm")
    run_name: str | None = Field(None, description="name of the run (null: config name, date and time)")
    seed: int = Field(0, ge=0, description="seed of weights, shuffling and dropout")
    data: DataConfig = Field(default_factory=DataConfig, description="files and how they are read")
    normalization: NormalizationConfig = Field(
        default_factory=NormalizationConfig, description="readings to network input"
    )
    model: ModelConfig = Field(default_factory=ModelConfig, description="the network")
    tasks: TasksConfig = Field(default_factory=TasksConfig, description="what is reconstructed")
    reweighting: ReweightingConfig = Field(
        default_factory=ReweightingConfig, description="flattening of the training sample"
    )
    training: TrainingConfig = Field(default_factory=TrainingConfig, description="optimisation")
    checkpoint: CheckpointConfig = Field(default_factory=CheckpointConfig, description="start and output of the run")
    logging: LoggingConfig = Field(default_factory=LoggingConfig, description="MLflow, TensorBoard, progress bar")

    @model_validator(mode="before")
    @classmethod
    def _constants_of_the_branch(cls, values: Any) -> Any:
        """Constants of the normalisation belong to the npho branch; those given explicitly win."""
        data, given = (values.get(key) or {} for key in ("data", "normalization"))
        if isinstance(data, dict) and isinstance(given, dict) and data.get("npho_branch") in BRANCH_CONSTANTS:
            values = {**values, "normalization": {**BRANCH_CONSTANTS[data["npho_branch"]], **given}}
        return values


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
            group[parent] = group.get(parent) or {}  # an empty section of a file is None
            group = group[parent]
        group[leaf] = value
    return validated(TrainConfig, values)


def build_model(config: str | Path | TrainConfig, overrides: Mapping[str, Any] | None = None) -> XECModel:
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
