"""The network as one ONNX file: opset 20, any number of events, static gathers and convolutions."""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch

from xecgnn.export.raw_model import READINGS, RawModel
from xecgnn.export.seal import seal

__all__ = ["FORBIDDEN", "IR_VERSION", "OLDEST_RUNTIME", "OPSET", "operators", "write_onnx"]

OPSET = 20  # the first one with GELU
IR_VERSION = 9  # of that opset's time: the exporter's own would need a later ONNX Runtime than the operators do
OLDEST_RUNTIME = "1.17"  # of ONNX Runtime, that reads and runs such a file
# Slow or dynamic: the topology is static, so none of these is needed.
FORBIDDEN = ("Scatter", "ScatterElements", "ScatterND", "NonZero", "Loop", "If", "Scan")


def write_onnx(raw: RawModel, path: str | Path, metadata: Mapping[str, str]) -> None:
    """Write `raw` in evaluation mode, with the given texts; an existing file is replaced.

    Raises:
        ValueError: a part of the network became one of the FORBIDDEN operators.
    """
    sensors = raw.detector.num_sensors
    shape = (2, sensors, 2) if raw.input_names == (READINGS,) else (2, sensors)  # a batch of 1 would become a constant
    batch = torch.export.Dim("batch", min=1)
    with _plain_attention(), _quiet(), torch.no_grad():
        program = torch.onnx.export(
            raw.eval(),
            tuple(torch.zeros(shape) for _ in raw.input_names),
            dynamo=True,
            external_data=False,
            opset_version=OPSET,
            input_names=list(raw.input_names),
            output_names=list(raw.output_names),
            dynamic_shapes=(tuple({0: batch} for _ in raw.input_names),),
            verbose=False,
        )
    assert program is not None
    program.model.metadata_props.update(metadata)
    program.model.ir_version = IR_VERSION
    program.model.producer_name, program.model.producer_version = "xecgnn", metadata["xecgnn_version"]
    program.save(str(path))
    seal(Path(path))
    if found := sorted(set(FORBIDDEN) & set(operators(path))):
        raise ValueError(f"the exported graph has operators that it must not have: {', '.join(found)}")


def operators(path: str | Path) -> Counter[str]:
    """How often each operator is in a file."""
    import onnx

    model = onnx.load(path)
    return Counter(node.op_type for owner in (model.graph, *model.functions) for node in owner.node)


@contextmanager
def _plain_attention() -> Iterator[None]:
    """The Transformer from single operators: its fused form has no counterpart in ONNX."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter talks about its own insides."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
