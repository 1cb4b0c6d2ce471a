from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

from xecgnn.cli.simulate import main
from xecgnn.data.events import Events
from xecgnn.detector import Detector
from xecgnn.names import SCHEMA
from xecgnn.simulation import Constants, simulate_deposits, simulate_events
from xecgnn.simulation.block import BLOCK_EVENTS, Stream, generator
from xecgnn.simulation.shower import draw_showers
from xecgnn.simulation.source import draw_photons
from xecgnn.simulation.volume import XenonVolume

Columns = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def own(mini: Detector) -> Columns:
    """Photons and deposits of the first block of the uniform sample of seed 4, as another program would have them."""
    rng, volume = generator(4, 0, Stream.PHOTONS), XenonVolume(mini)
    photons = draw_photons(rng, mini, volume, BLOCK_EVENTS, "uniform", None, False, Constants())
    first, steps = draw_showers(rng, photons, volume)
    x, y, z = steps.position.T
    return {
        "deposits": {"event": steps.photon, "x": x, "y": y, "z": z, "edep": steps.energy, "t": steps.time},
        "photons": {
            "event": np.arange(BLOCK_EVENTS),
            "energyTruth": photons.energy * 1e-3,
            "emiVec": photons.direction,
            "xyzTruth": first.position,
            "timeTruth": first.time * 1e-9,
            "xyzVTX": photons.vertex,
        },
    }


def write(path: Path, columns: Columns) -> Path:
    with uproot.recreate(path) as file:
        for tree, branches in columns.items():
            arrays = {name: np.asarray(values) for name, values in branches.items()}
            file.mktree(tree, {name: np.dtype((a.dtype, a.shape[1:])) for name, a in arrays.items()}).extend(arrays)
    return path


def few(columns: Columns, count: int = 40) -> Columns:
    """The first events, as copies."""
    return {
        name: {branch: values[tree["event"] < count].copy() for branch, values in tree.items()}
        for name, tree in columns.items()
    }


def test_own_cascade_through_a_file_gives_the_same_readings(mini: Detector, own: Columns, tmp_path: Path) -> None:
    path = write(tmp_path / "steps.root", own)
    found = Events.concatenate(simulate_deposits(path, mini, seed=4, dead=[7]))
    expected = simulate_events(mini, BLOCK_EVENTS, seed=4, dead=[7])
    assert found.fields == expected.fields or set(found.fields) == set(expected.fields)
    for name in expected.fields:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-6, atol=1e-6, err_msg=name)
    np.testing.assert_array_equal(found.npho, expected.npho)
    np.testing.assert_array_equal(found.relative_time, expected.relative_time)


def test_limits_of_deposits(mini: Detector, own: Columns, tmp_path: Path) -> None:
    path = write(tmp_path / "steps.root", few(own, 32))
    found = Events.concatenate(simulate_deposits(path, mini, seed=4, limits=True))
    expected = simulate_events(mini, 32, seed=4, limits=True)
    for name in SCHEMA.names("reference"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, err_msg=name)


def test_command_writes_the_tree(mini: Detector, own: Columns, tmp_path: Path) -> None:
    """With own event and run numbers, over more than one block, and truth by its other names."""
    columns = few(own, 30)
    columns["photons"]["uvwTruth"] = mini.to_uvw(columns["photons"].pop("xyzTruth"))
    columns["photons"].pop("xyzVTX")
    columns["photons"]["run"] = np.full(30, 77, dtype=np.int32)
    for tree in columns.values():
        tree["event"] = 100 + 2 * tree["event"]
    path, output = write(tmp_path / "steps.root", columns), tmp_path / "out.root"
    main(["--deposits", str(path), "--detector", "mini", "--seed", "4", "--output", str(output)])
    with uproot.open(output) as file:
        tree = file["tree"].arrays(library="np")
    np.testing.assert_array_equal(tree["event"], 100 + 2 * np.arange(30))
    assert (tree["run"] == 77).all()
    assert np.isnan(tree["xyzVTX"]).all()
    expected = simulate_events(mini, 30, seed=4)
    np.testing.assert_allclose(tree["xyzTruth"], expected.xyzTruth, atol=1e-4)
    np.testing.assert_allclose(tree["edepTruth"], expected.edepTruth, rtol=1e-6)
    assert np.median(tree["npho"].sum(axis=1) / expected.npho.sum(axis=1)) == pytest.approx(1, abs=0.02)


