"""xecgnn-validate: plots and numbers of predictions in a ROOT file."""

from __future__ import annotations

import logging
from pathlib import Path

from pydantic import Field

from xecgnn.cli.command import command
from xecgnn.evaluation.config import DrawingSettings
from xecgnn.names import TREE

__all__ = ["ValidateConfig", "main"]

log = logging.getLogger("xecgnn.validate")


class ValidateConfig(DrawingSettings):
    """What to look at, what to compare it with, and where the findings go."""

    input: Path = Field(description="ROOT file of xecgnn-infer or of a training (validation_results_*.root)")
    output_dir: Path | None = Field(
        None, description="folder of validation.pdf, .json and .md (default: validation_<input> beside the input)"
    )
    compare: Path | None = Field(None, description="second file of predictions, matched by (run, event)")
    reference: list[str] = Field(
        [],
        description="other reconstruction in the same file: energyTruth=EGamma (unit of the truth branch), or the "
        "prefix of such branches",
    )
    tree: str = Field(TREE, description="name of the tree in each file")
    overwrite: bool = Field(False, description="replace files of an earlier validation")


@command(
    ValidateConfig,
    prog="xecgnn-validate",
    description="Compare predictions with truth, with another run, or with another reconstruction.",
    usage="--input FILE [options]",
)
def main(settings: ValidateConfig) -> None:
    """Entry point of `xecgnn-validate`."""
    from xecgnn.evaluation.validation import validate

    folder = settings.output_dir or settings.input.with_name(f"validation_{settings.input.stem}")
    text, files = validate(settings.input, folder, **settings.model_dump(exclude={"input", "output_dir", "plugins"}))
    log.info("%s\n%s", text, "\n".join(map(str, files)))


if __name__ == "__main__":
    main()
