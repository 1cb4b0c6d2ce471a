"""Damaged model files of `xecgnn-export`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fault_injection.checkpoints import EVENTS, damaged, trained
from fault_injection.outcome import Outcome, classify
from xecgnn.detector import load_detector
from xecgnn.export import ExportConfig, export_checkpoint
from xecgnn.inference import load_predictor
from xecgnn.names import FEATURES
from xecgnn.simulation import simulate_events


def outcomes(folder: Path, number: int, seed: int) -> Iterator[Outcome]:
    """Each damage is met by `load_predictor`, as in `xecgnn-infer`, and a prediction of some events."""
    events = simulate_events(load_detector("mini"), EVENTS, seed=2)
    path = export_checkpoint(ExportConfig(checkpoint=trained(folder), output=folder / "model.onnx", events=8))
    content = path.read_bytes()

    def predict() -> list[bytes]:
        found = load_predictor(path, one_thread=True).predict(*(events[name] for name in FEATURES))
        return [values.tobytes() for values in found.values()]

    expected = predict()
    for case in range(number):
        changed, how = damaged(content, case, seed)
        path.write_bytes(changed)
        kind, text = classify(predict, expected)
        yield Outcome("ONNX: load_predictor", kind, f"number {case}, {how}", text)
