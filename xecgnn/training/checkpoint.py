"""The file a run leaves behind, and the network in it.

A checkpoint is Lightning's dictionary of plain values and tensors (loadable with `weights_only=True`) under the name
`.pth`. `state_dict` holds the averaged (EMA) weights, `current_model_state` the trained ones, and the key "xecgnn"
what is needed to rebuild the network: kind, settings, detector YAML and hash, versions, MLflow run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import xecgnn
from xecgnn.config import check_format
from xecgnn.detector import Detector
from xecgnn.plugins import check_plugins, load_plugins
from xecgnn.training.kinds import KINDS

__all__ = ["KEY", "describe_run", "load_model", "network_state", "read_checkpoint"]

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
        ValueError: the file is not a checkpoint, or one of another format.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"checkpoint {str(path)!r} not found")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises anything from KeyError to UnpicklingError
        raise ValueError(f"{path}: not a readable checkpoint ({type(error).__name__})") from None
    if not isinstance(checkpoint, dict):
        raise ValueError(f"{path}: expected a dictionary of weights, found {type(checkpoint).__name__}")
    if KEY in checkpoint:
        check_format(checkpoint[KEY]["config"], path)
    return checkpoint


def load_model(
    path: str | Path, weights: str = "averaged", kind: str = "regression", plugins: Sequence[str | Path] = ()
) -> Any:
    """The trained network of a checkpoint, in evaluation mode on the CPU.

    Args:
        path: checkpoint of the command that makes this kind.
        weights: "averaged" (EMA, what validation used) or "trained".
        plugins: Python files that the training used; those that this process has imported need not be named.
        kind: "regression" (gives an `XECModel`), "pretraining" (`MaskedAutoencoder`) or "inpainting" (`Inpainter`).
    """
    load_plugins(list(plugins))
    checkpoint = read_checkpoint(path)
    run = checkpoint.get(KEY)
    if run is None or run["kind"] != kind:
        found = f"one of {KINDS[run['kind']].command}" if run else "bare weights"
        raise ValueError(f"{path}: expected a checkpoint of {KINDS[kind].command}, found {found}")
    if weights not in ("averaged", "trained"):
        raise ValueError(f"weights: expected 'averaged' or 'trained', found {weights!r}")
    check_plugins(run["config"].get("plugins", []), path)
    detector = Detector.from_yaml(run["detector_yaml"])
    detector = replace(detector, position=run["position"].numpy(), normal=run["normal"].numpy())
    model = KINDS[kind].rebuild(detector, run["config"])
    state = checkpoint["state_dict"]
    if weights == "trained":
        state = checkpoint.get("current_model_state", state)
    model.load_state_dict(network_state(state))
    return model.eval()


def network_state(state: dict[str, Any]) -> dict[str, Tensor]:
    """Tensors of the network, by their names inside it, whether or not they come from a Lightning module."""
    tensors = {k: v for k, v in state.items() if isinstance(v, Tensor)}
    inner = {k.removeprefix(PREFIX): v for k, v in tensors.items() if k.startswith(PREFIX)}
    return inner or tensors
