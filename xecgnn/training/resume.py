"""Starting from a checkpoint: to continue its run, or to take its weights for another one."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import numpy as np
from torch import nn

from xecgnn.detector import Detector
from xecgnn.training.checkpoint import COMMANDS, KEY, network_state

__all__ = ["is_continuation", "load_weights"]

log = logging.getLogger(__name__)

# Settings that may change when a run goes on; all others describe what is trained.
SURROUNDINGS = {"detector", "survey", "run_name", "seed", "data", "training", "checkpoint", "logging", "evaluation"}
BACKBONE = ("encoder", "fusion")  # what every network has: face encoders and Transformer


def is_continuation(checkpoint: dict[str, Any], kind: str, config: dict[str, Any], detector: Detector) -> bool:
    """Whether training can go on from this checkpoint: same kind, detector, network and loss, optimiser included.

    Raises:
        ValueError: another detector; or a schedule that cannot go on as it is now set.
    """
    run = checkpoint.get(KEY)
    if run:
        _check_detector(run, detector)
    if not run or run["kind"] != kind or not checkpoint.get("optimizer_states"):
        return False
    others = [name for name in config if name not in SURROUNDINGS and run["config"].get(name) != config[name]]
    if others:
        log.info("The checkpoint has other %s settings: only its weights are used.", ", ".join(others))
        return False
    if not np.allclose(run["position"], detector.position):
        log.warning("The sensors of the checkpoint have other positions than those of this run.")
    _check_schedule(run["config"]["training"], config["training"], checkpoint["epoch"] + 1)
    return True


def load_weights(model: nn.Module, checkpoint: dict[str, Any], config: dict[str, Any] | None = None) -> None:
    """Copy the (averaged) weights that fit in name and shape, and say in one line what was loaded and what not.

    Parameters only: target scaling stays that of this run. Bare weights may be those of a network or of its encoder.

    Args:
        model: with `encoder` and `fusion`.
        checkpoint: of any kind of run, or bare weights.
        config: settings of this run; its normalisation must be that of the checkpoint.

    Raises:
        ValueError: nothing fits; an encoder of another size; another normalisation.
    """
    run = checkpoint.get(KEY)
    if run and config:
        _check_normalization(run["config"]["normalization"], config["normalization"])
    source = network_state(checkpoint.get("state_dict", checkpoint))
    target = dict(model.named_parameters(remove_duplicate=False))
    if not target.keys() & source.keys():  # those of an encoder alone
        source = {f"encoder.{name}": values for name, values in source.items()}
    fitting = {k: v for k, v in source.items() if k in target and target[k].shape == v.shape}
    if not fitting:
        raise ValueError(f"no weight of the checkpoint fits the network; its first names are {list(source)[:3]}")
    for name in source.keys() & target.keys() - fitting.keys():
        if name.split(".")[0] in BACKBONE:
            found, wanted = tuple(source[name].shape), tuple(target[name].shape)
            raise ValueError(f"the checkpoint has another network: {name} is {found} there and {wanted} here")
    model.load_state_dict(fitting, strict=False)
    origin = f"a checkpoint of {COMMANDS[run['kind']]}" if run else "bare weights"
    unused = {name for name in source if name not in fitting} - dict(model.named_buffers()).keys()
    log.info(
        "From %s: loaded %s; fresh: %s; not used: %s.",
        origin, _parts(fitting), _parts(target.keys() - fitting.keys()), _parts(unused),
    )  # fmt: skip


def _parts(names: Iterable[str]) -> str:
    """The modules behind names of weights, with the number of tensors: `encoder (80), heads.angle (6)`."""
    counts: dict[str, int] = {}
    for name in sorted(names):
        first, *rest = name.split(".")
        part = first if first in BACKBONE or len(rest) < 2 else f"{first}.{rest[0]}"
        counts[part] = counts.get(part, 0) + 1
    shown = [f"{part} ({count})" for part, count in counts.items()]
    return ", ".join(shown[:8]) + (", ..." if len(shown) > 8 else "") or "nothing"


def _check_detector(run: dict[str, Any], detector: Detector) -> None:
    if run["detector_hash"] != detector.hash:
        raise ValueError(
            f"the checkpoint is for detector {run['detector_hash'][:12]}, not for {detector.name} {detector.hash[:12]}"
        )


def _check_normalization(before: dict[str, Any], now: dict[str, Any]) -> None:
    """An encoder understands only numbers that are scaled as those it was trained on."""
    for name, value in now.items():
        if before[name] != value:
            raise ValueError(f"normalization.{name}: the checkpoint was trained with {before[name]!r}, found {value!r}")


def _check_schedule(before: dict[str, Any], now: dict[str, Any], epochs_done: int) -> None:
    """A continued run follows its schedule: what that depends on must be as it was."""
    fixed = ["optimizer", "scheduler", "lr", "max_lr", "pct_start", "warmup_epochs", "grad_accum_steps"]
    fixed += ["freeze_encoder", "encoder_lr_factor"]
    fixed += ["epochs"] if now["scheduler"] == "onecycle" else []
    for name in fixed:
        if name in before and before[name] != now[name]:
            raise ValueError(f"training.{name}: a continued run keeps {before[name]!r}, found {now[name]!r}")
    if now["epochs"] < epochs_done:
        raise ValueError(f"training.epochs: the checkpoint has {epochs_done} epochs done, found {now['epochs']}")
