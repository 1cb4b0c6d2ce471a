from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from xecgnn.detector import Detector

HEADER = "sensor_id,x,y,z,nx,ny,nz"


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join((HEADER, *lines)) + "\n")
    return path


def test_round_trip(mini: Detector, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    position = mini.position + rng.normal(0, 0.4, mini.position.shape)
    normal = mini.normal + rng.normal(0, 0.01, mini.normal.shape)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    rows = zip(rng.permutation(mini.num_sensors), strict=True)  # in any order
    lines = [f"{i}," + ",".join(map(repr, [*position[i].tolist(), *normal[i].tolist()])) for (i,) in rows]
    surveyed = mini.with_survey(write(tmp_path / "survey.csv", *lines))
    np.testing.assert_array_equal(surveyed.position, position)
    np.testing.assert_allclose(surveyed.normal, normal, atol=1e-15)


def test_a_subset_moves_only_its_sensors_and_keeps_topology(mini: Detector, tmp_path: Path) -> None:
    before = mini.position.copy()
    surveyed = mini.with_survey(write(tmp_path / "survey.csv", "5,1,2,3,0,0,1", "", "7,4,5,6,0,0.6,0.8"))
    np.testing.assert_array_equal(surveyed.position[[5, 7]], [[1, 2, 3], [4, 5, 6]])
    np.testing.assert_allclose(surveyed.normal[[5, 7]], [[0, 0, 1], [0, 0.6, 0.8]], atol=1e-15)
    others = np.delete(np.arange(mini.num_sensors), [5, 7])
    np.testing.assert_array_equal(surveyed.position[others], before[others])
    np.testing.assert_array_equal(mini.position, before)
    assert surveyed.hash == mini.hash
    assert surveyed.seams().keys() == mini.seams().keys()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("212,1,2,3,0,0,1", "sensor id must be 0 to 211, found 212"),
        ("-1,1,2,3,0,0,1", "sensor id must be 0 to 211, found -1"),
        ("0,1,2,3,0,0,1", "sensor id 0 appears twice"),
        ("1,1,2,3", "expected 7 values, found 4"),
        ("1,1,far,3,0,0,1", "far"),
        ("1.5,1,2,3,0,0,1", "1.5"),
        ("1,1,nan,3,0,0,1", "sensor 1 has a value that is not finite"),
        ("1,1,2,3,0,0,2", "the normal of sensor 1 must have length 1, found 2"),
    ],
)
def test_a_bad_line_is_named(mini: Detector, tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"survey\.csv:3: [^\n]*$") as error:
        mini.with_survey(write(tmp_path / "survey.csv", "0,1,2,3,0,0,1", line))
    assert message in str(error.value)


def test_bad_files(mini: Detector, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no survey file '.*nowhere\.csv'"):
        mini.with_survey(tmp_path / "nowhere.csv")
    with pytest.raises(ValueError, match=r"survey\.csv: no sensor in the survey"):
        mini.with_survey(write(tmp_path / "survey.csv"))
    (tmp_path / "survey.csv").write_text("id,x,y,z\n1,2,3,4\n")
    with pytest.raises(ValueError, match="the header must be 'sensor_id,x,y,z,nx,ny,nz', found 'id,x,y,z'"):
        mini.with_survey(tmp_path / "survey.csv")
