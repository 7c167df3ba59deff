"""How long and how a model trains (`LoopConfig`), and on what (`ComputeConfig`)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from gestray.config import Config
from gestray.errors import UserError


class ComputeConfig(Config):
    """Where training runs. It never changes what is learnt, up to rounding.

    Args:
        workers: DDP processes.
        min_workers: train with as few as these where the cluster has no more, and grow up to
            `workers` when it has; None: wait until there are `workers`.
        resize_every_s: seconds between two looks at whether the group could grow.
        device: "auto" takes one GPU a worker (NCCL) if the cluster has them,
            otherwise one CPU (gloo).
        resources: that a worker holds beside its GPU, such as {train: 1} where nodes for training
            declare `train`; {CPU: 0, train: 1} for nodes that declare no CPUs to anybody else.
        readers: Ray Data tasks a worker reads ahead with.
        max_failures: times a group that lost a worker is restarted from its
            last checkpoint. Losses that were announced (a node is drained) do not count.
    """

    workers: int = Field(2, ge=1)
    min_workers: int | None = Field(None, ge=1)
    resize_every_s: float = Field(60.0, ge=0)
    device: Literal["auto", "cpu", "gpu"] = "auto"
    resources: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    readers: int = Field(1, ge=1)
    max_failures: int = Field(2, ge=0)

    @model_validator(mode="after")
    def _is_a_range(self) -> ComputeConfig:
        if self.min_workers is not None and self.min_workers > self.workers:
            raise UserError(
                f"min_workers {self.min_workers} is more than workers {self.workers}, the most "
                "there are to be; raise workers or lower min_workers"
            )
        return self

    @property
    def fewest(self) -> int:
        """Workers that training starts with at least."""
        return self.workers if self.min_workers is None else self.min_workers


class LoopConfig(Config):
    """How long and how training runs.

    Args:
        steps: optimiser steps.
        batch_size: samples in a global batch, whatever the number of workers.
        lanes: see `gestray.views.batching`; workers must divide it.
        accumulate: micro-batches a step, one after the other, each with an equal share of
            every lane: what fits no memory at once. Contrastive losses see one at a time.
        by_length: batches of samples of like length, which need little padding. Contrastive
            losses then tell apart what length does not.
        optimizer: "adamw"; or "muon" for the weights of linear layers, and AdamW for the rest.
        learning_rate: peak, after `warmup_steps`.
        schedule: from the peak a "cosine" to the share `final_lr` of it, or "constant".
        betas: of AdamW.
        weight_decay: a share of the learning rate, decoupled.
        max_grad_norm: gradients are clipped to it, after the last backward of a step.
        ema_decay: of a moving average of the weights, which then is what is validated and
            kept; None: the weights themselves.
        bf16: autocast to bfloat16, on GPUs only.
        compile: compile what the task names; pays on GPUs, after a minute's start.
        validate_every: steps between two figures on the validation split; None: never.
        validate_batches: fixed batches that a figure is the mean of.
        patience: validations without a better figure after which training ends; None: never.
        keep: the model of the "last" step, or of the "best" validation.
        checkpoint_every, log_every: in steps.
        keep_checkpoints: the newest ones kept while training runs.
        keep_every: every so manieth checkpoint stays, also when training has ended.
        track: where the log goes beside `log.jsonl`; see `gestray.training.tracking`.
    """

    EXECUTION: ClassVar[frozenset[str]] = frozenset(
        {"compute", "compile", "checkpoint_every", "keep_checkpoints", "keep_every", "track"}
    )
    ADDED: ClassVar[Mapping[str, Any]] = {"optimizer": "adamw"}

    steps: int = Field(ge=1)
    batch_size: int = Field(64, ge=1)
    lanes: int = Field(8, ge=1)
    accumulate: int = Field(1, ge=1)
    by_length: bool = False
    optimizer: Literal["adamw", "muon"] = "adamw"
    learning_rate: float = Field(2e-4, gt=0)
    warmup_steps: int = Field(20, ge=0)
    schedule: Literal["cosine", "constant"] = "cosine"
    final_lr: float = Field(0.0, ge=0, le=1)
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    ema_decay: float | None = Field(None, gt=0, lt=1)
    bf16: bool = False
    compile: bool = False
    seed: int = 0
    validate_every: int | None = Field(None, ge=1)
    validate_batches: int = Field(8, ge=1)
    patience: int | None = Field(None, ge=1)
    keep: Literal["last", "best"] = "last"
    checkpoint_every: int = Field(100, ge=1)
    keep_checkpoints: int = Field(2, ge=1)
    keep_every: int | None = Field(None, ge=1)
    log_every: int = Field(10, ge=1)
    track: tuple[Literal["tensorboard", "mlflow", "wandb"], ...] = ()
    compute: ComputeConfig = ComputeConfig()

    @model_validator(mode="after")
    def _fits_together(self) -> LoopConfig:
        share = self.lanes * self.accumulate
        if self.batch_size % share:
            whole = math.ceil(self.batch_size / share) * share
            raise UserError(
                f"batch_size {self.batch_size} is not a multiple of lanes {self.lanes} times "
                f"accumulate {self.accumulate}; set batch_size to {whole}"
            )
        if self.validate_every is None:
            needs = {"keep=best": self.keep == "best", "patience": self.patience is not None}
            for name in (name for name, asked in needs.items() if asked):
                raise UserError(f"{name} goes by the validation loss; set validate_every as well")
        return self

    def learning_rate_at(self, step: int) -> float:
        """Of a step, from 0: a linear warm-up to the peak, then the schedule."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        if self.schedule == "constant":
            return self.learning_rate
        done = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        cosine = 0.5 * (1 + math.cos(math.pi * done))
        return self.learning_rate * (self.final_lr + (1 - self.final_lr) * cosine)
