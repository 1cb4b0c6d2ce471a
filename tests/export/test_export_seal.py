"""What is not what was written is refused before a parser looks at it."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import onnx
import pytest

from xecgnn.export import OnnxPredictor
from xecgnn.export.seal import LENGTH, SEAL


@pytest.fixture
def copy(exported: Path, tmp_path: Path) -> Path:
    path = tmp_path / "copy.onnx"
    path.write_bytes(exported.read_bytes())
    return path


def test_the_hash_is_of_all_bytes_before_it_and_other_programs_see_it(copy: Path) -> None:
    content = copy.read_bytes()
    texts = {entry.key: entry.value for entry in onnx.load(copy).metadata_props}
    assert texts[SEAL] == hashlib.sha256(content[:-LENGTH]).hexdigest()
    assert OnnxPredictor(copy).metadata[SEAL] == texts[SEAL]


@pytest.mark.parametrize("place", [0, 10, 0.3, 0.99, -LENGTH - 1, -1])
def test_one_other_byte_is_one_line(copy: Path, place: float) -> None:
    content = bytearray(copy.read_bytes())
    content[int(place * len(content)) if 0 < place < 1 else int(place)] ^= 1
    copy.write_bytes(content)
    with pytest.raises(ValueError, match=r"copy\.onnx: damaged or changed, it has another SHA-256"):
        OnnxPredictor(copy)


def test_another_weight_is_found_however_it_was_written(copy: Path) -> None:
    model = onnx.load(copy)
    weights = next(value for value in model.graph.initializer if len(value.raw_data) > 100)
    weights.raw_data = bytes([weights.raw_data[0] ^ 1]) + weights.raw_data[1:]
    onnx.save(model, copy)
    with pytest.raises(ValueError, match=re.escape("copy.onnx: damaged or changed") + "|changed since it was written"):
        OnnxPredictor(copy)


def test_a_file_without_a_hash_is_named(copy: Path, caplog: pytest.LogCaptureFixture) -> None:
    copy.write_bytes(copy.read_bytes()[:-LENGTH])
    OnnxPredictor(copy)
    assert "copy.onnx: has no hash of its content at its end" in caplog.text
