from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from xecgnn.detector import angles_to_direction, direction_to_angles
from xecgnn.directions import angles_to_vector, opening_angle, vector_to_angles
from xecgnn.names import TARGETS
from xecgnn.tasks import TASKS, TasksConfig, build_tasks

PLAIN = ["smooth_l1", "l1", "mse", "huber", "relative_l1", "relative_smooth_l1", "relative_mse", "gaussian_nll"]
SPHERE = ["vmf", "cosine"]
REGRESSION = ["angle", "energy", "timing", "uvwFI", "angleVec", "edep", "centroid"]
CASES = [(name, loss) for name in REGRESSION for loss in PLAIN + SPHERE * name.startswith("angle")]
CASES += [("n_gamma", "cross_entropy")]


def make_task(name, loss_fn, **settings):
    config = {other: {"enabled": False} for other in TASKS}
    return build_tasks(TasksConfig(**config | {name: {"enabled": True, "loss_fn": loss_fn, **settings}}))[name]


def make_targets(name, n=40):
    """Plausible physical targets (n, width)."""
    rng = np.random.default_rng(1)
    vector = rng.normal(size=(n, 3)) * 0.5 + [-1, 0, 0]
    vector /= np.linalg.norm(vector, axis=1, keepdims=True)
    values = {
        "angle": np.stack(direction_to_angles(vector), -1),
        "energy": rng.uniform(0.015, 0.06, (n, 1)),
        "timing": rng.normal(-1.3e-9, 2e-10, (n, 1)),
        "uvwFI": rng.uniform([-24, -68, 0], [24, 68, 20], (n, 3)),
        "angleVec": vector,
        "edep": rng.uniform(0.01, 0.05, (n, 1)),
        "centroid": rng.uniform([-70, -60, -30], [-60, 60, 30], (n, 3)),
        "n_gamma": rng.integers(0, 5, (n, 1)),
    }[name]
    return torch.tensor(values, dtype=torch.float32)


def perfect_raw(task, target):
    """Raw outputs that decode to the target."""
    if task.name == "n_gamma":
        return 50.0 * torch.nn.functional.one_hot(target[:, 0].long(), 5).float()
    if task.config.loss_fn in SPHERE:
        return 2.0 * task.to_vector(target)
    scaled = task.scale(target)
    return torch.cat([scaled, torch.zeros(len(target), task.num_outputs - task.width)], 1)


@pytest.mark.parametrize(("name", "loss_fn"), CASES)
def test_every_loss_is_finite_lowest_at_the_target_and_masks_nan(name, loss_fn):
    task, target = make_task(name, loss_fn), make_targets(name)
    task.fit_scaling(target)
    raw = perfect_raw(task, target).requires_grad_()
    loss, valid = task.loss(raw, target)
    assert valid.all()
    assert raw.shape == (40, task.num_outputs)
    loss.sum().backward()
    assert raw.grad.isfinite().all()
    # Other predictions are worse, or for n_gamma as unlikely.
    worse, _ = task.loss(raw.detach().roll(1, 0), target)
    assert worse.mean() > loss.mean()

    unknown = target.clone()
    unknown[::2, -1] = torch.nan
    raw = perfect_raw(task, target).requires_grad_()
    masked, valid = task.loss(raw, unknown)
    assert valid.tolist() == [False, True] * 20
    torch.testing.assert_close(masked, torch.where(valid, loss, 0.0))
    task.mean_loss(raw, unknown).backward()
    assert raw.grad.isfinite().all()
    assert (raw.grad[::2] == 0).all()
    torch.testing.assert_close(task.mean_loss(raw, unknown), loss[1::2].mean())


@pytest.mark.parametrize(("name", "loss_fn"), CASES)
def test_a_batch_without_targets_has_no_loss_and_no_gradient(name, loss_fn):
    task = make_task(name, loss_fn)
    raw = torch.randn(6, task.num_outputs, requires_grad=True)
    loss = task.mean_loss(raw, torch.full((6, task.width), torch.nan))
    loss.backward()
    assert loss.item() == 0
    assert (raw.grad == 0).all()


@pytest.mark.parametrize(("name", "loss_fn"), CASES)
def test_half_precision_outputs_give_the_loss_of_float32(name, loss_fn):
    task, target = make_task(name, loss_fn), make_targets(name)
    task.fit_scaling(target)
    raw = (3 * torch.randn(40, task.num_outputs)).half()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, _ = task.loss(raw, target)
        decoded = task.decode(raw)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, task.loss(raw.float(), target)[0])
    assert all(torch.equal(decoded[key], value) for key, value in task.decode(raw.float()).items())


