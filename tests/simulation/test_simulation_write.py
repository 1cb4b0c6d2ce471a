from __future__ import annotations

import numpy as np
import pytest
import uproot

from xecgnn.cli.simulate import main
from xecgnn.detector import Detector
from xecgnn.names import SCHEMA, TREE
from xecgnn.simulation import SimulationConfig, simulate_events, write_simulation
from xecgnn.simulation import write as write_module

COLUMNS = SCHEMA.names("reading", "truth", "identifier")


def config(path, **settings) -> SimulationConfig:
    return SimulationConfig(detector="mini", events=70, seed=3, output=path, **settings)


def test_file_holds_the_simulated_events(mini: Detector, tmp_path) -> None:
    path = write_simulation(config(tmp_path / "new" / "events.root"))
    expected = simulate_events(mini, 70, seed=3)
    with uproot.open(path) as file:
        tree = file[TREE]
        assert tree.num_entries == 70
        assert set(tree.keys()) == set(COLUMNS) - {"relative_npho", "time"}
        for name, values in tree.arrays(library="np").items():
            np.testing.assert_array_equal(values, expected[name])
            assert values.dtype == SCHEMA[name].dtype


def test_all_branches_pileup_and_dead_channels(mini: Detector, tmp_path) -> None:
    dead = tmp_path / "dead.txt"
    dead.write_text("1 2\n3\n")
    settings = {"all_branches": True, "pileup": True, "dead_channels": dead, "compression": "none"}
    path = write_simulation(config(tmp_path / "a.root", **settings))
    expected = simulate_events(mini, 70, seed=3, pileup=True, dead=[1, 2, 3], all_branches=True)
    with uproot.open(path) as file:
        assert set(file[TREE].keys()) == set(COLUMNS)
        for name in COLUMNS:
            np.testing.assert_array_equal(file[TREE][name].array(library="np"), expected[name])


def test_existing_output_is_kept(tmp_path) -> None:
    path = tmp_path / "events.root"
    path.write_text("precious")
    with pytest.raises(FileExistsError, match=r"events\.root exists; .*--overwrite"):
        write_simulation(config(path))
    assert path.read_text() == "precious"
    write_simulation(config(path, overwrite=True))
    with uproot.open(path) as file:
        assert file[TREE].num_entries == 70


def test_nothing_is_left_behind_by_a_failure(tmp_path, monkeypatch) -> None:
    blocks = write_module.simulate_blocks

    def failing(*args, **kwargs):
        yield next(blocks(*args, **kwargs))
        raise KeyboardInterrupt

    monkeypatch.setattr(write_module, "simulate_blocks", failing)
    with pytest.raises(KeyboardInterrupt):
        write_simulation(config(tmp_path / "events.root"))
    assert list(tmp_path.iterdir()) == []


def test_progress_counts_events(tmp_path, caplog, capsys, monkeypatch) -> None:
    monkeypatch.setattr("xecgnn.progress.LINE_SECONDS", 0.0)
    with caplog.at_level("INFO", "xecgnn"):
        write_simulation(config(tmp_path / "events.root"))
    assert "events.root: 70 of 70 events, " in caplog.text
    assert "\r" not in capsys.readouterr().err


def test_energy_lines_and_ranges(tmp_path) -> None:
    path = tmp_path / "lines.root"
    simulate = ["--detector", "mini", "--events", "60", "--output", str(path), "--energy"]
    main([*simulate, "0.0176", "0.0549", "0.07:0.1"])
    with uproot.open(path) as file:
        energy = file[TREE]["energyTruth"].array(library="np")
    lines = np.isclose(energy, 0.0176) | np.isclose(energy, 0.0549)
    assert 0.3 < lines.mean() < 0.95
    assert ((energy[~lines] > 0.07) & (energy[~lines] < 0.1)).all()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("high", "energy: expected GeV as NUMBER or LOW:HIGH, found 'high'"),
        ("0.01:0.02:0.03", "found '0.01:0.02:0.03'"),
        ("52.83", "photon energies must be 0.001 to 0.1 GeV, lower end first, found 52.83 GeV"),
        ("0.06:0.015", "lower end first, found (0.06, 0.015) GeV"),
    ],
)
def test_impossible_energies(tmp_path, capsys, value: str, message: str) -> None:
    with pytest.raises(SystemExit):
        main(["--detector", "mini", "--output", str(tmp_path / "a.root"), "--energy", value])
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
