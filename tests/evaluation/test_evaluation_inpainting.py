from __future__ import annotations

import csv
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from xecgnn.data import Events, Readings
from xecgnn.evaluation import evaluate_inpainting, write_sensor_predictions
from xecgnn.evaluation.inpainting import InpaintingResiduals, variance_per_photon
from xecgnn.evaluation.reconstruction import reconstructions
from xecgnn.evaluation.residuals import METRICS, GroupedResiduals, floor_estimates
from xecgnn.models import DecoderConfig, Inpainter, InpainterConfig, MaskedAutoencoder, ModelConfig
from xecgnn.names import INVALID_VALUE
from xecgnn.nn import Masker, MaskingConfig, NormalizationConfig, Normalizer
from xecgnn.simulation import simulate_events
from xecgnn.simulation.constants import Constants, ReadoutConstants
from xecgnn.simulation.readout import Readout

SMALL = ModelConfig(encoder_dim=32, num_heads=2, depths=(1, 1), hex_dim=8, hex_depth=1, num_fusion_layers=1)


class Oracle(nn.Module):
    """Stands for a network: answers with the readings themselves, 10 photons and 1 ns too high."""

    hides_invalid = True

    def __init__(self, detector, channels=2, offset=10.0):
        super().__init__()
        self.detector, self.channels, self.offset = detector, channels, offset
        normalizer = Normalizer(NormalizationConfig(npho_scheme="linear"))
        self.backbone = SimpleNamespace(normalizer=normalizer, readings=lambda batch: batch.x)
        self.anchor = nn.Parameter(torch.zeros(()))

    def forward(self, batch, visible):
        assert not self.training
        valid = torch.ones((), dtype=torch.bool)
        shift = torch.tensor([self.offset, 1e-9])
        return self.backbone.normalizer(batch.x + shift, valid, valid)[..., : self.channels]


class Hide(nn.Module):
    """Masks the same sensors in every event."""

    def __init__(self, detector, ids):
        super().__init__()
        self.mask = torch.as_tensor(np.isin(np.arange(detector.num_sensors), ids))

    def forward(self, x, validity, generator=None):
        return self.mask & validity[0]


@pytest.fixture(scope="module")
def batches(mini):
    """104 events with three dead sensors."""
    events = simulate_events(mini, 104, seed=7, dead=[3, 40, 150])
    return [Readings.of(events[i : i + 40]) for i in range(0, len(events), 40)]


@pytest.fixture(scope="module")
def masker(mini):
    return Masker(mini, MaskingConfig(mask_ratio=0.1, pattern="random"))


@pytest.fixture(scope="module")
def run(mini, batches, masker, tmp_path_factory):
    folder = tmp_path_factory.mktemp("inpainting")
    evaluation = evaluate_inpainting(Oracle(mini), masker, batches, folder, "test_run", seed=3)
    with (folder / "inpainting_test_run.csv").open() as file:
        return evaluation, folder, list(csv.DictReader(file))


def residuals(model, masker, batches):
    measured = InpaintingResiduals(model.detector, 100.0)
    for events in reconstructions(model, masker, batches):
        measured.add(events)
    return measured


def measure(model, masker, batches):
    """The table without files and plots."""
    return residuals(model, masker, batches).table()


def row(rows, **wanted):
    wanted = {"face": "all", "npho_from": "-inf", "npho_to": "inf"} | wanted
    (found,) = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    return found


