"""The file a run leaves behind, and the network in it.

A checkpoint is Lightning's dictionary of plain values and tensors (loadable with `weights_only=True`) under the name
`.pth`. `state_dict` holds the averaged (EMA) weights, `current_model_state` the trained ones, and the key "xecgnn"
what is needed to rebuild the network: kind, settings, detector YAML and hash, what made it, MLflow run; and the hash
of all that, which is compared on loading.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from xecgnn.config import check_format
from xecgnn.detector import Detector
from xecgnn.plugins import check_plugins, load_plugins
from xecgnn.provenance import content_hash, made_by
from xecgnn.training.kinds import KINDS

__all__ = ["KEY", "describe_run", "load_model", "load_network", "network_state", "read_checkpoint", "sealed"]

log = logging.getLogger(__name__)

KEY = "xecgnn"
HASH = "sha256"  # in the entry KEY: of the rest of the checkpoint
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
        "made_by": made_by(),
    }


def sealed(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint with the hash of what is in it."""
    run = {name: value for name, value in checkpoint[KEY].items() if name != HASH}
    return {**checkpoint, KEY: run | {HASH: content_hash(checkpoint | {KEY: run})}}


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Load a checkpoint without running any code in it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is not a checkpoint, one of another format, or not what was written.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"checkpoint {str(path)!r} not found")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises anything from KeyError to UnpicklingError
        raise ValueError(f"{path}: not a readable checkpoint ({type(error).__name__})") from None
    if not isinstance(checkpoint, dict):
        raise ValueError(f"{path}: expected a dictionary of weights, found {type(checkpoint).__name__}")
    run = checkpoint.get(KEY)
    if run is not None:
        if not isinstance(run, dict) or not isinstance(run.get("config"), dict):
            raise ValueError(f"{path}: damaged, its entry {KEY!r} has no settings")
        check_format(run["config"], path)
        if HASH not in run:
            log.warning("%s: has no hash of its content (an earlier version wrote it): damage would not show", path)
        elif sealed(checkpoint)[KEY][HASH] != run[HASH]:
            raise ValueError(f"{path}: damaged or changed, its content has another SHA-256 than when it was written")
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

    Raises:
        FileNotFoundError, ValueError: as `read_checkpoint`; a checkpoint of another kind, of other plugins.
    """
    load_plugins(list(plugins))
    return load_network(path, weights, kind)[0]


def load_network(path: str | Path, weights: str = "averaged", kind: str | None = None) -> tuple[Any, dict[str, Any]]:
    """As `load_model`, of any kind by default; and what the checkpoint says about its training."""
    checkpoint = read_checkpoint(path)
    run = checkpoint.get(KEY)
    if run is None or (kind and run["kind"] != kind):
        found = f"one of {KINDS[run['kind']].command}" if run else "bare weights"
        raise ValueError(f"{path}: expected a checkpoint of {KINDS[kind or 'regression'].command}, found {found}")
    if weights not in ("averaged", "trained"):
        raise ValueError(f"weights: expected 'averaged' or 'trained', found {weights!r}")
    check_plugins(run["config"].get("plugins", []), path)
    detector = Detector.from_yaml(run["detector_yaml"])
    detector = replace(detector, position=run["position"].numpy(), normal=run["normal"].numpy())
    model = KINDS[run["kind"]].rebuild(detector, run["config"])
    state = checkpoint["state_dict"]
    if weights == "trained":
        state = checkpoint.get("current_model_state", state)
    try:
        model.load_state_dict(network_state(state))
    except RuntimeError as error:
        what = " ".join(str(error).split())[:200]
        raise ValueError(f"{path}: its weights are not those of its settings, or of this version ({what})") from None
    return model.eval(), run


def network_state(state: Any) -> dict[str, Tensor]:
    """Tensors of the network, by their names inside it, whether or not they come from a Lightning module.

    Raises:
        ValueError: there are no names.
    """
    if not isinstance(state, dict):
        raise ValueError(f"expected weights by name, found {type(state).__name__}")
    tensors = {k: v for k, v in state.items() if isinstance(k, str) and isinstance(v, Tensor)}
    inner = {k.removeprefix(PREFIX): v for k, v in tensors.items() if k.startswith(PREFIX)}
    return inner or tensors
