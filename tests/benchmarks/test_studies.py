from __future__ import annotations

import numpy as np
import pytest
import torch

from studies import STUDIES, choices, long, mirror
from studies.study import digest
from studies.tables import NOT_MEASURED
from xecgnn import build_model, load_detector
from xecgnn.data import Events, Readings
from xecgnn.detector import Detector
from xecgnn.directions import direction_to_angles
from xecgnn.training.augment import Mirror
from xecgnn.training.config import TrainingConfig


@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)
def test_results_of_a_study_differ_in_name_and_settings(study) -> None:
    """Where a choice is what the demo has anyway, nothing would be compared."""
    jobs = [job for seed in study.seeds[:2] for job in study.jobs(seed)]
    assert len({(job.setting, job.seed) for job in jobs}) == len(jobs)
    assert len({digest(job.settings) for job in jobs}) == len(jobs)


@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)
def test_tables_of_nothing_say_so(study) -> None:
    assert {table({}) for table in study.tables.values()} == {NOT_MEASURED}


def test_a_choice_has_to_win_in_all_seeds() -> None:
    choice = choices.Choice("a", "b", {}, "", simpler=True)
    assert choices.verdict(choice, [1.0, 2.0], [2.1, 3.0]) == "a"
    assert choices.verdict(choice, [2.1, 3.0], [1.0, 2.0]) == "b"
    assert choices.verdict(choice, [1.0, 2.0], [1.9, 3.0]) == "tie: b"
    assert choices.verdict(choice._replace(simpler=False), [1.0, 2.0], [1.9, 3.0]) == "tie: a"


def test_choices_are_compared_seed_by_seed() -> None:
    def run(**values: float) -> dict[int, dict]:
        return {int(seed[1:]): {"validation": {choices.METRIC: value}} for seed, value in values.items()}

    row = choices.table({"demo": run(s0=30.0, s1=31.0, s2=32.0), "spot": run(s0=34.0, s1=36.0)}).splitlines()[2]
    assert [cell.strip() for cell in row.split("|")[2:6:2]] == ["30.50 (30.00 to 31.00)", "35.00 (34.00 to 36.00)"]
    assert "4.500 (4.000 to 5.000)" in row
    assert row.rstrip("| ").endswith("the spot")


def test_mirrored_answers_are_mirrored_back(mini: Detector, mini_events: Events) -> None:
    model = build_model("angle", {"detector": "mini", "model.encoder_dim": 32, "model.hex_dim": 4}).eval()
    batch = Readings.of(mini_events[:8])
    images = {axes: mirror.mirrored_answer(model, batch, axes) for axes in ("", "z", "y", "zy", "yz")}
    assert torch.equal(images[""], model(batch)["angle"])
    assert torch.allclose(images["zy"], images["yz"], atol=1e-6)
    assert not torch.allclose(images["z"], images[""], atol=1e-4)
    # The same as what the training does: mirror the event, and mirror the truth.
    augmentation = Mirror(mini, model.tasks, TrainingConfig())
    flipped = Readings(batch.x[:, augmentation.sensors["z"]])
    assert torch.allclose(model.task("angle").mirrored(images["z"], "z"), model(flipped)["angle"], atol=1e-6)


def test_the_slant_is_the_angle_to_the_normal() -> None:
    detector = load_detector("meg2")
    inner = detector.faces["inner"].sensor_ids[[100, 2000, 4000]]
    normal, away = detector.normal[inner], np.radians([0.0, 20.0, 45.0])[:, None]
    tangent = np.cross(normal, [0.0, 0.0, 1.0])
    direction = np.cos(away) * normal + np.sin(away) * tangent
    truth = {
        "uvwTruth": detector.to_uvw(detector.position[inner] + 5 * normal),
        "emiAng": np.stack(direction_to_angles(direction), axis=-1),
    }
    assert long.slant(detector, truth) == pytest.approx([0.0, 20.0, 45.0], abs=0.2)
