from __future__ import annotations

import numpy as np
import pytest
import uproot

from xecgnn.data import (
    BadFileError,
    DataConfig,
    EventLoader,
    Events,
    ReaderConfig,
    find_files,
)
from xecgnn.data import write as write_events
from xecgnn.data.reader import TreeReader
from xecgnn.names import INVALID_VALUE, SCHEMA, TARGETS, UNKNOWN_CLASS
from xecgnn.schema import Schema

SENSORS = 7


def write(path, first: int, count: int, **more):
    """Events numbered from `first`, with `energyTruth` = number; `more` are further columns, None removes one."""
    number = np.arange(first, first + count)
    rng = np.random.default_rng(first)
    columns = {
        "npho": rng.random((count, SENSORS), np.float32),
        "relative_time": rng.random((count, SENSORS), np.float32),
        "energyTruth": number.astype(np.float32),
        "emiAng": np.stack([number, -number], 1).astype(np.float32),
        "event": number.astype(np.int32),
    } | more
    columns = {name: values for name, values in columns.items() if values is not None}
    write_events(Events(columns, Schema()), path, compression="none")
    return columns


def test_all_that_is_there_in_the_types_of_the_branches(tmp_path):
    written = write(tmp_path / "a.root", 0, 1100)
    events = Events.read(tmp_path / "a.root")
    assert set(events.fields) == set(written)
    for name, values in written.items():
        np.testing.assert_array_equal(events[name], values)
        assert events[name].dtype == SCHEMA[name].dtype


def test_written_and_read_events_are_equal(tmp_path):
    write(tmp_path / "a.root", 0, 30)
    events = Events.read(tmp_path / "a.root")
    write_events([events[:11], events[11:]], tmp_path / "b.root")
    assert Events.read(tmp_path / "b.root") == events


def test_scalars_as_arrays_of_length_one_and_other_number_types(tmp_path):
    with uproot.recreate(tmp_path / "a.root") as file:
        file.mktree("tree", {"energyTruth": np.dtype((">f8", (1,))), "run": np.dtype("int64")})
        file["tree"].extend({"energyTruth": np.array([[1.5], [2.5]]), "run": np.array([3, 4])})
    events = Events.read(tmp_path / "a.root", columns=["energyTruth", "run"])
    assert events == Events({"energyTruth": [1.5, 2.5], "run": [3, 4]})


def test_ranges_run_over_all_files(tmp_path):
    for number, (first, count) in enumerate([(0, 10), (10, 1), (11, 20)]):
        write(tmp_path / f"{number}.root", first, count)
    everything = Events.read(tmp_path)
    np.testing.assert_array_equal(everything.event, np.arange(31))
    for start, stop in [(0, 3), (9, 12), (10, None), (11, 31), (30, 99)]:
        assert Events.read(tmp_path, start=start, stop=stop) == everything[start:stop]
    with pytest.raises(ValueError, match="entries 31 to None are outside the 31 entries of 3 files"):
        Events.read(tmp_path, start=31)


def test_degrees_become_radians(tmp_path):
    write(tmp_path / "a.root", 0, 5)
    events = Events.read(tmp_path / "a.root", angle_unit="deg")
    np.testing.assert_allclose(events.emiAng[:, 0], np.radians(np.arange(5)), rtol=1e-6)


def test_other_branches_can_stand_for_the_readings(tmp_path):
    relative, time = np.ones((4, SENSORS), np.float32), np.full((4, SENSORS), 2, np.float32)
    write(tmp_path / "a.root", 0, 4, relative_npho=relative, time=time)
    events = Events.read(tmp_path / "a.root", npho_branch="relative_npho", time_branch="time")
    np.testing.assert_array_equal(events.npho, relative)
    np.testing.assert_array_equal(events.relative_time, time)


def test_invalid_readings_and_missing_truth_pass_unchanged(tmp_path):
    npho = np.full((3, SENSORS), np.nan, np.float32)
    npho[1] = 1e10
    write(tmp_path / "a.root", 0, 3, npho=npho, energyTruth=np.full(3, np.nan, np.float32))
    events = Events.read(tmp_path / "a.root")
    np.testing.assert_array_equal(events.npho, npho)
    assert np.isnan(events.energyTruth).all()


def test_fiducial_cut(tmp_path):
    inside = [[0, 0, 0], [23.8, -67.8, 38.4]]
    outside = [[23.9, 0, 1], [0, -67.9, 1], [0, 0, -0.1], [0, 0, 38.5], [np.nan] * 3]
    write(tmp_path / "a.root", 0, 7, uvwTruth=np.array(inside + outside, np.float32))
    np.testing.assert_array_equal(Events.read(tmp_path / "a.root", fiducial=True).event, [0, 1])
    np.testing.assert_array_equal(Events.read(tmp_path / "a.root", fiducial=True, start=1, stop=4).event, [1])