@pytest.mark.parametrize(("name", "loss_fn"), CASES)
def test_decode_inverts_scaling_and_names_its_outputs(name, loss_fn):
    task, target = make_task(name, loss_fn), make_targets(name)
    task.fit_scaling(target)
    outputs = task.decode(perfect_raw(task, target))
    assert tuple(outputs) == task.output_names()
    if name == "n_gamma":
        assert outputs[name].shape == (40, 5)
        assert torch.equal(outputs[name].argmax(-1), target[:, 0].long())
    else:
        torch.testing.assert_close(outputs[name], target, rtol=1e-5, atol=1e-5 * target.abs().max().item())
    columns = task.columns(outputs)
    assert set(columns) == {f"{'sigma' if 'sigma' in key else 'pred'}_{TARGETS[name]}" for key in outputs}
    for values in columns.values():
        assert values.shape == ((40,) if task.width == 1 else (40, task.width))


@pytest.mark.parametrize("name", ["energy", "timing", "uvwFI"])
def test_scaling_makes_targets_standard_and_is_identity_before(name):
    task, target = make_task(name, "mse"), make_targets(name)
    assert torch.equal(task.scale(target), target)
    with_gaps = target.clone()
    with_gaps[3] = torch.nan
    task.fit_scaling(with_gaps.numpy())
    scaled = task.scale(torch.cat([target[:3], target[4:]]))
    torch.testing.assert_close(scaled.mean(0), torch.zeros(task.width), atol=1e-5, rtol=0)
    torch.testing.assert_close(scaled.std(0, correction=0), torch.ones(task.width), atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="no usable training target"):
        task.fit_scaling(torch.full((4, task.width), torch.nan))


def test_a_constant_target_keeps_a_usable_scale():
    task = make_task("energy", "l1")
    task.fit_scaling(np.full(100, 0.05283))
    assert 0 < task.std.item() < 0.05283
    assert task.decode(torch.zeros(1, 1))["energy"].item() == pytest.approx(0.05283)


def test_log_transform_and_its_sigma():
    task = make_task("energy", "gaussian_nll", log_transform=True)
    target = make_targets("energy")
    task.fit_scaling(target)
    assert task.mean.item() == pytest.approx(target.log().mean().item(), rel=1e-5)
    raw = torch.cat([task.scale(target), torch.full_like(target, 2 * math.log(0.1))], 1)
    outputs = task.decode(raw)
    torch.testing.assert_close(outputs["energy"], target)
    # To first order the relative error is the error of the logarithm.
    torch.testing.assert_close(outputs["energy_sigma"], 0.1 * task.std * target)
    _, valid = task.loss(raw[:2], torch.tensor([[0.05], [0.0]]))
    assert valid.tolist() == [True, False]


def test_relative_loss_divides_by_the_true_value_in_physical_units():
    task = make_task("energy", "relative_l1")
    task.fit_scaling(make_targets("energy"))
    true, predicted = torch.tensor([[0.02], [0.05]]), torch.tensor([[0.021], [0.045]])
    loss, _ = task.loss(task.scale(predicted), true)
    torch.testing.assert_close(loss, torch.tensor([0.05, 0.1]), rtol=1e-4, atol=0)


def test_angles_follow_the_detector_convention():
    rng = np.random.default_rng(0)
    vector = rng.normal(size=(100, 3))
    vector /= np.linalg.norm(vector, axis=1, keepdims=True)
    angles = np.stack(direction_to_angles(vector), -1)
    np.testing.assert_allclose(vector_to_angles(torch.tensor(vector)).numpy(), angles, atol=1e-12)
    vectors = angles_to_vector(torch.tensor(angles)).numpy()
    np.testing.assert_allclose(vectors, angles_to_direction(*angles.T), atol=1e-12)


def test_opening_angle_keeps_small_and_large_angles():
    first = torch.tensor([[1.0, 0, 0]]).double()
    for angle in (0.0, 1e-7, 1.0, math.pi):
        second = torch.tensor([[math.cos(angle), math.sin(angle), 0]]).double()
        assert opening_angle(first, second).item() == pytest.approx(angle, rel=1e-6, abs=1e-12)


def test_phi_is_periodic_in_loss_and_residuals():
    task = make_task("angle", "l1")
    target = torch.tensor([[1.5, 3.1]])
    raw = torch.tensor([[1.5, -3.1]], requires_grad=True)
    loss, _ = task.loss(raw, target)
    loss.sum().backward()
    assert loss.item() == pytest.approx((2 * math.pi - 6.2) / 2, rel=1e-4)
    assert raw.grad[0, 1] > 0  # descending lowers phi through -pi, the short way to 3.1
    residual = task.residuals(raw.detach(), target)
    assert residual[0, 1].item() == pytest.approx(math.degrees(2 * math.pi - 6.2), rel=1e-4)
    turn = task.residuals(torch.tensor([[0.0, math.pi]], dtype=torch.float64), torch.zeros(1, 2).double())
    assert turn[0, 1].item() == 180.0