def test_statistics_of_a_stream_are_those_of_the_sample():
    rng = np.random.default_rng(0)
    group, r = rng.integers(0, 3, 30_000), rng.standard_t(3, 30_000) * 40 + 5
    stream = GroupedResiduals((3, 2))
    for part in np.array_split(np.arange(len(r)), 7):
        stream.add((group[part], 1), r[part])
    for where, sample in ((slice(None), r), ((2, 1), r[group == 2])):
        found = stream.estimates(where)
        size = np.abs(sample)
        assert {estimate.n for estimate in found.values()} == {len(sample)}
        expected = sample.mean(), sample.std() / np.sqrt(len(sample)), size.mean(), np.sqrt((sample**2).mean())
        values = found["bias"].value, found["bias"].error, found["mae"].value, found["rmse"].value
        assert values == pytest.approx(expected, rel=1e-4)
        assert found["mae"].error == pytest.approx(size.std() / np.sqrt(len(sample)), rel=1e-4)
        assert found["resolution_68"].value == pytest.approx(np.quantile(size, 0.68), rel=5e-3)
        half = np.sqrt(0.68 * 0.32 / len(sample))
        ends = np.quantile(size, [0.68 - half, 0.68 + half])
        assert (found["resolution_68"].low, found["resolution_68"].high) == pytest.approx(tuple(ends), rel=5e-3)
    edges = np.linspace(-100, 100, 21)
    counts = np.histogram(r, edges)[0]
    assert (np.abs(stream.histogram(slice(None), edges) - counts) < 5 * np.sqrt(counts) + 5).all()
    assert stream.number((0, 0)) == 0
    assert np.isnan(stream.estimates((0, 0))["bias"].value)


def test_intervals_of_a_stream_cover_the_truth_in_68_percent_of_samples():
    rng = np.random.default_rng(1)
    many = np.abs(rng.normal(1, 2, 4_000_000))
    truth = {"bias": 1.0, "mae": many.mean(), "rmse": np.sqrt(5), "resolution_68": np.quantile(many, 0.68)}
    inside = dict.fromkeys(METRICS, 0)
    for _ in range(200):
        stream = GroupedResiduals((1,))
        stream.add((np.zeros(400, int),), rng.normal(1, 2, 400))
        for name, found in stream.estimates().items():
            inside[name] += found.low < truth[name] < found.high
    assert [count / 200 for count in inside.values()] == pytest.approx([0.68] * 4, abs=0.07)


def test_a_residual_that_is_not_finite_spoils_its_group_only():
    stream = GroupedResiduals((2,))
    stream.add((np.array([0, 1, 1]),), np.array([np.nan, 2.0, 4.0]))
    assert np.isnan(stream.estimates(0)["resolution_68"].value)
    assert stream.estimates(1)["mae"].value == 3


def test_the_floor_of_mixed_variances_is_that_of_drawn_residuals():
    number, sigma = np.array([2000, 0, 1000]), np.array([3.0, np.nan, 50.0])
    r = np.random.default_rng(1).normal(size=3_000_000) * np.repeat(sigma, number * 1000)
    found = {name: estimate.value for name, estimate in floor_estimates(number, sigma**2).items()}
    expected = np.abs(r).mean(), np.sqrt((r**2).mean()), np.quantile(np.abs(r), 0.68)
    assert (found["mae"], found["rmse"], found["resolution_68"]) == pytest.approx(expected, rel=5e-3)
    one = floor_estimates(np.array([5]), np.array([4.0]))["resolution_68"]
    assert (one.value, one.n) == (pytest.approx(2 * 0.9945, rel=2e-3), 5)


def test_the_floor_is_the_spread_of_repeated_readings(mini):
    """The same light again and again: as the floor says, and a little more with the noise of the electronics."""
    light = np.full((1, mini.num_sensors), 3000.0, dtype=np.float32)
    floor = np.sqrt(3000 * variance_per_photon(mini))
    silent = {kind: replace(readout, noise=0.0) for kind, readout in Constants().readout.items()}
    for constants, extra in ((Constants(readout=silent), 0.0), (Constants(), None)):
        readout = Readout(mini, np.zeros(mini.num_sensors, dtype=bool), constants)
        rng, event = np.random.default_rng(2), np.arange(2000)
        npho = readout(rng, np.repeat(light, 2000, 0), np.zeros((2000, mini.num_sensors)), event, 2000).npho
        ratio = np.sqrt((npho.var(0) / floor**2).mean())
        assert ratio == pytest.approx(1, abs=0.005) if extra == 0 else 1 < ratio < 1.01
    assert ReadoutConstants(0.15, 1.0) in Constants().readout.values()


