from __future__ import annotations

import numpy as np
import pytest

from xecgnn.data.dead_channels import read_dead_channels


def test_ids_are_sorted_and_unique(tmp_path):
    path = tmp_path / "dead.txt"
    path.write_text("# run 12\n17 # noisy\n\n3\n  211\n3, 5 4\n")
    ids = read_dead_channels(path, 212)
    np.testing.assert_array_equal(ids, [3, 4, 5, 17, 211])
    assert ids.dtype == np.int64


def test_a_list_may_be_empty(tmp_path):
    path = tmp_path / "dead.txt"
    path.write_text("# none\n")
    assert read_dead_channels(path, 212).shape == (0,)


@pytest.mark.parametrize("word", ["212", "-1", "x7", "3.0", "1e2", "²", "٣"])
def test_what_is_no_sensor_is_named(tmp_path, word):
    path = tmp_path / "dead.txt"
    path.write_text(f"3\n{word}\n", encoding="utf-8")
    with pytest.raises(ValueError, match="line 2") as error:
        read_dead_channels(path, 212)
    assert str(error.value) == f"{path}, line 2: {word!r} is not a sensor id, 0 to 211"


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file of dead channels '.*none\.txt'"):
        read_dead_channels(tmp_path / "none.txt", 212)
