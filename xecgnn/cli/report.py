"""xecgnn-report: everything that is drawn of runs, again from the data in their folders."""

from __future__ import annotations

import logging
from pathlib import Path

from pydantic import Field
from pydantic_settings import CliPositionalArg

from xecgnn.cli.command import command
from xecgnn.evaluation.config import DrawingSettings
from xecgnn.plugins import check_plugins
from xecgnn.settings import read_yaml

__all__ = ["ReportConfig", "main"]

log = logging.getLogger("xecgnn.report")


class ReportConfig(DrawingSettings):
    """Which runs."""

    runs: CliPositionalArg[list[Path]] = Field(description="folders of runs; plots in them are replaced, data are not")


@command(
    ReportConfig,
    prog="xecgnn-report",
    description="Print the table of each run, draw its plots and write its training report, from its folder alone.",
    usage="RUN [RUN ...]",
)
def main(config: ReportConfig) -> None:
    """Entry point of `xecgnn-report`."""
    from xecgnn.evaluation.report import report
    from xecgnn.evaluation.runs import EvaluatedRun, open_run

    for folder in config.runs:
        file = folder / "config.yaml"
        if not file.is_file() or "training" not in read_yaml(file):
            raise ValueError(f"{folder} is not the folder of a run: no settings of a training in {file}")
    runs = [open_run(folder) for folder in config.runs]
    for run in runs:
        check_plugins(run.settings.get("plugins", []), run.path)
    for run in runs:
        if not isinstance(run, EvaluatedRun):
            data = ", ".join(path.name for path in sorted(run.path.iterdir()) if path.suffix in (".csv", ".root"))
            log.info("%s predicts sensors: only its training is drawn again; its data: %s", run.path, data or "none")
        found = report(run, config.style, config.panels)
        if found.table:
            log.info("%s\n\n%s\n", run.path, found.table)
        log.info("%s", "\n".join(f"  {path}" for path in found.files))


if __name__ == "__main__":
    main()
