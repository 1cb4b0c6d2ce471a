from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

from xecgnn.config import InpaintConfig, TrainConfig, load_config
from xecgnn.detector import Detector, load_detector
from xecgnn.export import ExportConfig, export_checkpoint
from xecgnn.models import Inpainter, XECModel
from xecgnn.tasks import TASKS
from xecgnn.training.checkpoint import KEY, PREFIX, describe_run, sealed
from xecgnn.training.kinds import build_model

SMALL = {
    "detector": "mini",
    "run_name": "a run",
    "model.encoder_dim": 32,
    "model.hex_dim": 8,
    "model.num_heads": 4,
    "model.depths": [1, 1],
    "model.hex_depth": 1,
    "model.num_fusion_layers": 1,
    "model.hidden_dim": 16,
}
# Every task, and every kind of uncertainty.
ALL_TASKS = {f"tasks.{name}.enabled": True for name in TASKS} | {
    "tasks.angle.loss_fn": "vmf",
    "tasks.energy.loss_fn": "gaussian_nll",
    "tasks.energy.log_transform": True,
    "tasks.uvwFI.loss_fn": "gaussian_nll",
    "tasks.angleVec.loss_fn": "vmf",
}

Build = Callable[..., XECModel]


def shaken(module: nn.Module) -> Any:
    """In evaluation mode, with no zero left that could hide a term."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module.eval()


def regression(settings: dict[str, Any]) -> tuple[XECModel, TrainConfig]:
    config = load_config("angle", SMALL | settings)
    torch.manual_seed(0)
    return shaken(build_model(config)), config


def inpainting(detector: Detector) -> tuple[Inpainter, InpaintConfig]:
    config = load_config("inpaint", SMALL | {"inpainter.depth": 1}, cls=InpaintConfig)
    return shaken(Inpainter(detector, config.model, config.normalization, config.inpainter)), config


@pytest.fixture(scope="session")
def build() -> Build:
    """build(settings={}, every_task=False) -> an untrained network for the small detector."""

    def call(settings: dict[str, Any] | None = None, every_task: bool = False) -> XECModel:
        return regression((ALL_TASKS if every_task else {}) | (settings or {}))[0]

    return call


@pytest.fixture(scope="session")
def build_inpainter() -> Callable[[Detector], Inpainter]:
    return lambda detector: inpainting(detector)[0]


@pytest.fixture(scope="session")
def tiny(mini: Detector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """YAML of a detector with one lattice and one hexagonal face: the time of an export grows with their number."""
    entry = yaml.safe_load(mini.yaml)
    entry["faces"] = {name: entry["faces"][name] for name in ("inner", "top")}
    entry["faces"]["top"]["first_id"] = len(mini.faces["inner"])
    entry["seams"] = [seam for seam in entry["seams"] if set(seam) == {"inner", "top"}]
    path = tmp_path_factory.mktemp("tiny") / "tiny.yaml"
    path.write_text(yaml.safe_dump(entry | {"name": "tiny"}, sort_keys=False))
    return path


@pytest.fixture(scope="session")
def checkpoints(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints of untrained networks: "all" tasks, and "angle" alone in the mode `split`, for the small detector;
    "tiny" and "inpainting" for the detector `tiny`.
    """
    folder = tmp_path_factory.mktemp("checkpoints")
    networks: dict[str, tuple[nn.Module, Any]] = {
        "all": regression(ALL_TASKS),
        "angle": regression({"model.outer_mode": "split", "model.token_pooling": "average"}),
        "tiny": regression({"detector": str(tiny)}),
        "inpainting": inpainting(load_detector(tiny)),
    }
    paths = {}
    for name, (model, config) in networks.items():
        kind = name if name == "inpainting" else "regression"
        run = describe_run(kind, config.model_dump(mode="json"), model.detector) | {"mlflow_run_id": "0123abcd"}
        state = {PREFIX + key: values for key, values in model.state_dict().items()}
        paths[name] = folder / f"{name}.pth"
        torch.save(sealed({KEY: run, "state_dict": state}), paths[name])
    return paths


@pytest.fixture(scope="session")
def exported(checkpoints: dict[str, Path]) -> Path:
    """The checkpoint "all" as a model file."""
    source = checkpoints["all"]
    return export_checkpoint(ExportConfig(checkpoint=source, output=source.with_suffix(".onnx")))
