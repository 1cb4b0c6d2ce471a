from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgba
from scipy.spatial import cKDTree
from torch import nn

from xecgnn.data import Events, Readings
from xecgnn.evaluation.attribution.gradients import FAINT, Attribution
from xecgnn.evaluation.attribution.saliency import DISTANCES, Saliency, compute_saliency, event_saliency
from xecgnn.evaluation.display.sensors import HOLLOW
from xecgnn.evaluation.display.unrolled import unroll
from xecgnn.evaluation.pages.page import save
from xecgnn.evaluation.pages.saliency import saliency_pages
from xecgnn.models import ModelConfig, XECModel
from xecgnn.nn import NormalizationConfig, Normalizer
from xecgnn.simulation import simulate_events
from xecgnn.tasks import TasksConfig, build_tasks

SMALL = ModelConfig(encoder_dim=256, num_heads=2, depths=(1, 1), hex_dim=8, hex_depth=1, num_fusion_layers=1)
SCALE = torch.tensor([180 / torch.pi, 180 / torch.pi, 1e3])[:, None, None]  # deg, deg, MeV
BAD = [3, 40, 150]


class Linear(nn.Module):
    """Stands for a network: theta, phi (wrapped) and energy are linear in the normalised readings."""

    def __init__(self, detector, scheme="log1p"):
        super().__init__()
        self.detector, self.backbone = detector, nn.Module()
        self.tasks = build_tasks(TasksConfig(energy={"enabled": True}, n_gamma={"enabled": True}))
        self.backbone.normalizer = Normalizer(NormalizationConfig(npho_scheme=scheme))
        self.weight = nn.Parameter(torch.randn(3, 2, detector.num_sensors) / 1000)
        self.weight.data[1] = 0.05  # adds up to more than a turn

    @property
    def normalizer(self):
        return self.backbone.normalizer

    def task(self, name):
        return self.tasks[name]

    def inputs(self, x):
        valid = self.backbone.normalizer.validity(x)
        return self.backbone.normalizer(x, *valid).mT, torch.stack(valid, 1)

    def forward(self, batch):
        assert not self.training
        z = self.inputs(batch.x)[0]
        theta, phi, energy = torch.einsum("bcs,kcs->kb", z, self.weight)
        us = self.detector.faces["us"].sensor_ids
        phi = torch.remainder(phi + torch.pi, 2 * torch.pi) - torch.pi
        return {"angle": torch.stack([theta, phi], 1), "energy": energy[:, None], "n_gamma": z[:, 0, us]}

    def expected(self, events):
        z, valid = self.inputs(torch.tensor(np.stack([events["npho"], events["relative_time"]], -1)))
        dark = self.backbone.normalizer(torch.zeros(2), torch.tensor(True), torch.tensor(False))
        slopes = (self.weight * SCALE * valid[:, None]).detach()
        return slopes.numpy(), (slopes * (z - dark[:, None])[:, None]).numpy()


@pytest.fixture(scope="module")
def events(mini):
    """45 events with readings that are invalid, negative, and exactly zero; one without interaction point."""
    columns = {name: values.copy() for name, values in simulate_events(mini, 45, seed=7).columns.items()}
    columns["npho"] = np.maximum(columns["npho"], -0.3)  # anscombe is flat below -3/8
    columns["npho"][:, BAD] = np.nan, 1e10, np.nan
    columns["npho"][:, 10:20], columns["npho"][:, 20] = 0, -0.3
    columns["uvwTruth"][0] = np.nan
    return Events(columns)


@pytest.fixture(scope="module")
def batches(mini, events):
    return [Readings.of(events[i : i + 41]) for i in (0, 41)]


@pytest.fixture(scope="module")
def network(mini):
    torch.manual_seed(0)
    tasks = TasksConfig(angle={"loss_fn": "vmf"}, energy={"enabled": True}, n_gamma={"enabled": True})
    return XECModel(mini, SMALL, NormalizationConfig(), build_tasks(tasks))


@pytest.mark.parametrize("scheme", ["log1p", "sqrt", "anscombe", "linear"])
def test_a_linear_network_gives_back_its_weights(mini, events, batches, scheme):
    model = Linear(mini, scheme)
    attribution, (gradients, contributions) = Attribution(model), model.expected(events[:41])
    x = batches[0].x
    np.testing.assert_allclose(attribution.gradients(x), gradients, rtol=1e-3, atol=1e-7)
    found, change, error = attribution.contributions(x, steps=2)
    np.testing.assert_allclose(found, contributions, rtol=1e-3, atol=2e-5)
    assert np.abs(change[:, 1]).max() > 360
    assert (np.abs(error) < 1e-4 * np.abs(change).max(0)).all()


