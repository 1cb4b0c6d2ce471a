from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from torch_geometric.data import Batch

from xecgnn.data import Events, build_batch


def make_events(detector, count: int, seed: int = 0) -> Events:
    rng = np.random.default_rng(seed)
    return Events(
        {
            "npho": rng.random((count, detector.num_sensors)) * 1e3,
            "relative_time": rng.random((count, detector.num_sensors)) * 1e-7,
            "emiAng": rng.random((count, 2)),
            "energyTruth": rng.random(count),
            "n_gamma": rng.integers(0, 5, count),
            "run": np.full(count, 7),
            "event": np.arange(count),
        }
    )


@pytest.fixture
def events(mini):
    return make_events(mini, 4)


def assert_same_batch(a, b):
    assert a.node_types == b.node_types
    assert a.edge_types == b.edge_types
    for store, other in zip(a.stores, b.stores, strict=True):
        assert set(store.keys()) == set(other.keys())
        for key, value in store.items():
            if isinstance(value, dict):
                assert value.keys() == other[key].keys()
                assert all(torch.equal(value[name], other[key][name]) for name in value)
            else:
                assert torch.equal(value, other[key]), (store._key, key)


@pytest.mark.parametrize("edges", [True, False])
def test_it_is_the_batch_that_pyg_would_make_of_its_events(mini, events, edges):
    batch = build_batch(mini, events, edges=edges)
    assert batch.num_graphs == 4
    assert not edges or batch.validate()
    singles = [build_batch(mini, events[i : i + 1], edges=edges).to_data_list()[0] for i in range(4)]
    assert_same_batch(batch, Batch.from_data_list(singles))
    assert_same_batch(batch, Batch.from_data_list(batch.to_data_list()))


def test_readings_stand_at_their_sensor(mini, events):
    batch = build_batch(mini, events, edges=False)
    assert batch.node_types == list(mini.faces)
    for name, face in mini.faces.items():
        x = batch[name].x.view(4, -1, 2).numpy()
        np.testing.assert_array_equal(x[..., 0], events.npho[:, face.sensor_ids])
        np.testing.assert_array_equal(x[..., 1], events.relative_time[:, face.sensor_ids])


def test_edges_join_sensors_of_one_event_with_their_tap(mini, events):
    batch = build_batch(mini, events)
    for source, relation, target in batch.edge_types:
        store = batch[source, relation, target]
        row, col = store.edge_index
        assert torch.equal(batch[source].batch[row], batch[target].batch[col])
        if relation == "seam":
            wanted = mini.seams()[source, target]
        else:
            wanted = mini.edge_index(source, relation)
            assert torch.equal(store.edge_type.view(4, -1)[3], torch.as_tensor(mini.edge_type(source, relation)))
        last = store.edge_index.view(2, 4, -1)[:, 3] - torch.tensor([[batch[source].ptr[3]], [batch[target].ptr[3]]])
        np.testing.assert_array_equal(last.numpy(), wanted)
    assert sum(relation == "seam" for _, relation, _ in batch.edge_types) == len(mini.seams()) == 24


def test_targets_by_task(mini, events):
    batch = build_batch(mini, events, edges=False)
    assert {task: (tuple(y.shape), y.dtype) for task, y in batch.y.items()} == {
        "angle": ((4, 2), torch.float32),
        "energy": ((4, 1), torch.float32),
        "n_gamma": ((4,), torch.int64),
    }
    assert batch.run.tolist() == [7] * 4
    assert batch.event.tolist() == [0, 1, 2, 3]


def test_it_travels(mini, events):
    batch = build_batch(mini, events)
    assert_same_batch(pickle.loads(pickle.dumps(batch)), batch)
    moved = copy.copy(batch).to("meta")
    assert moved["inner"].x.is_meta
    assert moved.y["angle"].is_meta
    assert not batch["inner"].x.is_meta
    assert moved.num_graphs == 4


def test_no_memory_is_shared_with_the_events(mini, events):
    batch = build_batch(mini, events)
    before = events.npho.copy(), events.emiAng.copy()
    for name in mini.faces:
        batch[name].x.zero_()
    batch.y["angle"].zero_()
    batch["inner", "lattice", "inner"].edge_index.zero_()
    np.testing.assert_array_equal(events.npho, before[0])
    np.testing.assert_array_equal(events.emiAng, before[1])
    assert build_batch(mini, events)["inner", "lattice", "inner"].edge_index.any()


def test_meg2_outer_face_takes_its_ids_from_two_ranges(meg2):
    events = make_events(meg2, 2)
    batch = build_batch(meg2, events, edges=False)
    assert batch["outer"].x.shape == (2 * 234, 2)
    wanted = events.npho[:, meg2.faces["outer"].sensor_ids]
    np.testing.assert_array_equal(batch["outer"].x[:, 0].view(2, -1).numpy(), wanted)
    assert sum(batch[name].num_nodes for name in meg2.faces) == 2 * 4760


def test_wrong_events(mini, events):
    with pytest.raises(ValueError, match="no column 'relative_time'; columns: npho"):
        build_batch(mini, Events({"npho": events.npho}))
    with pytest.raises(ValueError, match="npho has 3 sensors, detector 'mini' has"):
        build_batch(mini, Events({"npho": np.zeros((1, 3)), "relative_time": np.zeros((1, 3))}))
