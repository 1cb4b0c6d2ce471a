"""Pretraining, inpainting and fine-tuning on the small detector, through the commands that a user types."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import uproot
from torch import nn

from xecgnn.cli import pretrain, train
from xecgnn.cli.report import main as report
from xecgnn.config import InpaintConfig, PretrainConfig, load_config
from xecgnn.data import Events, Readings, write
from xecgnn.detector import Detector
from xecgnn.evaluation.artifacts import make
from xecgnn.evaluation.reconstruction import reconstructions
from xecgnn.names import INVALID_VALUE
from xecgnn.nn.masking import Masker, MaskingConfig
from xecgnn.training import load_model, reconstruction
from xecgnn.training.checkpoint import sealed
from xecgnn.training.config import ReconstructionLossConfig, TrainingConfig
from xecgnn.training.kinds import build_model
from xecgnn.training.optimizer import build_optimizer
from xecgnn.training.reconstruction import VALIDATION_SEED, ReconstructionObjective
from xecgnn.training.schedule import build_schedule

NETWORK = {
    "detector": "mini", "model.encoder_dim": 32, "model.hex_dim": 8, "model.hex_depth": 1, "model.depths": (1, 1),
    "model.num_heads": 2, "model.hidden_dim": 16,
}  # fmt: skip
SMALL = [
    "--detector", "mini", "--batch", "32", "--data.num_workers", "0", "--model.encoder_dim", "32",
    "--model.hex_dim", "8", "--model.hex_depth", "1", "--model.depths", "1", "1", "--model.num_heads", "2",
    "--training.device", "cpu", "--logging.progress_bar", "false", "--logging.mlflow", "false",
    "--logging.tensorboard", "false",
]  # fmt: skip
FINE_TUNED = [*SMALL, "--evaluation.worst_events", "0", "--evaluation.saliency_events", "0"]


@pytest.fixture
def workplace(tmp_path: Path, mini_files: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder with `data` in it."""
    (tmp_path / "data").symlink_to(mini_files / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory, mini_files: Path) -> Path:
    """Checkpoint of a short pretraining."""
    folder = tmp_path_factory.mktemp("pretrained")
    files = ["--train_path", str(mini_files / "data/train"), "--val_path", str(mini_files / "data/val")]
    options = ["--epochs", "1", "--run_name", "pre", "--checkpoint.artifacts_dir", str(folder)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xecgnn.evaluation.sensors.make", make)  # with its pictures
        pretrain.main(["pretrain.yaml", *SMALL, *files, *options])
    return folder / "pre" / "checkpoint_best.pth"


def weights(path: str | Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["state_dict"]


def objective_of(config: PretrainConfig | InpaintConfig, detector: Detector) -> ReconstructionObjective:
    torch.manual_seed(0)
    return ReconstructionObjective(build_model(config), Masker(detector, config.masking), config.loss)


def objectives(mini: Detector) -> list[ReconstructionObjective]:
    kinds = (("pretrain", PretrainConfig), ("inpaint", InpaintConfig))
    return [objective_of(load_config(name, NETWORK, cls), mini) for name, cls in kinds]


@pytest.mark.drawn
def test_a_pretraining_leaves_its_artifacts(
    workplace: Path, pretrained: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = {path.name for path in pretrained.parent.iterdir()}
    assert {"checkpoint_best.pth", "checkpoint_last.pth", "config.yaml", "reconstruction_pre.pdf"} <= names
    assert load_config(pretrained.parent / "config.yaml", cls=PretrainConfig).run_name == "pre"
    model = load_model(pretrained, kind="pretraining")
    assert model.detector.name == "mini"
    with pytest.raises(ValueError, match="expected a checkpoint of xecgnn-train, found one of xecgnn-pretrain"):
        load_model(pretrained)

    with caplog.at_level(logging.INFO, "xecgnn"):
        report([str(pretrained.parent)])
    assert caplog.messages[0].endswith("only its training is drawn again; its data: inpainting_pre.csv")
    assert caplog.messages[-1].endswith(f"  {pretrained.parent}/metrics/training_report.md")


def test_sensor_predictions_are_written_where_asked_for(workplace: Path) -> None:
    options = ["--epochs", "1", "--run_name", "fill", "--save_predictions", "true"]
    pretrain.inpaint(["inpaint.yaml", *SMALL, *options])
    tree = uproot.open("artifacts/fill/sensor_predictions_fill.root")["tree"].arrays(library="np")
    assert tree["masked"].shape == (64, 212)
    fraction = tree["masked"].mean()
    assert 0.01 <= fraction <= 0.1
    assert np.isfinite(tree["pred_npho"]).all()


def test_resumed_pretraining_equals_uninterrupted(workplace: Path) -> None:
    command = ["pretrain.yaml", *SMALL, "--training.scheduler", "none"]
    pretrain.main([*command, "--epochs", "2", "--run_name", "whole"])
    pretrain.main([*command, "--epochs", "1", "--run_name", "halves"])
    pretrain.main([*command, "--epochs", "2", "--resume_from", "artifacts/halves/checkpoint_last.pth"])
    whole, halves = (weights(f"artifacts/{name}/checkpoint_last.pth") for name in ("whole", "halves"))
    assert all(torch.equal(whole[name], halves[name]) for name in whole)


def test_fine_tuning_takes_encoder_and_transformer(
    workplace: Path, pretrained: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "xecgnn"):
        options = ["--epochs", "1", "--resume_from", str(pretrained), "--run_name", "tuned", "--lr", "1e-12"]
        train.main(["angle.yaml", *FINE_TUNED, *options])
    (line,) = [record.message for record in caplog.records if record.message.startswith("From a checkpoint")]
    assert "xecgnn-pretrain: loaded backbone" in line
    assert "fresh: heads.angle" in line
    assert "not used: decoder" in line or "decoder" in line.split("not used:")[1]
    before, after = weights(pretrained), weights("artifacts/tuned/checkpoint_last.pth")
    shared = [name for name in before if name.startswith("objective.model.backbone.")]
    assert len(shared) > 20
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in shared)
    assert torch.load("artifacts/tuned/checkpoint_last.pth", weights_only=True)["epoch"] == 0


def test_bare_encoder_weights_are_recognised(workplace: Path, pretrained: Path) -> None:
    model = load_model(pretrained, kind="pretraining")
    torch.save(model.backbone.state_dict(), "encoder.pth")
    options = ["--epochs", "1", "--resume_from", "encoder.pth", "--run_name", "bare", "--lr", "1e-12"]
    train.main(["angle.yaml", *FINE_TUNED, *options])
    after = weights("artifacts/bare/checkpoint_last.pth")
    for name, values in model.backbone.named_parameters():
        torch.testing.assert_close(after[f"objective.model.backbone.{name}"], values.detach(), atol=1e-6, rtol=0)


def test_a_frozen_encoder_stays_and_the_head_learns(workplace: Path, pretrained: Path) -> None:
    options = ["--epochs", "1", "--resume_from", str(pretrained), "--run_name", "frozen"]
    train.main(["angle.yaml", *FINE_TUNED, *options, "--training.freeze_encoder", "true"])
    before, after = weights(pretrained), weights("artifacts/frozen/checkpoint_last.pth")
    shared = [name for name in before if name.startswith("objective.model.backbone.")]
    assert all(torch.equal(before[name], after[name]) for name in shared)
    train.main(["angle.yaml", *FINE_TUNED, "--epochs", "1", "--run_name", "free", "--resume_from", str(pretrained)])
    free = weights("artifacts/free/checkpoint_last.pth")
    assert not all(torch.equal(before[name], free[name]) for name in shared)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--training.freeze_encoder", "true"], "training.freeze_encoder: nothing to keep"),
        (["--detector", "meg2", "--resume_from", "PRE"], "sensors, the detector has 4760"),
        (["--npho_scale", "7", "--resume_from", "PRE"], "normalization.npho_scale: the checkpoint was trained with "),
        (["--model.encoder_dim", "64", "--resume_from", "PRE"], "the checkpoint has another network: backbone."),
    ],
)
def test_misfits_of_fine_tuning_are_one_line(
    workplace: Path, pretrained: Path, options: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [str(pretrained) if option == "PRE" else option for option in options]
    with pytest.raises(SystemExit) as stop:
        train.main(["angle.yaml", *FINE_TUNED, "--epochs", "1", *options])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert line in error
    assert error.count("\n") == 1
    assert not (workplace / "artifacts").exists()


def test_another_detector_is_named(workplace: Path, pretrained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = torch.load(pretrained, weights_only=True)
    checkpoint["xecgnn"]["detector_hash"] = "0" * 64
    torch.save(sealed(checkpoint), "other.pth")
    with pytest.raises(SystemExit):
        train.main(["angle.yaml", *FINE_TUNED, "--epochs", "1", "--resume_from", "other.pth"])
    assert "the checkpoint is for detector 000000000000, not for mini" in capsys.readouterr().err


@pytest.mark.parametrize("ratio", ["0", "1", "1.5", "-0.1"])
def test_a_ratio_outside_its_range_is_one_line(workplace: Path, ratio: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        pretrain.main(["pretrain.yaml", *SMALL, "--mask_ratio", ratio])
    assert "masking.mask_ratio" in capsys.readouterr().err


def test_the_learning_rate_of_the_encoder_is_scaled(mini: Detector) -> None:
    config = TrainingConfig(lr=1e-3, encoder_lr_factor=0.1, scheduler="onecycle", max_lr=1e-2, epochs=10, pct_start=0.5)
    objective = objectives(mini)[0]
    optimizer = build_optimizer(objective, config)
    slow = {id(p) for p in objective.backbone.parameters()}
    for group in optimizer.param_groups:
        kinds = {id(parameter) in slow for parameter in group["params"]}
        assert len(kinds) == 1
        assert group["lr"] == pytest.approx(1e-4 if kinds.pop() else 1e-3)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(objective.parameters()))
    schedule = build_schedule(optimizer, config, 10)["scheduler"]
    for _ in range(49):
        optimizer.step()
        schedule.step()
    assert {round(group["lr"], 5) for group in optimizer.param_groups} == {1e-3, 1e-2}


class Constant(nn.Module):
    """Predicts the normalised values 0 for every sensor, whatever it sees."""

    hides_invalid = False

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.backbone = model.backbone

    def forward(self, batch: Readings, visible: torch.Tensor) -> torch.Tensor:
        self.visible = visible
        return torch.zeros_like(batch.x)


def test_the_loss_is_its_formula(mini: Detector, mini_events: Events) -> None:
    model = Constant(objectives(mini)[0].model)
    config = ReconstructionLossConfig(loss_fn="mse", npho_alpha=0.5, time_weight=3.0, time_npho_threshold=200.0)
    objective = ReconstructionObjective(model, Masker(mini, MaskingConfig(mask_ratio=0.3)), config)
    batch = Readings.of(mini_events[:8])
    torch.manual_seed(5)
    loss, diagnostics = objective(batch)
    sums = np.zeros((2, 2))
    npho_valid, time_valid = model.backbone.normalizer.validity(batch.x)
    target = model.backbone.normalizer(batch.x, npho_valid, time_valid).double()
    masked, light = ~model.visible, batch.x[..., 0].clamp(min=0)
    weight = [masked * (light + 1) ** 0.5, masked * time_valid * (light > 200) * light**0.5]
    for column in range(2):
        used = weight[column] > 0
        sums[column] = (weight[column] * target[..., column] ** 2)[used].sum().item(), weight[column].sum().item()
    npho, time = sums[:, 0] / sums[:, 1]
    assert diagnostics["loss_npho"].item() == pytest.approx(npho, rel=1e-4)
    assert diagnostics["loss_time"].item() == pytest.approx(time, rel=1e-4)
    assert loss.item() == pytest.approx(npho + 3 * time, rel=1e-4)


class MaskByReading(nn.Module):
    """Masks about a third of the sensors, known from the reading alone: the same ones in whatever batch."""

    def forward(self, x: torch.Tensor, *_: object) -> torch.Tensor:
        return (1e4 * x[..., 0]).long() % 3 == 0


@pytest.mark.parametrize("kind", [0, 1])
def test_parts_on_two_ranks_have_the_gradient_of_the_whole(
    mini: Detector, mini_events: Events, monkeypatch: pytest.MonkeyPatch, kind: int
) -> None:
    objective = objectives(mini)[kind].eval()  # without dropout
    objective.masker = MaskByReading()
    npho = mini_events.npho[:8].copy()
    npho[:3] = INVALID_VALUE  # one event of the first four has anything to predict
    events = Events({**mini_events[:8].columns, "npho": npho})
    whole, *parts = (Readings.of(part) for part in (events, events[:4], events[4:]))

    def gradient(batch: object, total: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        monkeypatch.setattr(reconstruction, "mean_over_ranks", total)
        objective.zero_grad()
        objective(batch)[0].backward()
        return torch.cat([p.grad.flatten() for p in objective.parameters() if p.grad is not None])

    sums: list[list[torch.Tensor]] = [[], []]
    for part, found in zip(parts, sums, strict=True):
        gradient(part, lambda weight, found=found: found.append(weight) or weight)
    means = [iter([(a + b) / 2 for a, b in zip(*sums, strict=True)]) for _ in parts]
    reduced = sum(gradient(part, lambda _, mean=mean: next(mean)) for part, mean in zip(parts, means, strict=True))
    expected = gradient(whole, lambda weight: weight)
    assert ((reduced / 2 - expected).norm() / expected.norm()).item() < 1e-5
    apart = sum(gradient(part, lambda weight: weight) for part in parts)
    assert ((apart / 2 - expected).norm() / expected.norm()).item() > 1e-2  # means of means are something else


def test_training_and_evaluation_look_at_the_same_network_output(mini: Detector, mini_events: Events) -> None:
    """Also where sensors are invalid: pretraining shows these, inpainting hides them."""
    batch = Readings.of(mini_events[:16])
    dead = torch.rand(16, mini.num_sensors, generator=torch.Generator().manual_seed(0)) < 0.3
    batch.x[dead] = INVALID_VALUE
    for objective in objectives(mini):
        objective.eval()
        with torch.no_grad():
            objective.update_metrics(batch)
        metrics, normalizer = objective.compute_metrics(), objective.model.backbone.normalizer
        (events,) = reconstructions(objective.model, objective.masker, [batch], seed=VALIDATION_SEED)
        valid = torch.from_numpy(events.npho_valid)
        assert (valid == ~dead).all()
        predicted, true = (
            normalizer(torch.stack([torch.from_numpy(npho).double()] * 2, -1), valid, valid)[..., 0]
            for npho in (events.pred_npho, events.npho)
        )
        loss = nn.functional.smooth_l1_loss(predicted[events.masked], true[events.masked])
        assert metrics["val_loss_npho"].item() == pytest.approx(loss.item(), rel=1e-4)


def test_validation_repeats_its_masks_and_leaves_the_random_state(mini: Detector, mini_events: Events) -> None:
    batches = [Readings.of(mini_events[start : start + 16]) for start in (0, 16)]
    for objective in objectives(mini):
        objective.eval()
        state = torch.get_rng_state()
        results = []
        for _ in range(2):
            with torch.no_grad():
                for batch in batches:
                    objective.update_metrics(batch)
            results.append(objective.compute_metrics())
        assert torch.equal(state, torch.get_rng_state())
        assert results[0] == results[1]
        names = {"val_loss", "val_loss_npho", "val_loss_time", "val_loss_npho_inner"}
        assert names <= set(objective.metric_names()) == results[0].keys() - {"val_mask_ratio"}


def test_dead_faces_and_empty_events_have_finite_losses(mini: Detector, mini_events: Events) -> None:
    batch = Readings.of(mini_events[:4])
    batch.x[:, mini.faces["outer"].sensor_ids] = torch.nan  # dead in every event
    batch.x[0] = INVALID_VALUE  # no valid sensor in the first event
    for objective in objectives(mini):
        loss, _ = objective(batch)
        loss.backward()
        assert torch.isfinite(loss)
        assert all(torch.isfinite(p.grad).all() for p in objective.parameters() if p.grad is not None)
        batch.x[:] = torch.nan
        empty, _ = objective(batch)
        assert empty.item() == 0
        batch = Readings.of(mini_events[:4])


def test_validation_files_without_valid_sensors_are_an_error(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events = Events.read("data/val")
    columns = {"npho": np.full_like(events.npho, INVALID_VALUE), "relative_time": events.relative_time}
    write(Events(columns), "dark.root")
    with pytest.raises(SystemExit):
        pretrain.main(["pretrain.yaml", *SMALL, "--epochs", "1", "--val_path", "dark.root"])
    assert "no validation event has a valid sensor" in capsys.readouterr().err


def test_fine_tuning_keeps_the_constants_of_the_checkpoint(workplace: Path, pretrained: Path) -> None:
    before = weights(pretrained)
    train.main(["angle.yaml", *FINE_TUNED, "--epochs", "1", "--run_name", "kept", "--resume_from", str(pretrained),
                "--train_path", "data/val/*.root"])  # fmt: skip
    after = weights("artifacts/kept/checkpoint_last.pth")
    constants = [name for name in before if name.startswith("objective.model.backbone.normalizer.")]
    assert len(constants) == 7
    assert all(torch.equal(before[name], after[name]) for name in constants)
    assert float(before["objective.model.backbone.normalizer.npho_scale"]) != 30.0