def test_numbers_are_those_of_the_sensors_that_were_masked(mini, batches, masker, run):
    _, _, rows = run
    npho, masked = [], []
    for events in reconstructions(Oracle(mini), masker, batches, seed=3):
        npho.append(events.npho)
        masked.append(events.masked)
    npho, masked = np.concatenate(npho), np.concatenate(masked)
    assert masked.sum(1).tolist() == [round(0.1 * (mini.num_sensors - 3))] * len(masked)
    assert not masked[:, [3, 40, 150]].any()
    for face, ids in [("all", np.arange(mini.num_sensors)), *((n, f.sensor_ids) for n, f in mini.faces.items())]:
        found = row(rows, face=face, quantity="npho", method="network")
        assert int(found["number"]) == masked[:, ids].sum()
        for metric in ("bias", "mae", "rmse", "resolution_68"):
            assert float(found[metric]) == pytest.approx(10, rel=0.03 if metric == "resolution_68" else 1e-3)
        time = row(rows, face=face, quantity="time", method="network")
        assert float(time["bias"]) == pytest.approx(1, rel=1e-3)
    true = npho[masked]
    true = true[true >= 100]
    found = row(rows, quantity="relative", method="network")
    assert int(found["number"]) == len(true)
    assert float(found["bias"]) == pytest.approx((1000 / true).mean(), rel=1e-3)
    part = row(rows, npho_from="200.0", npho_to="500.0", quantity="npho", method="floor")
    inside = masked & (npho >= 200) & (npho < 500)
    assert int(part["number"]) == inside.sum()
    assert float(part["rmse"]) == pytest.approx(np.sqrt((npho * variance_per_photon(mini))[inside].mean()), rel=1e-6)


def test_kinds_of_sensors_stand_apart_and_sum_up(mini, batches, masker):
    measured = residuals(Oracle(mini), masker, batches)
    assert sorted(face for faces in measured.kinds.values() for face in faces) == list(range(len(measured.faces)))
    assert len(measured.kinds) > 1
    assert sum(measured.number("npho", faces) for faces in measured.kinds.values()) == measured.number("npho")
    for faces in measured.kinds.values():
        widths = [measured.measures("npho", face)["neighbours"]["rmse"].value for face in faces]
        joint = measured.measures("npho", faces)["neighbours"]["rmse"].value
        assert min(widths) * (1 - 1e-9) <= joint <= max(widths) * (1 + 1e-9)


def test_faces_and_bins_sum_up(run):
    rows = [entry for entry in run[2] if entry["method"] == "neighbours" and entry["quantity"] == "npho"]
    total = int(row(rows, face="all")["number"])
    whole = [entry for entry in rows if (entry["npho_from"], entry["npho_to"]) == ("-inf", "inf")]
    assert sum(int(entry["number"]) for entry in whole if entry["face"] != "all") == total
    bins = [entry for entry in rows if entry["face"] == "all" and entry not in whole]
    assert sum(int(entry["number"]) for entry in bins) == total
    assert len(bins) > 5


def test_table_names_all_and_marks_the_best(run):
    table = run[0][0]
    assert max(map(len, table.splitlines())) <= 100
    assert table.startswith(f"{21 * 104} masked sensors of 104 events\n")
    for metric in ("bias", "mae", "rmse", "resolution_68"):
        for entry in ("npho {} [photons]", "relative {} [%]", "time {} [ns]"):
            assert f"\n{entry.format(metric)} " in table
    for text in ("floor", "solid angle", "neighbours", "\ninner ", "\n200 to 500 photons "):
        assert text in table
    assert re.search(r"npho rmse \[photons\] +\d+ +[\d.]+ +10\.000?\* +[\d.]+  +[\d.]+ *\n", table)
    assert re.search(r"time rmse \[ns\] +\d+ +- +1\.000\* +- +[\d.]+ *\n", table)
    assert "nan" not in table