def test_events_without_deposits_and_deposits_outside(
    mini: Detector, own: Columns, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    columns = few(own)
    keep = ~np.isin(columns["deposits"]["event"], [3, 39])
    columns["deposits"] = {name: values[keep] for name, values in columns["deposits"].items()}
    columns["deposits"]["x"][::50] = 0  # on the beam axis
    path = write(tmp_path / "steps.root", columns)
    with caplog.at_level(logging.WARNING):
        events = Events.concatenate(simulate_deposits(path, mini))
    assert "2 events without deposits: 3, 39" in caplog.text
    assert "% of the energy lies outside the xenon" in caplog.text
    np.testing.assert_array_equal(events.edepTruth[[3, 39]], 0)
    assert np.isnan(events.centroidTruth[[3, 39]]).all()
    assert np.isnan(events.timeTruth[[3, 39]]).all()
    assert (events.edepTruth[4:39] > 0).all()


def _drop(tree: str, branch: str) -> Callable[[Columns], Any]:
    return lambda columns: columns[tree].pop(branch)


def _scale(branch: str, factor: float, tree: str = "deposits") -> Callable[[Columns], Any]:
    return lambda columns: columns[tree].update({branch: columns[tree][branch] * factor})


def _set(tree: str, branch: str, row: int, value: float) -> Callable[[Columns], Any]:
    return lambda columns: columns[tree][branch].__setitem__(row, value)


def _in_mm(columns: Columns) -> None:
    for axis in "xyz":
        columns["deposits"][axis] *= 10


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_drop("deposits", "edep"), r"tree 'deposits' has no branch 'edep'; branches: event, x, y, z, t"),
        (_drop("photons", "emiVec"), r"tree 'photons' has no branch 'emiVec' or 'emiAng'; branches: "),
        (_drop("photons", "energyTruth"), r"tree 'photons' has no branch 'energyTruth'"),
        (lambda columns: columns.pop("photons"), r"no tree 'photons'; found: deposits"),
        (_scale("edep", 1e3), r"event 0 deposits \S+ MeV, its photon has \S+ GeV; edep is in MeV, energyTruth in GeV"),
        (_scale("energyTruth", 1e-3, "photons"), r"edep is in MeV, energyTruth in GeV"),
        (_in_mm, r"100 % of the energy lies outside the xenon; x, y, z are in cm"),
        (_set("deposits", "event", 5, 500), r"events of tree 'deposits' must ascend, found 500 before 0"),
        (_set("deposits", "event", -1, 500), r"event 500 has deposits, but tree 'photons' has no such event"),
        (_set("photons", "event", 1, 0), r"events of tree 'photons' must ascend, found 0 before 0"),
        (_set("deposits", "x", 5, np.nan), r"event 0 has a deposit whose x is nan"),
        (_set("deposits", "edep", 5, -1.0), r"event 0 has a deposit of -1 MeV"),
    ],
)
def test_mistakes_are_named(
    mini: Detector, own: Columns, tmp_path: Path, spoil: Callable[[Columns], Any], message: str
) -> None:
    columns = few(own)
    spoil(columns)
    path = write(tmp_path / "steps.root", columns)
    with pytest.raises(ValueError, match=message):
        list(simulate_deposits(path, mini))


def test_wrong_files_and_options(mini: Detector, own: Columns, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file of deposits '.*nothing\.root'"):
        list(simulate_deposits(tmp_path / "nothing.root", mini))
    text = tmp_path / "text.root"
    text.write_text("no ROOT file")
    with pytest.raises(ValueError, match=r"text\.root: not a ROOT file"):
        list(simulate_deposits(text, mini))
    with pytest.raises(SystemExit):
        main(["--deposits", str(text), "--energy", "0.05"])
    assert "deposits come with their photons: --deposits excludes --energy" in capsys.readouterr().err
