from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from xecgnn.data import Events, write
from xecgnn.data.config import ReaderConfig
from xecgnn.detector import angles_to_direction
from xecgnn.evaluation.display.photon import Photon, badness, describe
from xecgnn.evaluation.lookup import EventLookup


@pytest.fixture(scope="module")
def events(mini_files: Path) -> Events:
    return Events.read(mini_files / "data/val/a.root")


@pytest.fixture(scope="module")
def predictions(events: Events, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All events in another order, with energies that are off by 1 MeV, except in event 9, and more so in 17 and 4."""
    columns = {name: events[name] for name in ("run", "event", "energyTruth", "emiAng")}
    off = np.full(len(events), 1e-3)
    off[[4, 9, 17]] = 8e-3, 0.0, -9e-3
    columns |= {"pred_energyTruth": columns["energyTruth"] + off.astype(np.float32)}
    columns |= {"pred_npho": events.npho + 1, "masked": np.ones(events.npho.shape, dtype=np.int32)}
    order = np.random.default_rng(0).permutation(len(events))
    path = tmp_path_factory.mktemp("predictions") / "out.root"
    write(Events({name: values[order] for name, values in columns.items()}), path)
    return path


def test_the_same_event_by_entry_and_by_number(mini_files, events, predictions):
    lookup = EventLookup(mini_files / "data/val", 212, predictions=predictions)
    for entry in (0, 40):
        found = lookup.by_entry(entry)
        again = lookup.by_id(int(events.run[entry]), int(events.event[entry]))
        assert found.fields == again.fields
        for name in events.fields:
            np.testing.assert_array_equal(found[name][0], events[name][entry])
            np.testing.assert_array_equal(again[name][0], events[name][entry])
        np.testing.assert_allclose(found["pred_npho"][0], events.npho[entry] + 1)
        assert found["pred_energyTruth"] == pytest.approx(events.energyTruth[entry] + 1e-3)


def test_entries_go_on_over_files(mini_files):
    files = sorted((mini_files / "data/train").glob("*.root"))
    lookup = EventLookup(files, 212)
    first = Events.read(files[0])
    assert lookup.by_entry(len(first)).run[0] == Events.read(files[1]).run[0]
    np.testing.assert_array_equal(lookup.by_entry(len(first) - 1).npho[0], first.npho[-1])


def test_the_worst_come_first(mini_files, predictions, events, tmp_path):
    lookup = EventLookup(mini_files / "data/val", 212, predictions=predictions)
    relative = np.array([8e-3, 9e-3]) / events.energyTruth[[4, 17]]
    expected = [4, 17] if relative[0] > relative[1] else [17, 4]
    assert [int(found.event[0]) for found in lookup.worst(2)] == expected
    loss = tmp_path / "loss.root"
    values = np.where(np.arange(len(events)) == 5, np.nan, np.arange(len(events), dtype=np.float32))
    write(Events({"run": events.run, "event": events.event, "loss": values.astype(np.float32)}), loss)
    worst = EventLookup(mini_files / "data/val", 212, predictions=loss).worst(100)
    assert [int(found.event[0]) for found in worst] == [i for i in reversed(range(len(events))) if i != 5]


def test_errors_of_several_tasks_are_added_in_units_of_the_resolution():
    rng = np.random.default_rng(0)
    truth = {"energyTruth": np.full(100, 0.05), "timeTruth": np.zeros(100)}
    errors = rng.normal(0, 1, (100, 2))
    errors[3] = 0, 30
    columns = truth | {"pred_energyTruth": 0.05 + 1e-3 * errors[:, 0], "pred_timeTruth": 1e-10 * errors[:, 1]}
    assert badness(Events(columns)).argmax() == 3
    scaled = columns | {"pred_timeTruth": 1e-12 * errors[:, 1]}
    np.testing.assert_allclose(badness(Events(columns)), badness(Events(scaled)), rtol=1e-6)
    with pytest.raises(ValueError, match="no event can be called worst: no branch 'loss', and no prediction"):
        badness(Events(truth))


def test_a_title_says_what_is_known():
    assert describe(Events({"run": [3], "event": [5]})) == "run 3, event 5"
    columns = {"energyTruth": np.array([0.05283]), "pred_energyTruth": np.array([0.05183]), "loss": np.array([0.25])}
    columns |= {"emiAng": np.array([[1.5, 3.1]]), "pred_emiAng": np.array([[1.5, 3.1 - 2 * np.pi]])}
    first, second = describe(Events(columns)).splitlines()
    assert first == "true E = 52.83 MeV, predicted E = 51.83 MeV"
    assert second == "prediction:  ψ = 0.000 deg,  ΔE = -1.000 MeV,  loss = 0.250"
    unknown = {name: np.full_like(values, np.nan) for name, values in columns.items()}
    assert describe(Events(unknown | {"run": [3]})) == "run 3"


def test_photons_of_events():
    angles, uvw = np.array([1.2, -0.3], np.float32), np.array([1, 2, 3], np.float32)
    event = Events({"emiAng": [angles], "uvwTruth": [uvw], "pred_uvwTruth": [uvw * np.nan]})
    photon = Photon.of(event)
    np.testing.assert_allclose(photon.direction, angles_to_direction(1.2, -0.3), rtol=1e-6)
    np.testing.assert_array_equal(photon.point, uvw)
    assert Photon.of(event, predicted=True) == Photon()
    vector = Photon.of(Events({"pred_emiVec": [[0, 0, 1]]}), predicted=True).direction
    np.testing.assert_array_equal(vector, [0, 0, 1])


def test_what_is_not_there(mini_files, predictions, tmp_path):
    lookup = EventLookup(mini_files / "data/val", 212, predictions=predictions)
    with pytest.raises(ValueError, match=r"no event 64: .*a.root has 64 events, 0 to 63"):
        lookup.by_entry(64)
    with pytest.raises(ValueError, match=r"no event -1: "):
        lookup.by_entry(-1)
    with pytest.raises(ValueError, match=r"no run 3, event 64 in .*a.root; runs: 3"):
        lookup.by_id(3, 64)
    with pytest.raises(ValueError, match="branch 'npho' has 212 sensors, the detector has 4760"):
        EventLookup(mini_files / "data/val", 4760).by_entry(0)
    with pytest.raises(ValueError, match="no branch 'relative_npho'; branches: npho, "):
        EventLookup(mini_files / "data/val", 212, ReaderConfig(npho_branch="relative_npho")).by_entry(0)
    with pytest.raises(FileNotFoundError, match=r"no such file: .*absent.root"):
        EventLookup(mini_files / "data/val", 212, predictions=tmp_path / "absent.root")
    with pytest.raises(ValueError, match="none are given"):
        EventLookup(mini_files / "data/val", 212).worst(3)


def test_predictions_of_something_else(mini_files, events, tmp_path, caplog):
    run, event = events.run + 4, events.event
    other = {"anonymous": {"pred_energyTruth": events.energyTruth}}
    other["other run"] = other["anonymous"] | {"run": run, "event": event, "loss": events.energyTruth}
    other["other detector"] = {"run": events.run, "event": event, "masked": np.ones((len(events), 7), np.int32)}
    other["nan"] = {"run": run, "event": event, "loss": events.energyTruth * np.float32(np.nan)}
    for name, columns in other.items():
        write(Events(columns), tmp_path / name)
    data = mini_files / "data/val"
    with pytest.raises(ValueError, match="anonymous: no branches run and event to find an event by"):
        EventLookup(data, 212, predictions=tmp_path / "anonymous")
    lookup = EventLookup(data, 212, predictions=tmp_path / "other run")
    assert "pred_energyTruth" not in lookup.by_entry(2)
    assert [record.getMessage().split("other run")[1] for record in caplog.records] == [
        " has no prediction for run 3, event 2"
    ]
    with pytest.raises(ValueError, match=r"no run 7, event \d+ in .*a.root; runs: 3"):
        lookup.worst(1)
    with pytest.raises(ValueError, match="branch 'masked' has 7 sensors, the detector has 212"):
        EventLookup(data, 212, predictions=tmp_path / "other detector").by_entry(0)
    with pytest.raises(ValueError, match="no event has a finite loss or error"):
        EventLookup(data, 212, predictions=tmp_path / "nan").worst(1)


def test_files_with_little_in_them(events, predictions, tmp_path, caplog):
    """Without truth, times or identification there is still something to draw, and a line about what is not."""
    write(Events({"npho": np.where(np.arange(len(events))[:, None] == 1, 1e10, events.npho)}), tmp_path / "bare.root")
    lookup = EventLookup(tmp_path / "bare.root", 212, predictions=predictions)
    with caplog.at_level(logging.WARNING):
        found = lookup.by_entry(1)
    assert set(found.fields) == {"npho", "relative_time"}
    lines = [record.getMessage().rpartition(": ")[2] for record in caplog.records]
    assert lines == [
        "the data do not say which run and event they are",
        "no sensor has a valid npho",
        "no sensor has a valid relative_time",
        "no truth",
    ]
    with pytest.raises(ValueError, match=r"bare.root: no branches run and event to find an event by"):
        lookup.by_id(3, 0)


def test_truth_of_the_predictions_where_the_data_have_none(events, predictions, tmp_path, caplog):
    write(Events({name: events[name] for name in ("npho", "relative_time", "run", "event")}), tmp_path / "data.root")
    found = EventLookup(tmp_path / "data.root", 212, predictions=predictions).by_entry(6)
    np.testing.assert_array_equal(found.emiAng[0], events.emiAng[6])
    assert not caplog.records


def test_angles_in_degrees(events, predictions, tmp_path):
    columns = {name: events[name] for name in ("npho", "relative_time", "run", "event")}
    write(Events(columns | {"emiAng": np.rad2deg(events.emiAng)}), tmp_path / "deg.root")
    found = EventLookup(tmp_path / "deg.root", 212, ReaderConfig(angle_unit="deg"), predictions).by_entry(6)
    np.testing.assert_allclose(found.emiAng[0], events.emiAng[6], rtol=1e-6)
