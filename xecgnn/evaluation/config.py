"""Settings of what follows a training, and of the commands that draw."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from xecgnn.plugins import PluginSettings
from xecgnn.settings import Settings

__all__ = ["DrawingSettings", "EvaluationConfig", "Style"]

Style = Literal["screen", "paper"]  # see `evaluation.pages.page`


class DrawingSettings(PluginSettings):
    """How a command draws."""

    style: Style = Field("screen", description="how plots look: screen, or paper (white, larger letters, for print)")
    panels: bool = Field(False, description="also a PDF of each panel with its points as CSV, in panels/")


class EvaluationConfig(Settings):
    """What is looked at closely, beside the predictions of all test (or validation) events."""

    worst_events: int = Field(5, ge=0, description="events with the largest loss that are kept and drawn")
    saliency_events: int = Field(
        128, ge=0, description="events that the saliency of the sensors is averaged over (0: no saliency)"
    )
