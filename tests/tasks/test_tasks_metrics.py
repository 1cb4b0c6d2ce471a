from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from scipy import stats

from xecgnn.detector import angles_to_direction
from xecgnn.tasks import TASKS, TasksConfig, build_tasks
from xecgnn.tasks.metrics import quantile_68

TASK = build_tasks(TasksConfig(**{name: {"enabled": True} for name in TASKS}))


def accumulate(task, prediction, target, batches):
    metrics = task.build_metrics()
    for p, t in zip(prediction.tensor_split(batches), target.tensor_split(batches), strict=True):
        metrics.update(p, t)
    return {key: value.item() for key, value in metrics.compute().items()}


@pytest.fixture
def angles():
    rng = np.random.default_rng(3)
    true = np.stack([rng.uniform(1, 2, 501), rng.uniform(-1, 1, 501)], 1)
    return true + rng.gamma(2.0, 0.1, (501, 2)), true


def test_angle_metrics_are_the_seeds_formulas(angles):
    predicted, true = angles
    found = accumulate(TASK["angle"], torch.tensor(predicted), torch.tensor(true), 1)
    residual = np.degrees(predicted - true)
    for i, name in enumerate(["theta", "phi"]):
        assert found[f"{name}_bias"] == pytest.approx(residual[:, i].mean())
        assert found[f"{name}_rms"] == pytest.approx(residual[:, i].std())
        assert found[f"{name}_skew"] == pytest.approx(stats.skew(residual[:, i]))
    cosine = (angles_to_direction(*predicted.T) * angles_to_direction(*true.T)).sum(-1)
    assert found["resolution_deg"] == pytest.approx(np.quantile(np.degrees(np.arccos(cosine)), 0.68))
    assert set(found) == set(TASK["angle"].metric_units())


def test_angle_and_vector_agree(angles):
    predicted, true = angles
    vectors = [torch.tensor(angles_to_direction(*values.T)) for values in (predicted, true)]
    from_vectors = accumulate(TASK["angleVec"], *vectors, 1)
    for key, value in accumulate(TASK["angle"], torch.tensor(predicted), torch.tensor(true), 1).items():
        assert from_vectors[f"angleVec_{key}"] == pytest.approx(value)


@pytest.mark.parametrize("name", list(TASKS))
def test_batches_accumulate_to_the_whole_epoch_and_nan_targets_do_not_count(name):
    rng = torch.Generator().manual_seed(5)
    task = TASK[name]
    if name == "n_gamma":
        prediction, target = torch.rand(301, 5, generator=rng), torch.randint(0, 5, (301,), generator=rng)
        unknown = torch.where(torch.arange(301) % 3 == 0, -1, target)
    else:
        target = torch.rand(301, task.width, generator=rng) + 0.5
        prediction = target + 0.2 * torch.rand(301, task.width, generator=rng) ** 2
        unknown = torch.where(torch.arange(301).unsqueeze(-1) % 3 == 0, torch.nan, target)
    whole = accumulate(task, prediction, target, 1)
    assert accumulate(task, prediction, target, 7) == pytest.approx(whole, rel=1e-9)
    keep = torch.arange(301) % 3 != 0
    masked = accumulate(task, prediction, unknown, 4)
    assert masked == pytest.approx(accumulate(task, prediction[keep], target[keep], 1), rel=1e-9)
    assert masked != pytest.approx(whole, rel=1e-9)


def test_units_and_definitions_of_the_other_tasks():
    energy = accumulate(TASK["energy"], torch.tensor([[0.051], [0.049]]), torch.tensor([[0.05], [0.05]]), 1)
    assert energy["energy_rms"] == pytest.approx(1.0, rel=1e-5)  # MeV
    assert energy["energy_resolution_68"] == pytest.approx(2.0, rel=1e-5)  # %
    timing = accumulate(TASK["timing"], torch.tensor([[1e-10], [3e-10]]), torch.zeros(2), 1)
    assert timing["time_bias"] == pytest.approx(200.0, rel=1e-5)  # ps
    position = accumulate(TASK["uvwFI"], torch.tensor([[1.0, 2.0, -3.0]]), torch.zeros(1, 3), 1)
    assert [position[f"{axis}_bias"] for axis in "uvw"] == pytest.approx([10.0, 20.0, -30.0])  # mm
    photons = accumulate(TASK["n_gamma"], torch.eye(5), torch.tensor([0, 1, 2, 0, 0]), 1)
    assert photons["n_gamma_accuracy"] == pytest.approx(0.6)


def test_phi_residuals_wrap():
    predicted, true = torch.tensor([[1.5, -3.1]]), torch.tensor([[1.5, 3.1]])
    found = accumulate(TASK["angle"], predicted, true, 1)
    assert found["phi_bias"] == pytest.approx(math.degrees(2 * math.pi - 6.2), rel=1e-5)


def test_a_broken_prediction_shows():
    prediction = torch.ones(10, 1)
    prediction[4] = torch.nan
    found = accumulate(TASK["energy"], prediction, torch.ones(10, 1), 1)
    assert math.isnan(found["energy_bias"])
    assert math.isnan(found["energy_resolution_68"])


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_no_events_give_nan():
    assert all(math.isnan(value) for value in TASK["angle"].build_metrics().compute().values())


def test_quantile_is_that_of_numpy():
    values = torch.rand(37, 2, generator=torch.Generator().manual_seed(0)).double()
    np.testing.assert_allclose(quantile_68(values).numpy(), np.quantile(values.numpy(), 0.68, axis=0))


def test_metrics_copy_pickle_and_carry_no_task_weights():
    metrics = TASK["angle"].build_metrics()
    metrics.update(torch.rand(9, 2), torch.rand(9, 2))
    for other in (copy.deepcopy(metrics), pickle.loads(pickle.dumps(metrics))):
        torch.testing.assert_close(other.compute(), metrics.compute())
    assert not list(metrics.parameters())
    assert not metrics.state_dict()