def test_truth_that_not_all_files_have_is_left_out_unless_asked_for(tmp_path):
    write(tmp_path / "a.root", 0, 3)
    write(tmp_path / "b.root", 0, 3, energyTruth=None)
    assert "energyTruth" not in Events.read(tmp_path)
    with pytest.raises(ValueError, match=r"b\.root: no branch 'energyTruth'; branches: npho, relative"):
        Events.read(tmp_path, columns=["energyTruth"])


def test_names_globs_and_directories(tmp_path):
    for name in ["b.root", "a.root", "c.txt", "odd[1].root"]:
        (tmp_path / name).touch()
    a, b, odd = (tmp_path / name for name in ["a.root", "b.root", "odd[1].root"])
    assert find_files(tmp_path) == [a, b, odd]
    assert find_files([b, str(tmp_path / "?.root")]) == [b, a]
    assert find_files(str(odd)) == [odd]
    for nothing in [tmp_path / "x*.root", [a, tmp_path / "x.root"], []]:
        with pytest.raises(FileNotFoundError):
            find_files(nothing)
    with pytest.raises(FileNotFoundError, match=r"no such file: .*x\.root"):
        find_files([a, tmp_path / "x.root"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"npho_branch": "nphe"}, "no branch 'nphe'; branches: npho, relative_time, energyTruth, emiAng, event"),
        ({"num_sensors": 8}, "branch 'npho' has 7 sensors, the detector has 8"),
        ({"tree": "events"}, "no tree 'events'; trees: tree"),
        ({"columns": ["nphe"]}, "no branch 'nphe'; branches: npho, relative_time"),
        ({"angle_unit": "grad"}, "angle_unit"),
        ({"fiducial": True}, "no branch 'uvwTruth'"),
    ],
)
def test_wrong_settings(tmp_path, options, words):
    write(tmp_path / "a.root", 0, 3)
    with pytest.raises(ValueError, match=words):
        Events.read(tmp_path / "a.root", **options)


def test_branches_of_another_shape(tmp_path):
    write(tmp_path / "a.root", 0, 3, emiAng=np.zeros((3, 3), np.float32))
    with pytest.raises(ValueError, match="branch 'emiAng' has width 3, expected 2"):
        Events.read(tmp_path / "a.root", columns=["emiAng"])
    with uproot.recreate(tmp_path / "b.root") as file:
        file.mktree("tree", {"npho": "var * float32"})
        file["tree"].extend({"npho": [[1.0], [1.0, 2.0]]})
    with pytest.raises(ValueError, match="branch 'npho' is float\\[\\], not a fixed-size array"):
        Events.read(tmp_path / "b.root", columns=["npho"])


