"""From a checkpoint to a model file that has been compared with it, and the comparison repeated later."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from xecgnn.data.config import ReaderConfig
from xecgnn.data.events import Events
from xecgnn.detector import Detector
from xecgnn.export.config import ExportConfig, VerifyConfig
from xecgnn.export.metadata import describe, weights_hash
from xecgnn.export.onnx_file import OPSET, operators, write_onnx
from xecgnn.export.raw_model import RawModel
from xecgnn.export.runtime import OnnxPredictor, require
from xecgnn.export.verify import verify
from xecgnn.names import FEATURES, NPHO, RELATIVE_NPHO
from xecgnn.output import check_new, completed
from xecgnn.simulation.simulate import simulate_events
from xecgnn.training.checkpoint import load_network

__all__ = ["export_checkpoint", "verify_file"]

log = logging.getLogger(__name__)


def export_checkpoint(config: ExportConfig) -> Path:
    """Write the averaged (EMA) weights of a checkpoint as an ONNX file; it has its name only if it passed `verify`.

    Raises:
        FileExistsError: the output exists.
        FileNotFoundError, ValueError: a library is not installed, a checkpoint or settings cannot be used, or the file
            failed.
    """
    require("onnx", "onnxscript", "onnxruntime")
    check_new(config.output, overwrite=config.overwrite)
    model, run = _network(config.checkpoint, config.encoder)
    raw = RawModel(
        model,
        config.tasks,
        normalized_input=config.normalized_input,
        encoder_only=config.encoder,
        inpainter=_inpainter(config.inpaint, run),
    )
    events = _events(config.data, config.events, raw.detector, run)
    with completed(config.output) as part:
        write_onnx(raw, part, describe(raw, model, run))
        table = verify(part, raw, events)
    counts, size = operators(config.output), config.output.stat().st_size / 1e6
    text = "%s\n%s: %.1f MB, opset %d, %d operators of %d kinds"
    log.info(text, table, config.output, size, OPSET, sum(counts.values()), len(counts))
    return config.output


def verify_file(config: VerifyConfig) -> str:
    """Compare a model file with its checkpoint once more; returns the table.

    Raises:
        FileNotFoundError, ValueError: files that cannot be used or do not belong together, or a comparison that failed.
    """
    metadata = OnnxPredictor(config.verify).metadata
    encoder_only, filled = metadata["kind"] == "encoder", metadata.get("inpainter_hash")
    model, run = _network(config.checkpoint, encoder_only)
    _same_weights(config.verify, metadata["model_hash"], config.checkpoint, model)
    if bool(filled) != bool(config.inpaint):
        hint = "an inpainter: give" if filled else "no inpainter: leave out"
        raise ValueError(f"{config.verify} has {hint} --inpaint")
    inpainter = _inpainter(config.inpaint, run)
    if filled:
        _same_weights(config.verify, filled, config.inpaint, inpainter)
    raw = RawModel(
        model,
        json.loads(metadata["tasks"]),
        normalized_input=metadata["input"] == "normalized",
        encoder_only=encoder_only,
        inpainter=inpainter,
    )
    table = verify(config.verify, raw, _events(config.data, config.events, raw.detector, run))
    log.info("%s\n%s agrees with %s.", table, config.verify, config.checkpoint)
    return table


def _network(path: Path, encoder_only: bool) -> tuple[Any, dict[str, Any]]:
    """The network of a checkpoint, and what the checkpoint says about its training."""
    return load_network(path, kind=None if encoder_only else "regression")


def _same_weights(file: Path, found: str, checkpoint: Path | None, network: Any) -> None:
    wanted = weights_hash(network)
    if found != wanted:
        raise ValueError(f"{file} holds the weights {found[:12]}, not those of {checkpoint} ({wanted[:12]})")


def _inpainter(path: Path | None, run: dict[str, Any]) -> Any:
    if path is None:
        return None
    inpainter, its_run = load_network(path, kind="inpainting")
    trained, wanted = (r["config"]["data"][f"{NPHO}_branch"] for r in (its_run, run))
    if trained != wanted:
        raise ValueError(f"the inpainter was trained on {trained}, the network on {wanted}")
    return inpainter


def _events(path: Path | None, count: int, detector: Detector, run: dict[str, Any]) -> Events:
    """The first events of a file, read as in the training, or simulated ones."""
    settings = run["config"]["data"]
    if path is not None:
        reader = ReaderConfig(**{name: settings[name] for name in ("tree", "npho_branch", "time_branch")})
        return Events.read(path, FEATURES, stop=count, num_sensors=detector.num_sensors, config=reader)
    events = simulate_events(detector, count, all_branches=settings["npho_branch"] == RELATIVE_NPHO)
    return Events({name: events[settings[f"{NPHO}_branch"] if name == NPHO else name] for name in FEATURES})
