"""The kinds of run: which command makes one, its settings, and the network that it trains."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from xecgnn.config import InpaintConfig, PretrainConfig, RunConfig, TrainConfig, load_config
from xecgnn.detector import Detector, load_detector
from xecgnn.models.autoencoder import MaskedAutoencoder
from xecgnn.models.inpainter import Inpainter
from xecgnn.models.network import NETWORKS
from xecgnn.tasks.registry import build_tasks

__all__ = ["KINDS", "Kind", "build_model", "kind_of"]


class Kind(NamedTuple):
    """One of the training commands."""

    command: str
    settings: type[RunConfig]
    sections: tuple[str, ...]  # of the settings, those that `network` reads beside `model` and `normalization`
    network: Callable[[Detector, Any], nn.Module]  # from a detector and the settings

    def rebuild(self, detector: Detector, config: Mapping[str, Any]) -> nn.Module:
        """The network of the settings in a checkpoint; what else they say does not matter."""
        sections = {name: config[name] for name in ("model", "normalization", *self.sections)}
        return self.network(detector, self.settings(**sections))


KINDS = {
    "regression": Kind(
        "xecgnn-train", TrainConfig, ("tasks",),
        lambda detector, c: NETWORKS[c.model.network](detector, c.model, c.normalization, build_tasks(c.tasks)),
    ),
    "pretraining": Kind(
        "xecgnn-pretrain", PretrainConfig, ("decoder",),
        lambda detector, c: MaskedAutoencoder(detector, c.model, c.normalization, c.decoder),
    ),
    "inpainting": Kind(
        "xecgnn-inpaint", InpaintConfig, ("inpainter",),
        lambda detector, c: Inpainter(detector, c.model, c.normalization, c.inpainter),
    ),
}  # fmt: skip


def kind_of(config: RunConfig) -> str:
    """The kind of run that has these settings."""
    return next(name for name, kind in KINDS.items() if isinstance(config, kind.settings))


def build_model(config: str | Path | RunConfig, overrides: Mapping[str, Any] | None = None) -> Any:
    """An untrained network of a config, for example build_model("configs/angle.yaml", {"model.encoder_dim": 256}).

    A file name stands for a config of `xecgnn-train`; of a settings object the class decides: `XECModel`,
    `MaskedAutoencoder` or `Inpainter`.
    """
    if not isinstance(config, RunConfig):
        config = load_config(config, overrides)
    return KINDS[kind_of(config)].network(load_detector(config.detector, config.survey), config)
