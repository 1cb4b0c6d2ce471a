from __future__ import annotations

import pickle

import numpy as np
import pytest

from xecgnn.data import Events


def make(count: int = 6) -> Events:
    return Events({"npho": np.arange(count * 3.0).reshape(count, 3), "energyTruth": np.arange(count)})


def test_columns_take_the_type_of_the_branch_and_are_read_only():
    events = make()
    assert events.npho.dtype == np.float32
    assert events["energyTruth"].dtype == np.float32
    assert events.fields == ("npho", "energyTruth")
    with pytest.raises(ValueError, match="read-only"):
        events.npho[0] = 1
    with pytest.raises(AttributeError, match="immutable"):
        events.npho = np.zeros((6, 3))


def test_read_only_does_not_reach_the_callers_array():
    npho = np.zeros((2, 3), np.float32)
    Events({"npho": npho})
    npho[0] = 1


@pytest.mark.parametrize(
    "rows", [slice(1, 4), [1, 2, 3], np.array([1, 2, 3]), np.isin(np.arange(6), [1, 2, 3])], ids=str
)
def test_selecting_events(rows):
    events = make()[rows]
    assert len(events) == 3
    np.testing.assert_array_equal(events.energyTruth, [1, 2, 3])
    assert events == make()[1:4]


def test_an_empty_selection_keeps_the_columns():
    assert len(make()[[]]) == 0
    assert make()[[]].npho.shape == (0, 3)


def test_concatenate_undoes_slicing():
    events = make()
    assert Events.concatenate([events[:2], events[2:2], events[2:]]) == events


def test_nan_equals_nan_and_pickle_keeps_everything():
    events = Events({"energyTruth": [np.nan, 1.0]})
    assert pickle.loads(pickle.dumps(events)) == events


@pytest.mark.parametrize(
    ("columns", "error", "words"),
    [
        ({}, ValueError, "at least one column"),
        ({"nphe": ["many"]}, ValueError, "column 'nphe' holds <U4, expected numbers"),
        ({"npho": [1.0]}, ValueError, r"shape \(1,\), expected \(E, sensors\)"),
        ({"emiAng": np.zeros((2, 3))}, ValueError, r"expected \(E, 2\)"),
        ({"energyTruth": np.zeros((2, 1))}, ValueError, r"expected \(E,\)"),
        ({"energyTruth": [1.0], "timeTruth": [1.0, 2.0]}, ValueError, "different length"),
    ],
)
def test_wrong_columns(columns, error, words):
    with pytest.raises(error, match=words):
        Events(columns)


def test_columns_by_name_and_by_kind():
    more = {"pred_energyTruth": np.ones(6), "run": np.arange(6), "dose": np.ones((6, 1), np.int8)}
    events = make().with_columns(more)
    assert events.select("truth", "run", "prediction").fields == ("energyTruth", "run", "pred_energyTruth")
    assert events.select("other") == Events({"dose": np.ones(6)})
    assert events.dose.dtype == np.int8
    assert events.run.dtype == np.int64
    assert make().fields == ("npho", "energyTruth")  # others are made, nobody is changed
    with pytest.raises(ValueError, match=r"no column is mask or sigma; columns: npho, energyTruth$"):
        make().select("mask", "sigma")
    with pytest.raises(KeyError, match="no column 'dose'"):
        make().select("dose")


def test_identifiers_do_not_end_at_32_bits():
    assert Events({"event": [2**40 + 1]}).event.tolist() == [2**40 + 1]


def test_wrong_selection():
    with pytest.raises(KeyError, match="no column 'run'; columns: npho, energyTruth"):
        make()["run"]
    with pytest.raises(AttributeError, match="'run'"):
        _ = make().run
    with pytest.raises(TypeError, match=r"use \[2:3\]"):
        make()[2]
