"""xecgnn-pretrain and xecgnn-inpaint: train a network that predicts hidden sensors from the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from xecgnn.cli.command import parse_command, run_command
from xecgnn.cli.training import check_data, prepare, run_training
from xecgnn.config import InpaintConfig, PretrainConfig, build_model

__all__ = ["inpaint", "main", "reconstruct"]

ConfigT = TypeVar("ConfigT", PretrainConfig, InpaintConfig)


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of `xecgnn-pretrain`."""
    description = "Train face encoders and Transformer without labels, by predicting masked sensors (FCMAE)."
    _command(PretrainConfig, argv, "xecgnn-pretrain", description)


def inpaint(argv: Sequence[str] | None = None) -> None:
    """Entry point of `xecgnn-inpaint`."""
    description = "Train a network that predicts dead sensors, for xecgnn-fill."
    _command(InpaintConfig, argv, "xecgnn-inpaint", description)


def _command(cls: type[ConfigT], argv: Sequence[str] | None, prog: str, description: str) -> None:
    def command() -> None:
        config, path = parse_command(cls, argv, prog=prog, description=description, config=True)
        reconstruct(config, default_name=Path(path or prog).stem)

    run_command(command)


def reconstruct(config: PretrainConfig | InpaintConfig, default_name: str = "pretrain") -> Path:
    """Pretrain or train an inpainter, as the class of the settings says; returns the folder with the artifacts."""
    from xecgnn.data.dead_channels import read_dead_channels
    from xecgnn.evaluation import evaluate_inpainting, write_sensor_predictions
    from xecgnn.evaluation.report import report
    from xecgnn.evaluation.runs import RunFolder
    from xecgnn.evaluation.summary import sample_line
    from xecgnn.nn.masking import Masker
    from xecgnn.training.checkpoint import load_model
    from xecgnn.training.data import EventDataModule
    from xecgnn.training.reconstruction import ReconstructionObjective
    from xecgnn.training.run import BEST

    kind = "inpainting" if isinstance(config, InpaintConfig) else "pretraining"
    config, start = prepare(config, kind)
    model = build_model(config)
    lists = [read_dead_channels(path, model.detector.num_sensors) for path in config.masking.dead_channels]
    masker = Masker(model.detector, config.masking, lists)
    data = EventDataModule(model.detector, config.data, config.seed, tasks=[])
    check_data(data, config)
    objective = ReconstructionObjective(model, masker, config.loss, config.training.compile)
    run = run_training(config, start, objective, data, default_name)

    # Look at the best weights: truth, mask and reconstruction of a few events, and the errors beside the baselines'.
    if run.is_main:
        name = run.folder.name
        best = load_model(run.folder / f"{BEST}.pth", kind=kind).to(run.device)
        table, files = evaluate_inpainting(best, masker, data.test_dataloader(), run.folder, name)
        if config.save_predictions:
            path = run.folder / f"sensor_predictions_{name}.root"
            write_sensor_predictions(path, best, masker, data.test_dataloader())
        files += report(RunFolder(run.folder)).files
        run.report(f"{sample_line(config.data.test_path)}\n\n{table}", files)
    return run.folder


if __name__ == "__main__":
    main()
