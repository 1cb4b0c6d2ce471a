from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from xecgnn.data import Events, Readings


@pytest.fixture
def events() -> Events:
    rng = np.random.default_rng(0)
    return Events(
        {
            "npho": rng.random((4, 7)) * 1e3,
            "relative_time": rng.random((4, 7)) * 1e-7,
            "emiAng": rng.random((4, 2)),
            "energyTruth": rng.random(4),
            "n_gamma": rng.integers(0, 5, 4),
            "run": np.full(4, 7),
            "event": np.arange(4),
        }
    )


def test_readings_stand_at_their_sensor(events: Events) -> None:
    batch = Readings.of(events)
    assert len(batch) == 4
    assert batch.x.dtype == torch.float32
    np.testing.assert_array_equal(batch.x[..., 0], events.npho)
    np.testing.assert_array_equal(batch.x[..., 1], events.relative_time)


def test_targets_by_task(events: Events) -> None:
    batch = Readings.of(events)
    assert {task: (tuple(y.shape), y.dtype) for task, y in batch.y.items()} == {
        "angle": ((4, 2), torch.float32),
        "energy": ((4, 1), torch.float32),
        "n_gamma": ((4,), torch.int64),
    }
    assert {name: ids.tolist() for name, ids in batch.identifiers.items()} == {"run": [7] * 4, "event": [0, 1, 2, 3]}
    assert {ids.dtype for ids in batch.identifiers.values()} == {torch.int64}
    readings = Events({name: events[name] for name in ("npho", "relative_time")})
    assert (Readings.of(readings).y, Readings.of(readings).identifiers) == ({}, {})


def test_readings_are_a_table_again(events: Events) -> None:
    assert Readings.of(events).as_events() == events
    bare = events.select("reading")
    assert Readings.of(bare[:1]).as_events() == bare[:1]


def test_it_travels(events: Events) -> None:
    batch = Readings.of(events)
    copied, moved = pickle.loads(pickle.dumps(batch)), batch.to("meta")
    assert torch.equal(copied.x, batch.x)
    assert torch.equal(copied.y["angle"], batch.y["angle"])
    assert torch.equal(copied.event, batch.event)
    assert moved.x.is_meta
    assert moved.y["angle"].is_meta
    assert moved.run.is_meta
    assert not batch.x.is_meta


def test_no_memory_is_shared_with_the_events(events: Events) -> None:
    batch = Readings.of(events)
    before = {name: values.copy() for name, values in events.columns.items()}
    for values in (batch.x, *batch.y.values(), batch.event):
        values.zero_()
    for name, values in before.items():
        np.testing.assert_array_equal(events[name], values)


def test_events_without_readings(events: Events) -> None:
    with pytest.raises(ValueError, match="no column 'relative_time'; columns: npho"):
        Readings.of(Events({"npho": events.npho}))
