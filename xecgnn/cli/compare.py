"""xecgnn-compare: several runs side by side, in one PDF and one Markdown table."""

from __future__ import annotations

import logging
from pathlib import Path

from pydantic import Field
from pydantic_settings import CliPositionalArg

from xecgnn.cli.command import command
from xecgnn.evaluation.config import DrawingSettings
from xecgnn.settings import AnyPath, Paths

__all__ = ["CompareConfig", "main"]

log = logging.getLogger("xecgnn.compare")


class CompareConfig(DrawingSettings):
    """Which runs, and by what."""

    runs: CliPositionalArg[Paths] = Field(description="folders of runs, or their names or ids in MLflow")
    output_dir: Path = Field(Path("comparison"), description="folder of comparison.md and comparison.pdf")
    metric: str | None = Field(
        None, description="what the runs are ranked by (null: checkpoint.monitor where they share it, else val_loss)"
    )
    mlflow_uri: AnyPath = Field("sqlite:///mlruns.db", description="MLflow tracking store")
    overwrite: bool = Field(False, description="replace files that exist")


@command(
    CompareConfig,
    prog="xecgnn-compare",
    description="Compare runs: settings that differ, best and final metrics with ranking, curves.",
    usage="RUN RUN ... [options]",
)
def main(settings: CompareConfig) -> None:
    """Entry point of `xecgnn-compare`."""
    from xecgnn.evaluation.compare import compare_runs
    from xecgnn.evaluation.compared import read_run

    runs = [read_run(run, settings.mlflow_uri) for run in settings.runs]
    options = settings.model_dump(include={"output_dir", "metric", "overwrite", "style", "panels"})
    for path in compare_runs(runs, **options):
        log.info("%s", path)


if __name__ == "__main__":
    main()