def test_plots_have_three_pages_with_embedded_text(run):
    (_, files), folder, _ = run
    assert {path.name for path in folder.iterdir()} == {path.name for path in files}
    content = (folder / "inpainting_resolution_test_run.pdf").read_bytes()
    assert len(re.findall(rb"/Type /Page\b", content)) == 3
    assert b"/Type3" not in content


def test_nothing_masked_is_said_and_plotted(mini, batches, tmp_path):
    table, _ = evaluate_inpainting(Oracle(mini), Hide(mini, []), batches, tmp_path, "none", max_events=1)
    assert table == "0 masked sensors of 40 events: nothing to compare"
    assert (tmp_path / "inpainting_none.csv").read_text().count("\n") == 1
    assert (tmp_path / "inpainting_resolution_none.pdf").stat().st_size > 500


def test_a_face_that_is_hidden_altogether_is_left_out_and_counted(mini, batches):
    us = mini.faces["us"].sensor_ids
    table = measure(Oracle(mini), Hide(mini, [*us, 10]), batches[:1])
    left_out = 40 * (~np.isin(us, [3, 40, 150])).sum()
    assert table.startswith(f"40 masked sensors of 40 events; {left_out} more on faces without a visible sensor")
    assert "\nus" not in table
    assert "nan" not in table


def test_a_network_that_predicts_nonsense_is_seen(mini, batches, masker):
    table = measure(Oracle(mini, 1, float("nan")), masker, batches[:1])
    assert table.splitlines()[0].endswith("; nan: some predictions are not finite")
    assert "time" not in table
    assert re.search(r"npho rmse \[photons\] .* nan  +[\d.]+", table)


def test_memory_does_not_grow_with_the_events(mini):
    measured = InpaintingResiduals(mini, 100.0)
    size = lambda: sum(groups.counts.nbytes + groups.sums.nbytes for groups in measured.residuals.values())  # noqa: E731
    before = size()
    ones = np.ones((3, mini.num_sensors))
    masked = np.zeros(ones.shape, dtype=bool)
    masked[:, ::5] = True
    valid = np.ones_like(masked)
    for _ in range(5):
        columns = {"npho": ones, "relative_time": ones, "pred_npho": ones, "masked": masked}
        measured.add(Events(columns | {"npho_valid": valid, "time_valid": valid}))
    assert size() == before < 2e7
    assert measured.number("npho") == 5 * masked.sum()


@pytest.mark.parametrize("channels", [1, 2])
def test_sensor_predictions_are_written_for_masked_sensors(mini, batches, masker, tmp_path, channels):
    import uproot

    path = tmp_path / "sensors.root"
    write_sensor_predictions(path, Oracle(mini, channels), masker, batches, seed=3, max_events=80)
    with uproot.open(path) as file:
        found = file["tree"].arrays(library="np")
    names = ["run", "event", "npho", "relative_time", "masked", "pred_npho", "pred_relative_time"]
    assert sorted(found) == sorted(names[: 5 + channels])
    assert found["event"].tolist() == list(range(80))
    masked = found["masked"].astype(bool)
    assert (masked.sum(1) == 21).all()
    np.testing.assert_allclose(found["pred_npho"][masked], found["npho"][masked] + 10, rtol=1e-4)
    assert (found["pred_npho"][~masked] == np.float32(INVALID_VALUE)).all()
    assert (found["npho"][:, [3, 40, 150]] == np.float32(INVALID_VALUE)).all()


@pytest.mark.parametrize("kind", ["inpainter", "autoencoder"])
def test_real_networks_are_evaluated_as_they_come(mini, batches, masker, kind):
    torch.manual_seed(0)
    if kind == "inpainter":
        model = Inpainter(mini, SMALL, NormalizationConfig(), InpainterConfig(local_dim=4, depth=1))
    else:
        decoder = DecoderConfig(decoder_dim=8, predict_channels=("npho",))
        model = MaskedAutoencoder(mini, SMALL, NormalizationConfig(), decoder)
    table = measure(model, masker, batches[:1])
    assert model.training
    assert "nan" not in table
    assert ("time bias" in table) == (kind == "inpainter")
