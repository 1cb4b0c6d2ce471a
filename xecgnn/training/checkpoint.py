"""The file a run leaves behind, and the three ways to use one: as a model, to continue, as a source of weights.

A checkpoint is Lightning's dictionary of plain values and tensors (loadable with `weights_only=True`) under the name
`.pth`. `state_dict` holds the averaged (EMA) weights, `current_model_state` the trained ones, and the key "xecgnn"
what is needed to rebuild the network: kind, settings, detector YAML and hash, versions, MLflow run.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import xecgnn
from xecgnn.detector import Detector
from xecgnn.models import ModelConfig, XECModel
from xecgnn.nn import NormalizationConfig
from xecgnn.tasks import TasksConfig, build_tasks

__all__ = ["KEY", "describe_run", "is_continuation", "load_model", "load_weights", "read_checkpoint"]

log = logging.getLogger(__name__)

KEY = "xecgnn"
PREFIX = "objective.model."  # of the network's weights inside the Lightning module


def describe_run(kind: str, config: dict[str, Any], detector: Detector) -> dict[str, Any]:
    """The "xecgnn" entry of a checkpoint, plain values and tensors only."""
    return {
        "kind": kind,
        "config": config,
        "detector_yaml": detector.yaml,
        "detector_hash": detector.hash,
        "position": torch.from_numpy(detector.position),  # surveyed ones are not in the YAML
        "normal": torch.from_numpy(detector.normal),
        "versions": {"xecgnn": xecgnn.__version__, "torch": str(torch.__version__)},
    }


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Load a checkpoint without running any code in it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is not a checkpoint.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"checkpoint {str(path)!r} not found")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises anything from KeyError to UnpicklingError
        raise ValueError(f"{path}: not a readable checkpoint ({type(error).__name__})") from None
    if not isinstance(checkpoint, dict):
        raise ValueError(f"{path}: expected a dictionary of weights, found {type(checkpoint).__name__}")
    return checkpoint


def load_model(path: str | Path, weights: str = "averaged") -> XECModel:
    """The trained network of a checkpoint, in evaluation mode on the CPU.

    Args:
        path: checkpoint of `xecgnn-train`.
        weights: "averaged" (EMA, what validation used) or "trained".
    """
    checkpoint = read_checkpoint(path)
    run = checkpoint.get(KEY)
    if run is None or run["kind"] != "regression":
        raise ValueError(
            f"{path}: expected a checkpoint of xecgnn-train, found {run['kind'] if run else 'bare weights'}"
        )
    if weights not in ("averaged", "trained"):
        raise ValueError(f"weights: expected 'averaged' or 'trained', found {weights!r}")
    config = run["config"]
    detector = Detector.from_yaml(run["detector_yaml"])
    model = XECModel(
        replace(detector, position=run["position"].numpy(), normal=run["normal"].numpy()),
        ModelConfig(**config["model"]),
        NormalizationConfig(**config["normalization"]),
        build_tasks(TasksConfig(**config["tasks"])),
    )
    state = checkpoint["state_dict"]
    if weights == "trained":
        state = checkpoint.get("current_model_state", state)
    model.load_state_dict(_network_state(state))
    return model.eval()


def is_continuation(checkpoint: dict[str, Any], kind: str, config: dict[str, Any], detector: Detector) -> bool:
    """Whether training can go on from this checkpoint: same kind, detector, network and tasks, optimiser included.

    Raises:
        ValueError: another detector; or a schedule that cannot go on as it is now set.
    """
    run = checkpoint.get(KEY)
    if not run or run["kind"] != kind or not checkpoint.get("optimizer_states"):
        return False
    if run["detector_hash"] != detector.hash:
        raise ValueError(
            f"the checkpoint is for detector {run['detector_hash'][:12]}, not for {detector.name} {detector.hash[:12]}"
        )
    sections = ("model", "normalization", "tasks", "reweighting")
    others = [name for name in sections if run["config"].get(name) != config.get(name)]
    if others:
        log.info("The checkpoint has other %s settings: only its weights are used.", ", ".join(others))
        return False
    if not np.allclose(run["position"], detector.position):
        log.warning("The sensors of the checkpoint have other positions than those of this run.")
    _check_schedule(run["config"]["training"], config["training"], checkpoint["epoch"] + 1)
    return True


def _check_schedule(before: dict[str, Any], now: dict[str, Any], epochs_done: int) -> None:
    """A continued run follows its schedule: what that depends on must be as it was."""
    fixed = ["scheduler", "lr", "max_lr", "pct_start", "warmup_epochs", "grad_accum_steps"]
    fixed += ["epochs"] if now["scheduler"] == "onecycle" else []
    for name in fixed:
        if before[name] != now[name]:
            raise ValueError(f"training.{name}: a continued run keeps {before[name]!r}, found {now[name]!r}")
    if now["epochs"] < epochs_done:
        raise ValueError(f"training.epochs: the checkpoint has {epochs_done} epochs done, found {now['epochs']}")


def load_weights(model: nn.Module, checkpoint: dict[str, Any]) -> None:
    """Copy the weights that fit in name and shape, and say in one line which did not.

    Parameters only: normalisation and target scaling stay those of this run.
    """
    source = _network_state(checkpoint.get("state_dict", checkpoint))
    target = dict(model.named_parameters(remove_duplicate=False))
    fitting = {k: v for k, v in source.items() if k in target and target[k].shape == v.shape}
    if not fitting:
        raise ValueError(f"no weight of the checkpoint fits the network; its first names are {list(source)[:3]}")
    model.load_state_dict(fitting, strict=False)
    fresh = sorted({k.rsplit(".", 1)[0] for k in target if k not in fitting})
    unused = len(source) - len(fitting)
    log.info(
        "Loaded %d of %d tensors from the checkpoint; %d of the checkpoint do not fit. Fresh: %s",
        len(fitting), len(target), unused, ", ".join(fresh[:8]) + (" ..." if len(fresh) > 8 else "") or "none",
    )  # fmt: skip


def _network_state(state: dict[str, Any]) -> dict[str, Tensor]:
    tensors = {k: v for k, v in state.items() if isinstance(v, Tensor)}
    inner = {k.removeprefix(PREFIX): v for k, v in tensors.items() if k.startswith(PREFIX)}
    return inner or tensors
