from __future__ import annotations

import csv
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays, floating_dtypes, integer_dtypes

from xecgnn.data import Events, TreeWriter, write
from xecgnn.data.writer import BASKET_EVENTS
from xecgnn.names import SCHEMA
from xecgnn.schema import SENSOR, Schema


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


@st.composite
def tables(draw: st.DrawFn) -> Events:
    """Some columns that are declared, and others of any type and width; as many events as nobody asked for."""
    count = draw(st.integers(1, 40))
    columns = {}
    known = [*SCHEMA.names(), "pred_emiAng", "sigma_emiAng", "pred_npho"]
    for name in draw(st.lists(st.sampled_from(known))):
        column = SCHEMA[name]
        shape = {1: (count,), SENSOR: (count, 3)}.get(column.width, (count, column.width))
        columns[name] = draw(arrays(column.dtype, shape))
    for name in draw(st.lists(st.sampled_from(["dose", "EGamma", "good"]), min_size=0 if columns else 1)):
        kinds = st.one_of(floating_dtypes(sizes=(32, 64)), integer_dtypes(), st.just(np.dtype(bool)))
        width = draw(st.integers(0, 4))
        columns[name] = draw(arrays(draw(kinds), (count, width) if width else count))
    return Events(columns)


@settings(max_examples=40, deadline=None)
@given(tables(), st.integers(1, 50), st.data())
def test_what_is_written_reads_back(events: Events, chunk: int, data: st.DataObject) -> None:
    """In whatever portions it is written and read, whole or in part."""
    cut = data.draw(st.integers(0, len(events)))
    start = data.draw(st.integers(0, len(events) - 1))
    stop = data.draw(st.integers(start + 1, len(events) + 5))
    names = data.draw(st.lists(st.sampled_from(events.fields), min_size=1, unique=True))
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("xecgnn.data.writer.BASKET_EVENTS", 7)
        path = Path(folder) / "a.root"
        assert write([events[:cut], events[cut:]], path) == len(events)
        found = Events.read(path, names, start, stop)
        assert found == events.select(*names)[start:stop]
        assert {name: values.dtype for name, values in found.columns.items()} == {n: events[n].dtype for n in names}
        parts = list(Events.stream(path, names, chunk=chunk))
        assert max(map(len, parts)) <= chunk
        assert Events.concatenate(parts) == events.select(*names)
        kept = list(Events.stream(path, names, lambda some: np.arange(len(some)) % 2 == 0, chunk=7))
        assert sum(map(len, kept)) == sum((min(7, len(events) - first) + 1) // 2 for first in range(0, len(events), 7))
        assert Events.concatenate(list(Events.stream(path, ["other"], schema=Schema()))) == events


@settings(max_examples=40, deadline=None)
@given(tables(), st.data())
def test_a_table_of_text_has_the_same_numbers(events: Events, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(events)))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        assert write([events[:cut], events[cut:]], path) == len(events)
        with path.open() as file:
            rows = list(csv.DictReader(file))
    assert len(rows) == len(events)
    for name, values in events.columns.items():
        for number, single in enumerate(values.T if values.ndim == 2 else [values]):
            texts = [row[name if values.ndim == 1 else f"{name}_{number}"] for row in rows]
            convert = float if values.dtype.kind == "f" else int
            np.testing.assert_array_equal(np.array([convert(text) for text in texts], values.dtype), single)
