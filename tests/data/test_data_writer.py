from __future__ import annotations

import numpy as np
import pytest
import uproot

from xecgnn.data import Events, TreeWriter, write
from xecgnn.data.writer import BASKET_EVENTS


def events(count: int) -> Events:
    rng = np.random.default_rng(count)
    readings = {"npho": rng.random((count, 5), np.float32), "energyTruth": rng.random(count, np.float32)}
    return Events(readings | {"run": np.arange(count)})


@pytest.mark.parametrize("compression", ["zstd", "lz4", "zlib", "none"])
def test_any_chunking_gives_the_same_tree(tmp_path, compression):
    wanted = events(1203)
    for name, cuts in {"whole": [], "parts": [0, 1, 499, 500, 501, 1100]}.items():
        with TreeWriter(tmp_path / f"{name}.root", compression) as writer:
            for part in np.split(np.arange(1203), cuts):
                writer.write(wanted[part])
        assert writer.num_events == 1203
        with uproot.open(tmp_path / f"{name}.root") as file:
            tree = file["tree"]
            assert [tree["npho"].basket_entry_start_stop(i)[1] for i in range(3)] == [BASKET_EVENTS, 1000, 1203]
            assert tree["run"].typename == "int64_t"
            assert tree["npho"].typename == "float[5]"
            for key, values in wanted.columns.items():
                np.testing.assert_array_equal(tree[key].array(library="np"), values)
    sizes = {path.stat().st_size for path in tmp_path.glob("*.root")}
    assert len(sizes) == 1
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_file_is_removed_and_the_old_one_kept(tmp_path, error):
    path = tmp_path / "a.root"
    path.write_text("old")

    def interrupted() -> None:
        with TreeWriter(path) as writer:
            writer.write(events(700))
            assert path.read_text() == "old"
            raise error

    with pytest.raises(error):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_wrong_input(tmp_path):
    with pytest.raises(ValueError, match="'gzip'; allowed: zstd, lz4, zlib, none"):
        TreeWriter(tmp_path / "a.root", "gzip")
    shape = {"npho": np.zeros((3, 4))}
    for change, words in [(shape, r"shape \(3, 4\), expected \(3, 5\)"), ({"x": np.zeros(3)}, "do not match")]:
        with pytest.raises(ValueError, match=words):
            write([events(7), events(3).with_columns(change)], tmp_path / "a.root")
    with pytest.raises(ValueError, match=r"do not match those before"):
        write([events(7), events(3).with_columns({"x": np.zeros(3)})], tmp_path / "a.csv")
    with pytest.raises(ValueError, match=r"a\.csv: nothing to write"):
        write([], tmp_path / "a.csv")
    assert not list(tmp_path.iterdir())
