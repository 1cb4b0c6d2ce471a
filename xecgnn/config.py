"""One YAML file plus overrides -> one settings object. Components own their settings; here they are composed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path, PurePath
from textwrap import shorten
from typing import Any, Final, Literal, Self, TypeVar

from pydantic import Field, field_validator, model_validator
from pydantic_settings import CliSuppress

from xecgnn.data.config import DataConfig
from xecgnn.evaluation.config import EvaluationConfig
from xecgnn.export.config import ExportAtEnd
from xecgnn.models.config import DecoderConfig, InpainterConfig, ModelConfig
from xecgnn.nn.config import BRANCH_CONSTANTS, MaskingConfig, NormalizationConfig
from xecgnn.plugins import PluginSettings, load_plugins
from xecgnn.settings import AnyPath, flattened, overridden, read_yaml, validated
from xecgnn.tasks.config import ReweightingConfig, TasksConfig
from xecgnn.training.config import CheckpointConfig, LoggingConfig, ReconstructionLossConfig, TrainingConfig

__all__ = [
    "InpaintConfig", "PretrainConfig", "RunConfig", "TrainConfig", "check_format", "from_anywhere", "load_config",
]  # fmt: skip

ConfigT = TypeVar("ConfigT", bound="RunConfig")

LONGEST_NAME = 200  # bytes in the name of a run
# Paths of files that a run is made from, where they are no names of what is shipped.
INPUTS = ("detector", "survey", "data.train_path", "data.val_path", "data.test_path", "masking.dead_channels")
FORMAT: Final = 4  # of the settings, weights and files of a run: what was written in another one is refused


class RunConfig(PluginSettings):
    """Settings of every training."""

    format: CliSuppress[Literal[4]] = Field(FORMAT, description="format of a run's folder and checkpoints")
    detector: AnyPath = Field("meg2", description="name of a shipped detector or path of a detector YAML")
    survey: AnyPath | None = Field(None, description="CSV of surveyed sensor positions (id, x, y, z, nx, ny, nz) in cm")
    run_name: str | None = Field(None, description="name of the run (null: config name, date and time)")
    seed: int = Field(0, ge=0, description="seed of weights, shuffling, masks and dropout")
    data: DataConfig = Field(default_factory=DataConfig, description="files and how they are read")
    normalization: NormalizationConfig = Field(
        default_factory=NormalizationConfig, description="readings to network input"
    )
    model: ModelConfig = Field(default_factory=ModelConfig, description="the network")
    training: TrainingConfig = Field(default_factory=TrainingConfig, description="optimisation")
    checkpoint: CheckpointConfig = Field(default_factory=CheckpointConfig, description="start and output of the run")
    logging: LoggingConfig = Field(default_factory=LoggingConfig, description="MLflow, TensorBoard, progress bar")

    @field_validator("run_name")
    @classmethod
    def _short(cls, name: str | None) -> str | None:
        """Longer ones would fail with the last files, whose names hold it; others in the first folder."""
        if name is not None:
            last = PurePath(name).name
            if not last or last == ".." or len(os.fsencode(last)) > LONGEST_NAME or not name.isprintable():
                allowed = f"printable characters, at most {LONGEST_NAME} bytes after the last /"
                raise ValueError(f"no name for a folder of a run, found {shorten(name, 60)!r}; allowed: {allowed}")
        return name

    @model_validator(mode="after")
    def _constants_of_the_branch(self) -> Self:
        """Constants of the normalisation belong to the npho branch; those given explicitly win."""
        constants = BRANCH_CONSTANTS.get(self.data.npho_branch, {})
        given = self.normalization.model_fields_set
        # As defaults are: not among the fields that were set, for nobody gave them.
        vars(self.normalization).update({name: value for name, value in constants.items() if name not in given})
        return self


class TrainConfig(RunConfig):
    """Settings of `xecgnn-train`."""

    tasks: TasksConfig = Field(default_factory=TasksConfig, description="what is reconstructed")
    reweighting: ReweightingConfig = Field(
        default_factory=ReweightingConfig, description="flattening of the training sample"
    )
    evaluation: EvaluationConfig = Field(default_factory=EvaluationConfig, description="what follows the training")
    export: ExportAtEnd = Field(default_factory=ExportAtEnd, description="what is exported at the end")


class ReconstructionConfig(RunConfig):
    """What the trainings that predict hidden sensors share."""

    loss: ReconstructionLossConfig = Field(
        default_factory=ReconstructionLossConfig, description="error of the reconstructed sensors"
    )
    save_predictions: bool = Field(False, description="write truth and prediction of every sensor to a ROOT file")


class PretrainConfig(ReconstructionConfig):
    """Settings of `xecgnn-pretrain`."""

    masking: MaskingConfig = Field(default_factory=MaskingConfig, description="which sensors are hidden")
    decoder: DecoderConfig = Field(default_factory=DecoderConfig, description="from the tokens back to the sensors")


class DeadChannelConfig(MaskingConfig):
    """Masks that look like dead channels: few, and anywhere."""

    mask_ratio: float | tuple[float, float] = Field(
        (0.01, 0.1), description="share of the valid sensors that is hidden; a pair: drawn for each event between both"
    )


class InpaintConfig(ReconstructionConfig):
    """Settings of `xecgnn-inpaint`."""

    masking: DeadChannelConfig = Field(default_factory=DeadChannelConfig, description="which sensors are hidden")
    inpainter: InpainterConfig = Field(default_factory=InpainterConfig, description="heads of the faces")


def check_format(config: Mapping[str, Any], owner: str | Path) -> None:
    """Whether this version reads what a run with these settings has left, at `owner`.

    Raises:
        ValueError: it was written in another format.
    """
    found = config.get("format", 1)
    if found != FORMAT:
        raise ValueError(f"{owner}: written in format {found}, allowed: {FORMAT}; train again, or use its own version")


def from_anywhere(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a run with absolute paths and patterns of its inputs, to be used in any folder."""
    flat = flattened(settings)
    return overridden(settings, {name: _absolute(flat[name]) for name in INPUTS if flat.get(name)})


def _absolute(path: Any) -> Any:
    if isinstance(path, list):
        return [_absolute(item) for item in path]
    named = "://" in path or not (os.path.exists(path) or os.path.dirname(path) or Path(path).suffix)
    return path if named else os.path.abspath(path)


def load_config(
    path: str | Path,
    overrides: Mapping[str, Any] | None = None,
    cls: type[ConfigT] = TrainConfig,  # type: ignore[assignment]
) -> ConfigT:
    """Read a config file, and its plugins; `overrides` maps dotted paths to values, for example {"training.lr": 1e-4}.

    Args:
        cls: `TrainConfig`, `PretrainConfig` or `InpaintConfig`.

    Raises:
        FileNotFoundError: no such file, and no shipped config of that name.
        ConfigError: a key, type or value that is not allowed; names the key and the nearest known one.
    """
    values = overridden(read_yaml(path), overrides or {})
    if values.get("plugins"):
        values["plugins"] = load_plugins(values["plugins"])
    return validated(cls, values)
