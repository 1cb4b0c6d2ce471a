from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from xecgnn.data.events import Events
from xecgnn.detector import Detector, angles_to_direction
from xecgnn.names import INVALID_LIMIT, SCHEMA
from xecgnn.simulation import Constants, simulate_blocks, simulate_events
from xecgnn.simulation.constants import SPEED_OF_LIGHT


@pytest.fixture(scope="module")
def events(mini: Detector) -> Events:
    return simulate_events(mini, 1600, seed=5, all_branches=True)


def valid(readings: np.ndarray) -> np.ndarray:
    return np.where(readings < INVALID_LIMIT, readings, np.nan)


def test_all_branches_with_their_widths(events: Events, mini: Detector) -> None:
    assert set(events.fields) == set(SCHEMA.names("reading", "truth", "identifier"))
    for name in events.fields:
        column = SCHEMA[name]
        width = {1: (), -1: (mini.num_sensors,)}.get(column.width, (column.width,))
        assert events[name].shape == (1600, *width)
        assert events[name].dtype == column.dtype
    np.testing.assert_array_equal(events.event, np.arange(1600))
    assert (events.run == 5).all()
    assert (events.n_gamma == 1).all()


def test_truths_agree_with_each_other(events: Events, mini: Detector) -> None:
    np.testing.assert_allclose(angles_to_direction(*events.emiAng.T), events.emiVec, atol=1e-6)
    np.testing.assert_allclose(mini.to_uvw(events.xyzTruth), events.uvwTruth, atol=1e-4)
    flight = events.xyzTruth - events.xyzVTX
    np.testing.assert_allclose(flight / np.linalg.norm(flight, axis=1, keepdims=True), events.emiVec, atol=1e-5)
    assert events.energyTruth.min() >= 0.015
    assert events.energyTruth.max() <= 0.060


def test_total_npho_is_linear_in_the_deposited_energy(events: Events) -> None:
    """Light / energy does not depend on energy."""
    chosen = (np.abs(events.uvwTruth) < [15, 40, 8]).all(axis=1)
    energy, total = events.edepTruth[chosen] * 1e3, events.npho[chosen].sum(axis=1)
    assert np.corrcoef(energy, total)[0, 1] > 0.85
    bins = np.digitize(energy, [30, 45])
    per_mev = [(total / energy)[bins == index].mean() for index in range(3)]
    np.testing.assert_allclose(per_mev, np.mean(per_mev), rtol=0.05)  # position makes 12 % per event


def test_deposits_and_their_centroid(events: Events) -> None:
    assert (events.edepTruth <= events.energyTruth * (1 + 1e-6)).all()
    assert 0.8 < np.mean(events.edepTruth / events.energyTruth) < 0.99
    distance = np.linalg.norm(events.centroidTruth - events.xyzTruth, axis=1)
    assert 2 < np.nanmedian(distance) < 6


def test_light_centroid_follows_u_and_v(events: Events, mini: Detector) -> None:
    inner = mini.faces["inner"].sensor_ids
    light = events.npho[:, inner]
    u, v, _ = mini.to_uvw(mini.position[inner]).T
    for axis, (coordinate, truth) in enumerate(((u, events.uvwTruth[:, 0]), (v, events.uvwTruth[:, 1]))):
        centroid = light @ coordinate / light.sum(axis=1)
        assert np.corrcoef(centroid, truth)[0, 1] > (0.8, 0.97)[axis]


def test_nearer_sensors_fire_earlier(events: Events, mini: Detector) -> None:
    """Well lit sensors: the time rises with distance to the first interaction, at no more than the speed of light."""
    distance = np.linalg.norm(mini.position - events.xyzTruth[:, None], axis=2)
    time = (events.relative_time - events.timeTruth[:, None]) * 1e9  # ns after the first interaction
    lit = (events.npho > 2000) & (events.relative_time < INVALID_LIMIT)
    slope, offset = np.polyfit(distance[lit], time[lit], 1)
    assert 0.7 / 18.6 < slope < 1.3 / 18.6
    assert np.corrcoef(distance[lit], time[lit])[0, 1] > 0.6
    assert abs(offset) < 1.0


def test_zero_of_relative_time(events: Events) -> None:
    """Absolute and relative times differ by the earliest one, and timeTruth is on that zero too."""
    seen = (events.relative_time < INVALID_LIMIT).any(axis=1)  # a shower at the edge may leave the xenon whole
    assert seen.mean() > 0.99
    np.testing.assert_array_equal(np.isfinite(events.timeTruth), seen)
    events = events[seen]
    time, relative = valid(events.time), valid(events.relative_time)
    first = np.nanmin(time, axis=1, keepdims=True)
    np.testing.assert_allclose(time - first, relative, atol=1e-14)
    assert (np.nanmin(relative, axis=1) == 0).all()
    flight = np.linalg.norm(events.xyzTruth - events.xyzVTX, axis=1) / SPEED_OF_LIGHT * 1e-9
    start = events.timeTruth + first[:, 0] - flight  # when the photon left its vertex
    assert np.abs(start).max() < 10.01e-9
    assert start.std() == pytest.approx(20e-9 / np.sqrt(12), rel=0.1)


