from __future__ import annotations

import pickle

import numpy as np
import pytest

from xecgnn.data import Events
from xecgnn.names import SCHEMA, TARGETS
from xecgnn.schema import ANY, KINDS, SENSOR, Column, Schema, prediction_of, sigma_of


@pytest.mark.parametrize("name", SCHEMA.names("truth", "reading"))
def test_predictions_follow_from_what_is_predicted(name: str) -> None:
    source, predicted, sigma = SCHEMA[name], SCHEMA[prediction_of(name)], SCHEMA[sigma_of(name)]
    assert (predicted.name, predicted.kind, predicted.dtype) == (f"pred_{name}", "prediction", source.dtype)
    assert (sigma.name, sigma.kind, sigma.dtype) == (f"sigma_{name}", "sigma", "float32")
    assert {column.width for column in (predicted, sigma)} == {source.width}
    assert {column.unit for column in (predicted, sigma)} == {source.unit}
    assert predicted.name in SCHEMA


def test_what_nobody_declared_is_other() -> None:
    assert SCHEMA["dose"] == Column("dose", "other", "", ANY)
    for name in ("dose", "pred_dose", "pred_run", "pred_pred_emiAng", "pred_", 3):
        assert name not in SCHEMA
    assert set(TARGETS.values()) <= set(SCHEMA.names("truth"))
    assert all(column.kind in KINDS and column.meaning for column in SCHEMA)


def test_a_column_of_ones_own_is_declared_as_ours_are() -> None:
    schema = Schema(*SCHEMA)
    schema.declare(Column("dose", "truth", "float32", 2, "Gy", "of the patient"))
    assert schema["pred_dose"] == Column("pred_dose", "prediction", "float32", 2, "Gy", "predicted: of the patient")
    assert schema != SCHEMA
    assert "dose" not in SCHEMA
    events = Events({"dose": [[1, 1e10]], "run": [3]}, schema)
    assert np.isnan(events.dose[0, 1])
    for again in (pickle.loads(pickle.dumps(events)), events[:1], events.with_columns({"sigma_dose": [[1, 2]]})):
        assert again.schema == schema
        assert again.select("truth").fields == ("dose",)
    with pytest.raises(ValueError, match=r"'pred_dose' has shape \(1,\), expected \(E, 2\)"):
        events.with_columns({"pred_dose": [1]})


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (Column("dose", "target"), "column 'dose' has kind 'target'; kinds: reading, truth"),
        (Column("npho", "truth"), "the name 'npho' is taken; columns: npho, "),
        (Column("pred_npho", width=3), "the name 'pred_npho' is taken"),
        (Column("truth"), "the name 'truth' is taken"),
    ],
)
def test_wrong_declarations(column: Column, words: str) -> None:
    schema = Schema(*SCHEMA)
    with pytest.raises(ValueError, match=words):
        schema.declare(column)
    schema.declare(SCHEMA["npho"])  # the same again
    assert schema == SCHEMA
    assert SCHEMA["npho"].width == SENSOR