def damaged(path, how: str) -> None:
    write(path, 100, 1500)
    content = path.read_bytes()
    if how == "empty file":
        content = b""
    elif how == "not ROOT":
        content = b"event,npho\n" * 1000
    elif how == "truncated":
        content = content[: len(content) // 2]
    elif how == "last byte":
        content = content[:-1]
    path.write_bytes(content)
    if how == "no events":
        write(path, 0, 0)


@pytest.mark.parametrize("how", ["empty file", "not ROOT", "truncated", "last byte", "no events"])
def test_bad_file_in_the_middle_of_a_list(tmp_path, how, caplog):
    write(tmp_path / "a.root", 0, 3)
    damaged(tmp_path / "b.root", how)
    write(tmp_path / "c.root", 3, 3)
    with pytest.raises(BadFileError, match=r"b\.root") as caught:
        Events.read(tmp_path)
    assert "\n" not in str(caught.value)
    events = Events.read(tmp_path, on_bad_file="skip")
    np.testing.assert_array_equal(events.event, np.arange(6))
    assert ["b.root" in record.message for record in caplog.records] == [True]
    with pytest.raises(BadFileError, match=r"none of 1 files can be read: .*b\.root"):
        Events.read(tmp_path / "b.root", on_bad_file="skip")


def test_branches_with_any_name(tmp_path):
    layout = {
        "x": np.dtype("f8"),
        "good": np.dtype(("?", (4,))),
        "one": np.dtype(("i2", (1,))),
        "hits": "var * float32",
    }
    with uproot.recreate(tmp_path / "a.root") as file:
        file.mktree("tree", {**layout, "table": np.dtype(("f4", (2, 3)))})
        good = np.arange(12).reshape(3, 4) % 3 == 0
        columns = {"x": np.arange(3.0), "good": good, "one": np.array([[1], [2], [3]], np.int16)}
        file["tree"].extend({**columns, "hits": [[1.0], [], [2.0, 3.0]], "table": np.zeros((3, 2, 3), np.float32)})
    with TreeReader(tmp_path / "a.root", ReaderConfig()) as reader:
        found = {name: (column.dtype, column.width) for name, column in reader.stored.items()}
        assert found == {"x": ("<f8", 1), "good": ("|b1", 4), "one": ("<i2", 1), "nhits": ("<i4", 1)}
        assert reader.unreadable == ["hits", "table"]
        np.testing.assert_array_equal(reader.read_column("good", 1, 3), good[1:])
        np.testing.assert_array_equal(reader.read_column("one", 0, 2), [1, 2])


TRUTH = SCHEMA.names("truth")


@pytest.mark.parametrize("invalid", [INVALID_VALUE, -INVALID_VALUE, np.nan, np.inf])
def test_invalid_truth_is_unknown_wherever_it_is_read(tmp_path, mini, invalid):
    """Nothing else may learn of the writer's value: scaling, weights, losses, metrics and plots know NaN alone."""
    widths = {name: SCHEMA[name].width for name in TRUTH}
    truth = {name: np.ones((20, width) if width > 1 else 20, np.float64) for name, width in widths.items()}
    for row, values in enumerate(truth.values()):
        values.reshape(20, -1)[row, -1] = invalid
    readings = {name: np.ones((20, mini.num_sensors), np.float32) for name in ("npho", "relative_time")}
    write(tmp_path / "a.root", 0, 20, **readings, **truth)

    config = DataConfig(batch_size=20, num_workers=0, angle_unit="deg")
    with TreeReader(tmp_path / "a.root", config) as reader:
        loaded = reader.read(TRUTH)
    (batch,) = EventLoader(tmp_path / "a.root", mini, config, shuffle=False)
    by_batch = {branch: batch.y[task].numpy() for task, branch in TARGETS.items()}
    of_files = Events.read(tmp_path / "a.root", config=config).columns
    for found in (loaded, of_files, Events(truth).columns, by_batch):
        for row, name in enumerate(TRUTH):
            if name in found:
                values = found[name].reshape(20, -1)
                unknown = values == UNKNOWN_CLASS if name == "n_gamma" else np.isnan(values)
                assert unknown[row, -1], name
                assert unknown.sum() == 1, name
    as_stored = Events.read(tmp_path / "a.root", ["energyTruth"], schema=Schema())  # for copies
    np.testing.assert_array_equal(as_stored.energyTruth, truth["energyTruth"])


def test_an_event_whose_position_is_unknown_is_outside_the_fiducial_volume(tmp_path):
    uvw = np.ones((3, 3), np.float32)
    uvw[1, 2] = INVALID_VALUE
    uvw[2, 0] = np.nan
    write(tmp_path / "a.root", 0, 3, uvwTruth=uvw)
    assert Events.read(tmp_path / "a.root", fiducial=True).event.tolist() == [0]


def test_kinds_stand_for_the_columns_that_all_files_have(tmp_path):
    write(tmp_path / "a.root", 0, 3, pred_energyTruth=np.ones(3), dose=np.ones((3, 2)), table=np.ones(3))
    write(tmp_path / "b.root", 3, 3, pred_energyTruth=np.ones(3), dose=np.ones((3, 2)))
    events = Events.read(tmp_path, ["identifier", "prediction", "other"])
    assert events.fields == ("event", "pred_energyTruth", "dose")
    assert events.pred_energyTruth.dtype == np.float32
    assert events.dose.dtype == np.float64
    assert Events.read(tmp_path, ["energyTruth", "truth"]).fields == ("energyTruth", "emiAng")


def test_a_stream_holds_only_the_chunk_it_gives(tmp_path):
    write(tmp_path / "a.root", 0, 1700)
    write(tmp_path / "b.root", 1700, 30)
    parts = list(Events.stream(tmp_path, chunk=600))
    assert [len(part) for part in parts] == [500, 500, 500, 200, 30]  # cut where baskets end
    assert Events.concatenate(parts) == Events.read(tmp_path)
    hundreds = Events.stream(tmp_path, ["event"], lambda events: events.event % 100 == 0, chunk=2, start=450, stop=1001)
    assert [part.event.tolist() for part in hundreds] == [[500, 600], [700, 800], [900], [1000]]
    with pytest.raises(FileNotFoundError):  # at once
        Events.stream(tmp_path / "none.root")


def test_predictions_in_degrees_are_not_there(tmp_path):
    """`angle_unit` is that of the truth in data files; what we write is in rad."""
    write(tmp_path / "a.root", 0, 5, pred_emiAng=np.ones((5, 2), np.float32))
    events = Events.read(tmp_path / "a.root", ["emiAng", "pred_emiAng"], angle_unit="deg")
    assert (events.pred_emiAng == 1).all()
    np.testing.assert_allclose(events.emiAng[4], np.radians([4, -4]), rtol=1e-6)
