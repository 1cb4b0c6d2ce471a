"""Settings of the optimisation, of checkpoints and of logging. Defaults are those of the seeds."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from xecgnn.settings import AnyPath, Settings

__all__ = ["CheckpointConfig", "LoggingConfig", "ReconstructionLossConfig", "TrainingConfig"]


class TrainingConfig(Settings):
    """How the weights are found."""

    epochs: int = Field(20, ge=1, description="passes over the training sample")
    optimizer: Literal["muon", "adamw"] = Field(
        "muon", description="muon (for matrices, AdamW for the rest), or AdamW for all"
    )
    lr: float = Field(3e-4, gt=0, description="learning rate (starting value for onecycle)")
    weight_decay: float = Field(1e-4, ge=0, description="weight decay (not of biases, norms, embeddings)")
    scheduler: Literal["cosine", "onecycle", "plateau", "none"] = Field("cosine", description="learning-rate schedule")
    warmup_epochs: int = Field(2, ge=0, description="cosine: epochs of linear warm-up")
    max_lr: float | None = Field(None, gt=0, description="onecycle: peak learning rate (null: lr)")
    pct_start: float = Field(0.3, gt=0, lt=1, description="onecycle: fraction of the steps with rising learning rate")
    lr_patience: int = Field(5, ge=0, description="plateau: epochs without improvement before the rate is reduced")
    lr_factor: float = Field(0.5, gt=0, lt=1, description="plateau: factor on the learning rate")
    lr_min: float = Field(1e-7, ge=0, description="cosine and plateau: smallest learning rate")
    grad_clip: float = Field(1.0, ge=0, description="largest norm of the gradient (0: no clipping)")
    grad_accum_steps: int = Field(1, ge=1, description="batches whose gradients make one step")
    ema_decay: float = Field(
        0.999, ge=-1, lt=1, description="decay of the averaged weights, warmed up (-1: no averaging)"
    )
    augmentations: list[str] = Field(
        ["mirror"], description="what is done to the events of training: mirror (z -> -z, y -> -y), or of a plugin"
    )
    channel_dropout: float = Field(
        0.0, ge=0, lt=1, description="fraction of sensors made invalid at random in training"
    )
    amp: Literal["auto", "none", "bf16", "fp16"] = Field(
        "auto", description="mixed precision (auto: bf16 on a GPU that has it)"
    )
    freeze_encoder: bool = Field(False, description="keep face encoders and Transformer as they were loaded")
    encoder_lr_factor: float = Field(
        1.0, gt=0, description="factor on the learning rate of face encoders and Transformer"
    )
    compile: bool = Field(False, description="torch.compile the network")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="where to train (auto: a GPU where there is one)"
    )
    num_devices: int = Field(1, ge=1, description="GPUs (or CPU processes) that share each step")
    num_nodes: int = Field(1, ge=1, description="machines that share each step")


class CheckpointConfig(Settings):
    """Where a run starts from and where it leaves its files."""

    resume_from: AnyPath | None = Field(
        None, description="checkpoint whose run goes on, with its settings, in its folder; or that folder"
    )
    init_from: AnyPath | None = Field(None, description="checkpoint whose weights a new run begins with")
    monitor: str = Field(
        "val_loss",
        description="validation metric whose best epoch becomes checkpoint_best, and that the plateau schedule follows",
    )
    artifacts_dir: AnyPath = Field("artifacts", description="folder that holds one folder per run")


class LoggingConfig(Settings):
    """Who is told of the metrics."""

    mlflow: bool = Field(True, description="log to MLflow")
    mlflow_uri: AnyPath = Field("sqlite:///mlruns.db", description="MLflow tracking store")
    experiment: str = Field("xecgnn", description="MLflow experiment")
    tensorboard: bool = Field(True, description="log to TensorBoard")
    tensorboard_dir: AnyPath = Field("runs", description="folder of the TensorBoard logs")
    progress_bar: bool = Field(True, description="show a bar on a terminal (false: a line a minute, as in a log file)")


class ReconstructionLossConfig(Settings):
    """How the error of reconstructed sensors is measured, in normalised units."""

    loss_fn: Literal["smooth_l1", "l1", "mse", "huber"] = Field("smooth_l1", description="loss of a sensor")
    loss_beta: float = Field(1.0, gt=0, description="where smooth_l1 and huber turn linear")
    npho_weight: float = Field(1.0, ge=0, description="weight of the photon counts")
    time_weight: float = Field(1.0, ge=0, description="weight of the times")
    time_npho_threshold: float | None = Field(
        None, description="npho above which a time counts (null: normalization.npho_threshold)"
    )
    npho_alpha: float = Field(0.0, ge=0, description="sensors weigh (npho + 1)^alpha in the loss of npho (0: equally)")