def test_vmf_sigma_is_the_spread_of_a_sample():
    """Directions drawn with concentration kappa have the spread in theta, phi and components that decode says."""
    kappa, n = 400.0, 20_000
    mu = angles_to_vector(torch.tensor([[0.9, 0.4]]))
    noise = torch.randn(n, 3, generator=torch.Generator().manual_seed(2)) / kappa**0.5
    sample = torch.nn.functional.normalize(mu + noise)
    raw = mu * kappa / 10.0
    angle, vector = make_task("angle", "vmf"), make_task("angleVec", "vmf")
    torch.testing.assert_close(angle.decode(raw)["angle_sigma"][0], vector_to_angles(sample).std(0), rtol=0.03, atol=0)
    torch.testing.assert_close(vector.decode(raw)["angleVec_sigma"][0], sample.std(0), rtol=0.03, atol=0)
    assert angle.decode(torch.zeros(1, 3))["angle_sigma"][0, 0].item() == pytest.approx(math.pi)


def test_a_loss_the_task_does_not_know_is_an_error_that_lists_the_others():
    with pytest.raises(ValidationError) as error:
        TasksConfig(energy={"loss_fn": "vmf"})
    (problem,) = error.value.errors()
    assert problem["loc"] == ("energy", "loss_fn")
    assert "'smooth_l1'" in problem["msg"]
    assert "'gaussian_nll'" in problem["msg"]
    assert "\n" not in problem["msg"]


def test_any_set_of_tasks_builds_and_none_is_an_error():
    assert list(build_tasks(TasksConfig())) == ["angle"]
    config = TasksConfig()
    config.angle.enabled = False
    with pytest.raises(ValueError, match="none is enabled"):
        build_tasks(config)
    assert TasksConfig().angle.enabled  # defaults are not shared between settings
    tasks = build_tasks(TasksConfig(**{name: {"enabled": True} for name in TASKS}))
    keys = [key for task in tasks.values() for key in task.metric_units()]
    assert len(keys) == len(set(keys))
    assert {"resolution_deg", "angleVec_resolution_deg"} <= set(keys)
    for task in tasks.values():
        assert set(task.state_dict()) <= {"mean", "std"}


def test_weights_enter_the_mean_loss():
    task, target = make_task("energy", "mse"), torch.tensor([[1.0], [2.0], [torch.nan]])
    loss = task.mean_loss(torch.zeros(3, 1), target, weight=torch.tensor([3.0, 1.0, 100.0]))
    assert loss.item() == pytest.approx((3 * 1 + 1 * 4) / 4)


@pytest.mark.parametrize("name", ["energy", "angle", "uvwFI"])
def test_of_two_networks_with_right_sigmas_the_sharper_one_is_judged_better(name):
    """The loss of the training, weighted by the variance, says the opposite below 0.22 of the target's spread."""
    task, target = make_task(name, "gaussian_nll"), make_targets(name, 4000)
    task.fit_scaling(target)
    noise = torch.randn(4000, task.width, generator=torch.Generator().manual_seed(0))
    judged, trained, likelihood = {}, {}, {}
    for sigma in (0.1, 0.2):
        spread = torch.full_like(noise, sigma)
        raw = torch.cat([task.scale(target) + sigma * noise, 2 * spread.log()], 1)
        judged[sigma] = task.loss(raw, target, judged=True)[0].mean()
        trained[sigma] = task.mean_loss(raw, target)
        normal = torch.distributions.Normal(0.0, spread)
        likelihood[sigma] = -normal.log_prob(sigma * noise).mean() - 0.5 * math.log(2 * math.pi)
    assert judged[0.1] < judged[0.2] - 0.5
    assert trained[0.1] > trained[0.2]
    for sigma, value in likelihood.items():
        torch.testing.assert_close(judged[sigma], value, rtol=1e-4, atol=1e-4)
    unknown = torch.full_like(target, torch.nan)
    assert not task.loss(raw, unknown, judged=True)[1].any()


def test_vmf_is_judged_by_the_likelihood_that_trains_it():
    task, target = make_task("angle", "vmf"), make_targets("angle")
    raw = torch.randn(40, 3)
    assert torch.equal(task.loss(raw, target, judged=True)[0], task.loss(raw, target)[0])
