"""xecgnn-report: everything that is drawn of runs, again from the data in their folders."""

from __future__ import annotations

import logging
from pathlib import Path

from pydantic import Field
from pydantic_settings import CliPositionalArg

from xecgnn.cli.command import command
from xecgnn.settings import Settings, read_yaml

__all__ = ["ReportConfig", "main", "report"]

log = logging.getLogger("xecgnn.report")


class ReportConfig(Settings):
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
    for file in [folder / "config.yaml" for folder in config.runs]:
        if not file.is_file() or "training" not in read_yaml(file):
            raise ValueError(f"{file.parent} is not the folder of a run: no settings of a training in {file}")
    for folder in config.runs:
        report(folder)


def report(folder: Path) -> None:
    """Draw what the folder of a run has data for; what is missing is told in a line of the log."""
    from xecgnn.evaluation.report import report_evaluation
    from xecgnn.training.metrics.report import report_run

    files: list[Path] = []
    if "tasks" in read_yaml(folder / "config.yaml"):
        try:
            table, files, _ = report_evaluation(folder)
            log.info("%s\n\n%s\n", folder, table)
        except (OSError, ValueError) as error:
            log.warning("%s", error)
    else:
        data = ", ".join(path.name for path in sorted(folder.iterdir()) if path.suffix in (".csv", ".root"))
        log.info("%s predicts sensors: only its training is drawn again; its data: %s", folder, data or "none")
    log.info("%s", "\n".join(f"  {path}" for path in [*files, *report_run(folder)]))


if __name__ == "__main__":
    main()
