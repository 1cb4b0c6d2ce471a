"""xecgnn-pretrain and xecgnn-inpaint: train a network that predicts hidden sensors from the others."""

from __future__ import annotations

from pathlib import Path

from xecgnn.cli.command import command
from xecgnn.cli.training import prepare, run_training
from xecgnn.config import InpaintConfig, PretrainConfig

__all__ = ["inpaint", "main", "reconstruct"]


def reconstruct(config: PretrainConfig | InpaintConfig, default_name: str = "pretrain") -> Path:
    """Pretrain or train an inpainter, as the class of the settings says; returns the folder with the artifacts."""
    from xecgnn.data.dead_channels import read_dead_channels
    from xecgnn.evaluation.reconstruction import write_sensor_predictions
    from xecgnn.evaluation.report import report
    from xecgnn.evaluation.runs import RunFolder
    from xecgnn.evaluation.sensors import evaluate_inpainting
    from xecgnn.evaluation.summary import sample_line
    from xecgnn.nn.masking import Masker
    from xecgnn.training.checkpoint import load_model
    from xecgnn.training.folder import BEST
    from xecgnn.training.reconstruction import ReconstructionObjective

    config, start, model, data = prepare(config)
    lists = [read_dead_channels(path, model.detector.num_sensors) for path in config.masking.dead_channels]
    masker = Masker(model.detector, config.masking, lists)
    model.backbone.normalizer.fit(data.sample().x)
    objective = ReconstructionObjective(model, masker, config.loss, config.training.compile)
    with run_training(config, start, objective, data, default_name) as run:
        # Look at the best weights: the errors beside the baselines', and a few events.
        if run.is_main:
            name = run.folder.name
            best = load_model(run.folder / f"{BEST}.pth", kind=start.kind).to(run.device)
            table, files = evaluate_inpainting(best, masker, data.test_dataloader(), run.folder, name)
            if config.save_predictions:
                path = run.folder / f"sensor_predictions_{name}.root"
                write_sensor_predictions(path, best, masker, data.test_dataloader())
            files += report(RunFolder(run.folder)).files
            run.report(f"{sample_line(config.data.test_path)}\n\n{table}", files)
    return run.folder


main = command(
    PretrainConfig,
    prog="xecgnn-pretrain",
    description="Train face encoders and Transformer without labels, by predicting masked sensors (FCMAE).",
    config=True,
)(reconstruct)
inpaint = command(
    InpaintConfig,
    prog="xecgnn-inpaint",
    description="Train a network that predicts dead sensors, for xecgnn-fill.",
    config=True,
)(reconstruct)


if __name__ == "__main__":
    main()
