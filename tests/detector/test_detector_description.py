from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from xecgnn.detector import Detector, load_detector

# One edit of mini.yaml (pattern, replacement) -> words that the one-line error has to contain.
MISTAKES = {
    "unknown key at the top": (r"phi_opening: ", "phi_openning: ", ["phi_openning", "did you mean 'phi_opening'"]),
    "unknown key in a face": (r"pitch_z: 8.3", "pitch_zz: 8.3", ["faces.inner.pitch_zz", "'pitch_z'"]),
    "unknown key in a block": (r"(block:\n\s+)rows", r"\1rovs", ["faces.outer.block.rovs", "'rows'"]),
    "no face": (r"faces:(?s:.*)", "faces: {}\n", ["faces", "at least 1"]),
    "missing key": (r"    first_id: 126\n", "", ["faces.us.first_id", "required"]),
    "wrong type": (r"radius: 72.5", "radius: far", ["faces.us.radius", "'far'"]),
    "not positive": (r"pitch_z: 8.3", "pitch_z: -8.3", ["faces.inner.pitch_z", "greater than 0", "-8.3"]),
    "not finite": (r"z: -36.2", "z: .nan", ["faces.us.z", "finite"]),
    "unknown kind": (r"kind: endcap", "kind: cone", ["faces.us", "'cone'", "'endcap'"]),
    "unknown sensor": (r"sensor: mppc", "sensor: apd", ["'inner'", "'apd'", "mppc, pmt"]),
    "unknown side": (r"inner: first_col", "inner: left", ["seams.0.inner", "'first_col'", "'left'"]),
    "unknown face in a seam": (r"\{inner: first_col", "{iner: first_col", ["'iner'", "inner, us"]),
    "the same seam twice": (r"\{inner: last_col, ds", "{us: last_row, inner", ["two seams", "inner and us"]),
    "ids twice": (r"first_id: 178", "first_id: 177", ["177", "top", "bottom"]),
    "ids missing": (r"first_id: 178", "first_id: 300", ["178 is missing"]),
    "hex rows not shifted": (r"\[4, 5, 4, 3\]", "[4, 5, 4, 4]", ["rows 2 and 3", "4 and 4"]),
    "block outside the face": (r"rows: \[1, 5\]", "rows: [1, 7]", ["[1, 7]", "6 x 5"]),
    "block of no rows": (r"rows: \[1, 5\]", "rows: [5, 5]", ["[5, 5]"]),
    "block lacks an id that it replaces": (r"\[102, 194", "[212, 194", ["102"]),
    "ragged block": (r"\[102, 194, ", "[102, ", ["one length", "[4, 5]"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_that_names_it(mini: Detector, mistake: str) -> None:
    pattern, replacement, words = MISTAKES[mistake]
    text, count = re.subn(pattern, replacement, mini.yaml, count=1)
    assert count == 1
    with pytest.raises(ValueError, match=r"^my\.yaml: [^\n]*$") as error:
        Detector.from_yaml(text, "my.yaml")
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize("text", ["", "- a list", "a: [1", "just words"])
def test_what_is_no_description_is_one_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"^my\.yaml: [^\n]*$"):
        Detector.from_yaml(text, "my.yaml")


def test_a_detector_of_one_plain_face_is_enough(mini: Detector) -> None:
    data = yaml.safe_load(mini.yaml)
    data["faces"] = {"wall": data["faces"]["inner"]}
    del data["seams"]
    detector = Detector.from_yaml(yaml.safe_dump(data))
    assert list(detector.faces) == ["wall"]
    assert detector.num_sensors == 96
    assert detector.seams() == {}


def test_load_by_path_and_unknown_name(mini: Detector, tmp_path: Path) -> None:
    path = tmp_path / "copy of mini.yaml"
    path.write_text(mini.yaml)
    assert load_detector(path).hash == load_detector(str(path)).hash == mini.hash
    with pytest.raises(FileNotFoundError, match="'meg3': neither a file nor one of meg2, mini"):
        load_detector("meg3")


def test_a_coarser_power_of_ten_is_a_number(mini: Detector) -> None:
    # PyYAML reads 1e1 as a string.
    assert Detector.from_yaml(mini.yaml.replace("pitch_radius: 10.4", "pitch_radius: 1e1")).num_sensors == 212