def test_averages_are_those_of_the_events(mini, events, batches):
    model = Linear(mini)
    found = compute_saliency(model, batches, max_events=42, steps=2)
    assert list(zip(found.tasks, found.axes, strict=True)) == [("angle", "theta"), ("angle", "phi"), ("energy",) * 2]
    point = mini.to_xyz(events["uvwTruth"][:42])
    point[0] = mini.position[np.argmax(np.where(events["npho"][0] < 9e9, events["npho"][0], 0))]
    distance = np.linalg.norm(mini.position - point[:, None], axis=-1)
    for method, number in enumerate((42, 10)):
        values = model.expected(events[:number])[method]
        np.testing.assert_allclose(found.mean[method], values.mean(0), rtol=1e-3, atol=2e-5)
        np.testing.assert_allclose(found.size[method], np.abs(values).mean(0), rtol=1e-3, atol=2e-5)
        sums = np.stack([np.abs(values[..., f.sensor_ids]).sum(-1) for f in mini.faces.values()], -1)
        np.testing.assert_allclose(found.faces[:number, method], sums, rtol=1e-3)
        for place in (0, 2, 10):
            near = np.digitize(distance[:number], DISTANCES) == place + 1
            mean = np.abs(values).transpose(0, 3, 1, 2)[near].mean(0) if near.any() else np.nan
            np.testing.assert_allclose(found.near[method, ..., place], mean, rtol=1e-3)
    assert np.isnan(found.faces[10:, 1]).all()
    np.testing.assert_allclose(found.angles, np.degrees(events["emiAng"][:42]), rtol=1e-5)
    shares = event_saliency(model, batches[1].x, steps=2)
    size = np.abs(model.expected(events[41:])[1])
    expected = (size / size.sum((2, 3), keepdims=True)).mean(1)
    np.testing.assert_allclose(np.stack(list(shares.values()), 1), expected, rtol=1e-3, atol=1e-7)


def test_contributions_of_a_network_add_up_and_leave_it_as_it_was(batches, network):
    before, readings = {name: t.clone() for name, t in network.state_dict().items()}, batches[1]
    attribution, x = Attribution(network), readings.x
    found, change, error = attribution.contributions(x, steps=48)
    assert (np.linalg.norm(error, axis=0) < 0.01 * np.linalg.norm(change, axis=0)).all()
    time_valid = network.backbone.normalizer.validity(x)[1].numpy()[:, None]
    for values in (attribution.gradients(x), found):
        assert np.isfinite(values).all()
        assert (values[..., BAD] == 0).all()
        assert ((values[:, :, 1] == 0) == ~time_valid).all()
    assert all(p.requires_grad and p.grad is None and network.training for p in network.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    normalizer, copy = network.backbone.normalizer, attribution.model  # the copy's times stay valid, and its spot
    validity = normalizer.validity(x)
    dark = normalizer(torch.zeros_like(x), validity[0], torch.zeros_like(validity[0]))
    ends = normalizer(x, *validity), dark + FAINT * (normalizer(x, *validity) - dark)
    with torch.no_grad():
        outputs, start = (
            copy(Readings(torch.where(torch.stack(validity, -1), normalizer.inverse(z), torch.nan))) for z in ends
        )
    shown = [task.residuals(outputs[name], start[name]) for name, task in network.tasks.items() if task.axes]
    change[:, 1] -= 360 * np.rint(change[:, 1] / 360)  # phi has made a turn on the path
    np.testing.assert_allclose(change, torch.cat(shown, 1), rtol=1e-3, atol=1e-3)


def test_files_and_plots(mini, batches, network, tmp_path):
    saliency = compute_saliency(network, batches[1:], max_events=5, steps=2)
    saliency.write(tmp_path / "saliency.npz")
    again = Saliency.read(tmp_path / "saliency.npz")
    for written, read in zip(saliency, again, strict=True):
        np.testing.assert_array_equal(written, read)
    (tmp_path / "other.npz").write_bytes(b"no such thing")
    with pytest.raises(ValueError, match=r"other\.npz: not a file of saliencies"):
        Saliency.read(tmp_path / "other.npz")
    save(tmp_path / "saliency_profile_angle.pdf", saliency_pages(again, mini, network.task("angle"), "test_run"))
    content = (tmp_path / "saliency_profile_angle.pdf").read_bytes()
    assert len(re.findall(rb"/Type /Page\b", content)) == 5
    assert b"/Type3" not in content


def test_sensors_without_a_reading_in_any_event_are_hollow(mini, batches, network):
    saliency = compute_saliency(network, batches[1:], max_events=5, steps=2)
    size = np.where(np.isin(np.arange(mini.num_sensors), [3, 40, 150]), 0, saliency.size)
    size[..., 7] *= 1e6  # does not take the colours of the others
    pages = [*saliency_pages(saliency._replace(size=size), mini, network.task("angle"), "test_run")]
    (page, *_) = (page for page in pages if "hollow" in page.get_suptitle())
    for ax in page.axes[:4:2]:  # npho
        drawn = [c for c in ax.collections if isinstance(c, PolyCollection) and len(c.get_offsets())]
        hollow = [c for c in drawn if (c.get_facecolor() == to_rgba(HOLLOW["facecolor"])).all()]
        places = np.concatenate([c.get_offsets().data for c in hollow])
        assert {3, 40, 150} <= {*cKDTree(unroll(mini)).query(places)[1].tolist()}
        norm = next(c for c in drawn if c.get_array() is not None).norm
        assert norm.vmax < size[..., 7].max() / 2
