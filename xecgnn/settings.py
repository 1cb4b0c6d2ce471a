"""Base of every settings class: typed, strict about unknown keys, each field with the text that `--help` prints."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = ["Settings"]


class Settings(BaseModel):
    """A group of settings. Unknown keys and wrong types are errors; assignments are validated like the constructor."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True, validate_default=True)
