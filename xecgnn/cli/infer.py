"""xecgnn-infer: predictions of a trained network for ROOT files of any number and size."""

from __future__ import annotations

import logging

from pydantic import Field

from xecgnn.cli.command import command
from xecgnn.inference.config import InferConfig

__all__ = ["main"]

log = logging.getLogger("xecgnn.infer")

NOT_USED = "not used: the model file holds it"


class InferCommand(InferConfig):
    """The settings, and flags of an earlier program that scripts may still give."""

    npho_scale: float | None = Field(None, description=NOT_USED)
    npho_scale2: float | None = Field(None, description=NOT_USED)
    time_scale: float | None = Field(None, description=NOT_USED)
    time_shift: float | None = Field(None, description=NOT_USED)
    sentinel_value: float | None = Field(None, description=NOT_USED)


OLD_FLAGS = [name for name in InferCommand.model_fields if name not in InferConfig.model_fields]


@command(
    InferCommand,
    prog="xecgnn-infer",
    description="Predict the events of ROOT files with a trained network; an interrupted job goes on.",
    usage="--onnx MODEL --input FILES --output FILE [options]",
)
def main(settings: InferCommand) -> None:
    """Entry point of `xecgnn-infer`."""
    from xecgnn.inference.infer import predict_files

    given = [f"--{name}" for name in OLD_FLAGS if name in settings.model_fields_set]
    if given:
        log.info("%s: not used, the model file holds the normalisation", ", ".join(given))
    predict_files(settings)


if __name__ == "__main__":
    main()
