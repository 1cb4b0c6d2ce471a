"""Settings of the parts of a network: normalisation, masks, pooling and position embedding."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer

from xecgnn.names import NPHO, RELATIVE_NPHO
from xecgnn.settings import Paths, Settings

__all__ = ["BRANCH_CONSTANTS", "MaskingConfig", "NormalizationConfig", "Pooling", "PositionKind", "TimeMaskingConfig"]

Pooling = Literal["light", "average", "bilinear"]
PositionKind = Literal["learnable", "sinusoidal", "geometric"]

BRANCH_CONSTANTS: dict[str, dict[str, float]] = {
    NPHO: {},  # the defaults below
    RELATIVE_NPHO: {
        "npho_scale": 0.58,
        "npho_scale2": 1.0,
        "npho_threshold": 0.0,
        "time_scale": 6.5e-8,
        "time_shift": 0.5,
        "sentinel_value": -5.0,
    },
}


class NormalizationConfig(Settings):
    """Scheme and constants; the defaults belong to the branch `npho`, see `for_branch`.

    On simulated MEG II events they give valid npho a mean of 0.8 and a spread of 0.9, and valid times 0.7 and 0.9; the
    sentinel lies below npho = -190 and below every time that is not negative.

    With `constants: auto` those that are not given come from readings of the training sample, see `Normalizer.fit`.
    """

    constants: Literal["seeds", "auto"] = Field(
        "seeds", description="those that are not given: fixed ones, or from the training sample"
    )
    npho_scheme: Literal["log1p", "sqrt", "anscombe", "linear"] = Field("log1p", description="transform of npho")
    npho_scale: float = Field(30.0, gt=0, description="scale of npho inside the transform, unit of the npho branch")
    npho_scale2: float = Field(1.0, gt=0, description="divides the result of log1p")
    npho_threshold: float = Field(100.0, description="time is invalid below this npho, unit of the npho branch")
    time_scale: float = Field(3e-9, gt=0, description="scale of the sensor time, s")
    time_shift: float = Field(0.5, description="subtracted from time / time_scale")
    sentinel_value: float = Field(-2.0, description="network input in place of an invalid reading")
    bound: float | None = Field(None, gt=0, description="largest size of a valid network input (null: none)")

    @model_serializer(mode="wrap")
    def _what_was_given(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Constants that the data will set are not those of these settings."""
        values: dict[str, Any] = handler(self)
        if self.constants == "seeds":
            return values
        return {name: value for name, value in values.items() if name in {"constants", *self.model_fields_set}}

    @classmethod
    def for_branch(cls, branch: str) -> NormalizationConfig:
        """Constants for an npho branch: `npho` or `relative_npho`.

        Raises:
            ValueError: for any other branch.
        """
        if branch not in BRANCH_CONSTANTS:
            known = ", ".join(BRANCH_CONSTANTS)
            raise ValueError(f"no normalisation constants for the branch {branch!r}; known: {known}")
        return cls.model_validate(BRANCH_CONSTANTS[branch])


class TimeMaskingConfig(Settings):
    """How much likelier sensors with a valid time are hidden."""

    mask_ratio_scale: float = Field(1.0, gt=0, description="divides the random rank of a sensor with valid time")


class MaskingConfig(Settings):
    """What is hidden from the network."""

    mask_ratio: float | tuple[float, float] = Field(
        0.6, description="share of the valid sensors that is hidden; a pair: drawn for each event between both"
    )
    pattern: Literal["random", "patch"] = Field("random", description="single sensors, or patches of neighbours")
    patch_size: int = Field(4, ge=1, description="side of a patch, sensors")
    flat_npho: bool = Field(False, description="equal chance for each octave of npho instead of for each sensor")
    time: TimeMaskingConfig = TimeMaskingConfig()
    dead_channels: Paths = Field([], description="files of dead channels, one sensor id per line")
    dead_channel_fraction: float = Field(
        0.5, ge=0, le=1, description="share of events that get one of those lists instead of a random mask"
    )

    @field_validator("mask_ratio", mode="before")
    @classmethod
    def _one_or_two(cls, value: Any) -> Any:
        """One number or a pair in ascending order, each between 0 and 1, neither of them included."""
        parts = list(value) if isinstance(value, list | tuple) else [value]
        try:
            numbers = [float(part) for part in parts]
        except (TypeError, ValueError):
            numbers = []
        if len(numbers) not in (1, 2) or not all(0 < n < 1 for n in numbers) or numbers != sorted(numbers):
            raise ValueError(f"expected a number between 0 and 1, or a pair [lowest, highest] of them, found {value!r}")
        return numbers[0] if len(numbers) == 1 else tuple(numbers)
