"""Starting from a checkpoint: its run goes on with its own settings, or a new run begins with its weights."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from pydantic import BaseModel
from torch import Tensor, nn

from xecgnn.config import from_anywhere
from xecgnn.detector import Detector
from xecgnn.nn.config import NormalizationConfig
from xecgnn.plugins import check_plugins
from xecgnn.settings import ConfigError, flattened, overridden, validated
from xecgnn.training.checkpoint import KEY, network_state, read_checkpoint
from xecgnn.training.folder import LAST, newest_checkpoint
from xecgnn.training.kinds import KINDS

__all__ = ["Start", "check_detector", "find_start", "load_weights", "reached"]

log = logging.getLogger(__name__)

ConfigT = TypeVar("ConfigT", bound=BaseModel)

# Settings that may change when a run goes on: how long, where its files are, what works on it, what is told of it. All
# others describe what is trained. (A file of another detector is found by the detector's hash.)
FREE = [
    "plugins", "detector", "survey", "data.train_path", "data.val_path", "data.test_path", "data.num_workers",
    "data.on_bad_file", "training.epochs", "training.device", "training.num_devices", "training.num_nodes",
    "model.execution",
    "checkpoint.resume_from", "checkpoint.init_from", "checkpoint.artifacts_dir", "logging", "evaluation",
    "export", "save_predictions",
]  # fmt: skip
INPUTS = ("normalizer", "moments")  # whose constants belong to the weights behind them
DEFAULT_SCHEME = NormalizationConfig().npho_scheme
BACKBONE = "backbone"  # what every network has: face encoders and Transformer


class Start(NamedTuple):
    """What a run of a kind begins with: nothing, the weights of a checkpoint, or all of it, in the folder it is in."""

    kind: str
    checkpoint: dict[str, Any]
    continues: Path | None = None  # the checkpoint, where its run goes on


def find_start(config: ConfigT, kind: str) -> tuple[ConfigT, Start]:
    """Where a run with these settings starts, and the settings it has.

    `checkpoint.resume_from` of a run of this kind: the run's own settings, with those in FREE that were given (in a
    file or as options; defaults are not given). Of anything else only the weights are used, as those of `init_from`.

    Raises:
        ConfigError: a given setting differs from that of the run and may not; names all of them.
        FileNotFoundError, ValueError: as `read_checkpoint`; two checkpoints to take weights from.
    """
    resume_from, init_from = config.checkpoint.resume_from, config.checkpoint.init_from  # type: ignore[attr-defined]
    if resume_from:
        path = Path(resume_from)
        if path.is_dir():
            path = newest_checkpoint(path) or path / f"{LAST}.pth"
        checkpoint = read_checkpoint(path)
        run = checkpoint.get(KEY)
        if run and run["kind"] == kind and checkpoint.get("optimizer_states"):
            return _continued(config, checkpoint, path), Start(kind, checkpoint, continues=path)
        if init_from:
            both = f"{resume_from} ({_origin(checkpoint)}) and {init_from}"
            raise ConfigError(f"checkpoint: resume_from and init_from both give weights, found {both}; allowed: one")
        log.info("%s is %s: a new run begins with its weights (--init_from).", resume_from, _origin(checkpoint))
        return config, Start(kind, checkpoint)
    return config, Start(kind, read_checkpoint(init_from) if init_from else {})


def _continued(config: ConfigT, checkpoint: dict[str, Any], path: Path) -> ConfigT:
    """The settings of the run in a checkpoint, with the given ones that may change."""
    check_plugins(checkpoint[KEY]["config"].get("plugins", []), path)
    before = validated(type(config), checkpoint[KEY]["config"] | {"run_name": path.absolute().parent.name})
    run = flattened(before.model_dump(mode="json"))
    given = flattened(from_anywhere(config.model_dump(mode="json", exclude_unset=True)))
    if given.get("run_name"):
        given["run_name"] = Path(given["run_name"]).name  # that of the folder, wherever it is
    changed = {name: value for name, value in given.items() if run.get(name) != value}
    fixed = [name for name in changed if not _is_free(name, run["training.scheduler"])]
    if fixed:
        lines = [f"  {name}: the run has {run.get(name)!r}, found {changed[name]!r}" for name in fixed]
        head = f"{path.parent} goes on with its own settings; a new run can begin with its weights (--init_from):"
        raise ConfigError("\n".join([head, *lines]))
    epochs, (done, _) = changed.get("training.epochs", run["training.epochs"]), _done(checkpoint)
    if epochs < done:
        raise ConfigError(f"training.epochs: the checkpoint has {done} epochs done, found {epochs}")
    for name, value in changed.items():
        if name != "checkpoint.resume_from":
            log.info("%s: %r from here on, %r before.", name, value, run[name])
    return validated(type(config), overridden(before.model_dump(mode="json"), changed))


def reached(checkpoint: dict[str, Any]) -> str:
    """How far the run of a checkpoint has come, for people."""
    epochs, steps = _done(checkpoint)
    return f"step {steps} of epoch {epochs + 1}, whose metrics count the others" if steps else f"epoch {epochs}"


def _done(checkpoint: dict[str, Any]) -> tuple[int, int]:
    """Whole epochs, and steps of a begun one."""
    loop = checkpoint["loops"]["fit_loop"]
    epochs = int(loop["epoch_progress"]["current"]["processed"])
    begun = epochs < int(loop["epoch_progress"]["current"]["started"])
    return epochs, int(loop["epoch_loop.batch_progress"]["current"]["processed"]) if begun else 0


def _is_free(name: str, scheduler: str) -> bool:
    """Whether a setting may change while its run goes on; the schedule onecycle fixes the number of epochs."""
    if name == "training.epochs" and scheduler == "onecycle":
        return False
    return any(name == free or name.startswith(f"{free}.") for free in FREE)


def _origin(checkpoint: dict[str, Any]) -> str:
    """What a checkpoint is, for people."""
    run = checkpoint.get(KEY)
    return f"a checkpoint of {KINDS[run['kind']].command}" if run else "bare weights"


def check_detector(checkpoint: dict[str, Any], detector: Detector) -> None:
    """Compare the detector of a run in a checkpoint with the one of this run; other positions are a warning.

    Raises:
        ValueError: another detector.
    """
    run = checkpoint.get(KEY)
    if not run:
        return
    if run["detector_hash"] != detector.hash:
        raise ValueError(
            f"the checkpoint is for detector {run['detector_hash'][:12]}, not for {detector.name} {detector.hash[:12]}"
        )
    if not np.allclose(run["position"], detector.position):
        log.warning("The sensors of the checkpoint have other positions than those of this run.")


def load_weights(model: nn.Module, checkpoint: dict[str, Any], config: dict[str, Any] | None = None) -> None:
    """Copy the (averaged) weights that fit in name and shape, and say in one line what was loaded and what not.

    Parameters, and the constants of the readings that they belong to; target scaling stays that of this run. Bare
    weights may be those of a network or of its backbone.

    Args:
        model: with a `backbone`.
        checkpoint: of any kind of run, or bare weights.
        config: settings of this run; its normalisation must be that of the checkpoint.

    Raises:
        ValueError: nothing fits; a backbone of another size; another normalisation.
    """
    run = checkpoint.get(KEY)
    source = network_state(checkpoint.get("state_dict", checkpoint))
    target = dict(model.named_parameters(remove_duplicate=False))
    if not target.keys() & source.keys():  # those of a backbone alone
        source = {f"{BACKBONE}.{name}": values for name, values in source.items()}
    fitting = {k: v for k, v in source.items() if k in target and target[k].shape == v.shape}
    if not fitting:
        raise ValueError(f"no weight of the checkpoint fits the network; its first names are {list(source)[:3]}")
    for name in source.keys() & target.keys() - fitting.keys():
        if name.split(".")[0] == BACKBONE:
            found, wanted = tuple(source[name].shape), tuple(target[name].shape)
            raise ValueError(f"the checkpoint has another network: {name} is {found} there and {wanted} here")
    if run and config:
        _check_normalization(run["config"]["normalization"], source, config["normalization"])
    buffers = {name: values for name, values in model.named_buffers() if {*INPUTS} & {*name.split(".")}}
    constants = {k: v for k, v in source.items() if k in buffers and buffers[k].shape == v.shape}
    model.load_state_dict(fitting | constants, strict=False)
    unused = {name for name in source if name not in fitting} - dict(model.named_buffers()).keys()
    log.info(
        "From %s: loaded %s; fresh: %s; not used: %s.",
        _origin(checkpoint), _parts(fitting), _parts(target.keys() - fitting.keys()), _parts(unused),
    )  # fmt: skip


def _parts(names: Iterable[str]) -> str:
    """The modules behind names of weights, with the number of tensors: `backbone (80), heads.angle (6)`."""
    counts: dict[str, int] = {}
    for name in sorted(names):
        first, *rest = name.split(".")
        part = first if first == BACKBONE or len(rest) < 2 else f"{first}.{rest[0]}"
        counts[part] = counts.get(part, 0) + 1
    shown = [f"{part} ({count})" for part, count in counts.items()]
    return ", ".join(shown[:8]) + (", ..." if len(shown) > 8 else "") or "nothing"


def _check_normalization(before: Mapping[str, Any], source: Mapping[str, Tensor], now: Mapping[str, Any]) -> None:
    """An encoder understands only numbers scaled as those it was trained on: what this run gives must agree."""
    found = {name.split(".")[-1]: float(values) for name, values in source.items() if ".normalizer." in f".{name}"}
    schemes = (settings.get("npho_scheme", DEFAULT_SCHEME) for settings in (before, now))
    pairs: dict[str, tuple[Any, Any]] = {"npho_scheme": tuple(schemes)}
    pairs |= {name: (found[name], math.inf if now[name] is None else now[name]) for name in found.keys() & now.keys()}
    for name, (trained, value) in pairs.items():
        if trained != value and not (isinstance(value, float) and math.isclose(trained, value, rel_tol=1e-6)):
            raise ValueError(f"normalization.{name}: the checkpoint was trained with {trained!r}, found {value!r}")