def test_relative_npho(events: Events) -> None:
    np.testing.assert_allclose(events.relative_npho.max(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(events.relative_npho * events.npho.max(axis=1, keepdims=True), events.npho, rtol=1e-5)


def test_unhit_sensors_have_no_time_but_a_baseline(mini: Detector) -> None:
    """Without light: noise around zero, small negative readings, no time."""
    events = simulate_events(mini, 64, constants=replace(Constants(), light_yield=0.0))
    assert (events.relative_time > INVALID_LIMIT).all()
    assert np.isnan(events.timeTruth).all()
    square = mini.sensor_type == "mppc"
    assert events.npho[:, square].std() == pytest.approx(1.0 / 0.12, rel=0.05)  # 1 photo-electron / efficiency
    assert abs(events.npho.mean()) < 0.5
    assert (events.npho < 0).any()


def test_npho_is_light_over_efficiency(mini: Detector) -> None:
    """The mean reading is the light, whatever the efficiency."""
    kinds = {name: replace(kind, efficiency=2 * kind.efficiency) for name, kind in mini.sensor_kinds.items()}
    total, better = (
        simulate_events(detector, 64, sample="signal").npho.sum(dtype=np.float64)
        for detector in (mini, replace(mini, sensor_kinds=kinds))
    )
    assert better == pytest.approx(total, rel=4e-3)  # 2 million photo-electrons, and some light of the highest readings


def test_blocks_follow_each_other(mini: Detector, events: Events) -> None:
    """The second block differs from the first, and the pieces of both are in order."""
    assert simulate_events(mini, 1100, seed=5, all_branches=True) == events[:1100]
    assert not np.array_equal(events.npho[:576], events.npho[1024:])


@pytest.mark.parametrize("pileup", [False, True])
def test_same_seed_same_events(mini: Detector, pileup: bool) -> None:
    """Whatever the number of events or processes; another seed gives others."""
    reference = simulate_events(mini, 100, seed=7, pileup=pileup)
    assert simulate_events(mini, 70, seed=7, pileup=pileup) == reference[:70]
    for workers in (1, 2):
        blocks = list(simulate_blocks(mini, 100, seed=7, pileup=pileup, workers=workers))
        assert [len(block) for block in blocks] == [32, 32, 32, 4]
        assert Events.concatenate(blocks) == reference
    other = simulate_events(mini, 100, seed=8, pileup=pileup)
    assert not np.array_equal(other.npho, reference.npho)


def test_pileup(mini: Detector) -> None:
    """n_gamma 0 to 4; without a photon no light and NaN truths, else those of the most energetic; light adds up."""
    events = simulate_events(mini, 640, seed=1, sample="signal", pileup=True)
    counts = events.n_gamma
    assert set(counts) == {0, 1, 2, 3, 4}
    empty = counts == 0
    for name in ("emiAng", "emiVec", "energyTruth", "edepTruth", "timeTruth", "uvwTruth", "xyzTruth", "xyzVTX"):
        np.testing.assert_array_equal(np.isnan(events[name]).reshape(640, -1).any(axis=1), empty)
    np.testing.assert_allclose(events.energyTruth[~empty], 0.05283, rtol=1e-6)
    assert (events.relative_time[empty] > INVALID_LIMIT).all()
    total = [events.npho[counts == n].sum(axis=1).mean() for n in range(5)]
    assert abs(total[0]) < 0.01 * total[1]
    assert (np.diff(total) > 0).all()

    uniform = simulate_events(mini, 640, seed=1, pileup=True)
    assert uniform.energyTruth[uniform.n_gamma == 4].mean() > 1.2 * uniform.energyTruth[uniform.n_gamma == 1].mean()


def test_dead_sensors_are_invalid(mini: Detector) -> None:
    dead = [0, 17, 200]
    events = simulate_events(mini, 40, dead=dead, all_branches=True)
    healthy = np.setdiff1d(np.arange(mini.num_sensors), dead)
    for name in ("npho", "relative_npho", "time", "relative_time"):
        assert (events[name][:, dead] == np.float32(1e10)).all()
    assert (events.npho[:, healthy] < INVALID_LIMIT).all()
    np.testing.assert_array_equal(events.npho[:, healthy], simulate_events(mini, 40).npho[:, healthy])


def test_all_dead(mini: Detector) -> None:
    events = simulate_events(mini, 3, dead=range(mini.num_sensors), all_branches=True)
    assert (events.npho > INVALID_LIMIT).all()
    assert (events.relative_npho > INVALID_LIMIT).all()
    assert np.isnan(events.timeTruth).all()
    assert np.isfinite(events.energyTruth).all()


def test_errors_name_what_is_wrong(mini: Detector) -> None:
    with pytest.raises(ValueError, match=r"dead channels \[-3, 212, 9999\] are not in detector mini.*0 to 211"):
        simulate_events(mini, 1, dead=[3, 9999, 212, -3])
    with pytest.raises(ValueError, match="positive, found 0"):
        simulate_events(mini, 0)
    with pytest.raises(ValueError, match="seed must be 0 to 2147483647, found -1"):
        simulate_events(mini, 1, seed=-1)
    with pytest.raises(ValueError, match=r"no readout constants for sensor 'mppc'; known: apd"):
        simulate_events(mini, 1, constants=replace(Constants(), readout={"apd": Constants().readout["pmt"]}))


def test_memory_does_not_grow_with_events(mini: Detector) -> None:
    def peak(num_events: int) -> int:
        tracemalloc.start()
        for _ in simulate_blocks(mini, num_events):
            pass
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    peak(320)  # what imports and caches leave behind
    assert peak(1600) < 1.05 * peak(320)
