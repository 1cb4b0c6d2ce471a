from __future__ import annotations

import pytest
import torch

from xecgnn.config import PretrainConfig, RunConfig, TrainConfig, load_config
from xecgnn.data import Events, Readings
from xecgnn.detector import Detector
from xecgnn.nn import Masker
from xecgnn.tasks import SampleReweighter
from xecgnn.training.kinds import build_model
from xecgnn.training.objective import Objective, RegressionObjective
from xecgnn.training.optimizer import build_optimizer
from xecgnn.training.reconstruction import ReconstructionObjective

# Eight channels at the stem: LayerNorm over two or four is nearly a step, and tells the last bit apart.
SMALL = {"detector": "mini", "model.encoder_dim": 256, "model.hex_dim": 16, "model.depths": [1, 1]}
SMALL |= {"model.hex_depth": 1, "model.num_fusion_layers": 1, "training.optimizer": "adamw", "training.lr": 1e-4}


def losses(detector: Detector, batch: Readings, name: str, cls: type[RunConfig], execution: str) -> torch.Tensor:
    """Of 20 steps."""
    config = load_config(name, SMALL | {"model.execution": execution}, cls)
    torch.manual_seed(0)
    model, objective = build_model(config), None
    if isinstance(config, TrainConfig):
        objective = RegressionObjective(model, SampleReweighter(config.reweighting))
    else:
        assert isinstance(config, PretrainConfig)
        objective = ReconstructionObjective(model, Masker(detector, config.masking), config.loss)
    assert isinstance(objective, Objective)
    optimizer, found = build_optimizer(objective, config.training), []
    for step in range(20):
        torch.manual_seed(step)
        optimizer.zero_grad()
        loss, _ = objective(batch)
        loss.backward()
        optimizer.step()
        found.append(loss.detach())
    return torch.stack(found)


@pytest.mark.parametrize(("name", "cls"), [("angle", TrainConfig), ("pretrain", PretrainConfig)])
def test_graphs_train_as_tables_do(
    mini: Detector, mini_events: Events, name: str, cls: type[RunConfig]
) -> None:
    batch = Readings.of(mini_events[:4])
    dense, graph = (losses(mini, batch, name, cls, execution) for execution in ("dense", "graph"))
    assert dense[-1] < dense[0]
    assert torch.allclose(graph, dense, rtol=1e-5)
