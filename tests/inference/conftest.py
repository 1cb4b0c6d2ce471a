from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from xecgnn.config import TrainConfig
from xecgnn.models import XECModel
from xecgnn.training.checkpoint import KEY, PREFIX, describe_run, sealed
from xecgnn.training.kinds import build_model

SMALL = {"encoder_dim": 64, "dim_feedforward": 64, "num_fusion_layers": 1, "hidden_dim": 16}
TASKS = {"angle": {"loss_fn": "vmf"}, "energy": {"enabled": True}, "n_gamma": {"enabled": True}}


@pytest.fixture(scope="session")
def save_checkpoint() -> Callable[..., Path]:
    """Writes a checkpoint of the form that a training leaves."""

    def save(path: Path, model: torch.nn.Module, kind: str, config: dict) -> Path:
        weights = {PREFIX + name: tensor for name, tensor in model.state_dict().items()}
        torch.save(sealed({"state_dict": weights, KEY: describe_run(kind, config, model.detector)}), path)
        return path

    return save


@pytest.fixture(scope="session")
def network() -> XECModel:
    torch.manual_seed(0)
    config = TrainConfig(detector="mini", model=SMALL, tasks=TASKS)
    return build_model(config).eval()


@pytest.fixture(scope="session")
def checkpoint(save_checkpoint, network: XECModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = TrainConfig(detector="mini", model=SMALL, tasks=TASKS).model_dump(mode="json")
    return save_checkpoint(tmp_path_factory.mktemp("run") / "checkpoint_best.pth", network, "regression", config)
