"""The one training loop: any `Task`, alone in a process or as DDP on Ray Train.

`train` is the loop. `train_alone` runs it here (a notebook, a one-worker
trial); `train_on_ray` runs it on a Ray cluster with checkpoints in the store
and picks up a killed run where its last checkpoint left it. Ray is imported
only by the latter.
"""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import pyarrow as pa
import torch
from pydantic import Field
from torch import nn

from gestray.config import Config
from gestray.errors import UserError
from gestray.store import Folder
from gestray.training.checkpoint import MODEL, load_checkpoint, save_checkpoint
from gestray.training.distributed import mean_over_ranks
from gestray.training.task import Batch, Task
from gestray.views.batching import BatchPlan
from gestray.views.catalog import read_catalog
from gestray.views.stream import SampleStream

LOG = "log.jsonl"


class ComputeConfig(Config):
    """Where training runs. It never changes what is learnt, up to rounding.

    Args:
        workers: DDP processes.
        device: "auto" takes one GPU a worker (NCCL) if the cluster has them,
            otherwise one CPU (gloo).
        readers: Ray Data tasks a worker reads ahead with.
        max_failures: times a group that lost a worker is restarted from its
            last checkpoint.
    """

    workers: int = Field(2, ge=1)
    device: Literal["auto", "cpu", "gpu"] = "auto"
    readers: int = Field(1, ge=1)
    max_failures: int = Field(2, ge=0)


class LoopConfig(Config):
    """How long and how training runs.

    Args:
        steps: optimiser steps.
        batch_size: samples in a global batch, whatever the number of workers.
        lanes: see `gestray.views.batching`; workers must divide it.
        learning_rate: peak, after `warmup_steps`; then a cosine to zero.
        betas, weight_decay: of AdamW.
        max_grad_norm: gradients are clipped to it, after backward.
        bf16: autocast to bfloat16, on GPUs only.
        checkpoint_every, log_every: in steps.
    """

    EXECUTION: ClassVar[frozenset[str]] = frozenset({"compute", "checkpoint_every"})

    steps: int = Field(ge=1)
    batch_size: int = Field(64, ge=1)
    lanes: int = Field(8, ge=1)
    learning_rate: float = Field(2e-4, gt=0)
    warmup_steps: int = Field(20, ge=0)
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    bf16: bool = False
    seed: int = 0
    checkpoint_every: int = Field(100, ge=1)
    log_every: int = Field(10, ge=1)
    compute: ComputeConfig = ComputeConfig()


@dataclass(frozen=True)
class Worker:
    """One rank's place in the group."""

    rank: int = 0
    world: int = 1
    device: str = "cpu"


class Observer(Protocol):
    """Told by the loop how it goes."""

    def progress(self, values: dict[str, Any]) -> None:
        """Losses averaged over all ranks, every `log_every` steps; rank 0 only."""

    def checkpoint(self, values: dict[str, Any], folder: Path) -> None:
        """A checkpoint to keep; every rank, with files on rank 0. Returns when it is safe."""


class _LossModule(nn.Module):
    """The task's loss as a module's forward, which is what DDP needs to see."""

    def __init__(self, task: Task, model: nn.Module) -> None:
        super().__init__()
        self.task = task
        self.model = model

    def forward(self, batch: Batch, step: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        return self.task.loss(self.model, batch, step)


def train(
    task: Task,
    config: LoopConfig,
    batches: Callable[[int], Iterator[pa.Table]],
    worker: Worker,
    observer: Observer,
    resume_from: Path | None = None,
) -> nn.Module:
    """Train on one rank.

    Args:
        task: the model and its loss.
        config: length and optimiser.
        batches: given the first step, the rank's tables for all steps to come.
        worker: the rank's place; the process group exists already.
        observer: told of progress and checkpoints.
        resume_from: a checkpoint's folder.

    Returns:
        The trained model, not wrapped.

    Raises:
        FloatingPointError: the loss is not finite; names the step.
    """
    device = torch.device(worker.device)
    _seed(config.seed, -1, 0)
    model = task.build().to(device)
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        trainable, lr=config.learning_rate, betas=config.betas, weight_decay=config.weight_decay
    )
    first_step = 0
    log: list[dict[str, Any]] = []
    if resume_from is not None:
        first_step, log = load_checkpoint(resume_from, model, optimizer)
    module: nn.Module = _LossModule(task, model)
    if worker.world > 1:
        # Buffers are codebooks: they are synchronised where they are updated.
        module = nn.parallel.DistributedDataParallel(module, broadcast_buffers=False)
    module.train()
    autocast = (
        torch.autocast("cuda", torch.bfloat16)
        if config.bf16 and device.type == "cuda"
        else nullcontext()
    )
    started = time.monotonic()
    waited = 0.0
    stream = batches(first_step)
    for step in range(first_step, config.steps):
        asked = time.monotonic()
        batch = _to(task.collate(next(stream)), device)
        waited += time.monotonic() - asked
        _seed(config.seed, step, worker.rank)
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * _schedule(step, config)
        optimizer.zero_grad(set_to_none=True)
        with autocast:
            loss, parts = module(batch, step)
        loss.backward()
        grad_norm = nn.utils.clip_grad_norm_(trainable, config.max_grad_norm)
        optimizer.step()
        done = step + 1
        if done % config.log_every == 0 or done == config.steps or done == 1:
            values = mean_over_ranks({"loss": loss, "grad_norm": grad_norm, **parts})
            if not math.isfinite(values["loss"]):
                raise FloatingPointError(
                    f"the loss is {values['loss']} at step {done}; the last checkpoint is from "
                    f"step {done - 1 - (done - 1) % config.checkpoint_every}: lower "
                    "loop.learning_rate or look at the batch of this step"
                )
            elapsed = time.monotonic() - started
            rate = (done - first_step) * config.batch_size / elapsed
            values |= {"step": done, "samples_per_s": rate, "wait_share": waited / elapsed}
            log.append(values)
            if worker.rank == 0:
                observer.progress(values)
        if done % config.checkpoint_every == 0 or done == config.steps:
            with tempfile.TemporaryDirectory(prefix="gestray-checkpoint-") as folder:
                if worker.rank == 0:
                    save_checkpoint(Path(folder), model, optimizer, done, log)
                    lines = "".join(json.dumps(row) + "\n" for row in log)
                    (Path(folder) / LOG).write_text(lines)
                observer.checkpoint(log[-1], Path(folder))
    return model


def _seed(seed: int, step: int, rank: int) -> None:
    """Every random draw is a function of (seed, step, rank), so a resumed run repeats it."""
    text = f"{seed}/{step}/{rank}".encode()
    torch.manual_seed(int.from_bytes(hashlib.sha256(text).digest()[:7], "little"))


def _schedule(step: int, config: LoopConfig) -> float:
    """Linear warm-up, then a cosine to zero."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    rest = max(1, config.steps - config.warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * (step - config.warmup_steps) / rest))


def _to(batch: Batch, device: torch.device) -> Batch:
    return {
        key: value.to(device, non_blocking=True) if isinstance(value, torch.Tensor) else value
        for key, value in batch.items()
    }


class _Quiet:
    """Observer of a run nobody watches."""

    def progress(self, values: dict[str, Any]) -> None:
        pass

    def checkpoint(self, values: dict[str, Any], folder: Path) -> None:
        pass


def stream_for(task: Task, config: LoopConfig, takes: Folder) -> SampleStream:
    """The task's samples of a `takes` artifact, in the order the config's seed gives.

    Raises:
        UserError: the corpus has no sample for this task.
    """
    view = task.view()
    catalog = tuple(read_catalog(takes))
    counts = tuple(view.count(ref) for ref in catalog)
    return SampleStream(
        takes, catalog, view, BatchPlan(counts, config.batch_size, config.lanes, config.seed)
    )


def train_alone(
    task: Task,
    config: LoopConfig,
    takes: Folder,
    observer: Observer | None = None,
    resume_from: Path | None = None,
) -> nn.Module:
    """Train in this process, without Ray; the same batches as on a cluster."""
    stream = stream_for(task, config, takes)
    lanes = stream.plan.lanes_of(0, 1)
    return train(
        task,
        config,
        lambda first: stream.local_batches(lanes, first, config.steps - first),
        Worker(),
        observer or _Quiet(),
        resume_from,
    )


def train_on_ray(
    task: Task,
    config: LoopConfig,
    takes: Folder,
    target: Folder,
    on_progress: Callable[[dict[str, Any]], None],
) -> list[dict[str, Any]]:
    """Train with DDP on Ray Train; resumes what a killed run left in `target`.

    Args:
        takes: folder of the `takes` artifact.
        target: gets `model.safetensors` and `log.jsonl`; checkpoints live
            below it until the end.
        on_progress: called in this process with each logged row.

    Returns:
        The log, one row every `log_every` steps, from step 1 on.

    Raises:
        UserError: the cluster lacks what the config asks for.
    """
    import ray
    import ray.train
    from ray.train.torch import TorchTrainer
    from ray.util.queue import Queue

    stream = stream_for(task, config, takes)
    stream.plan.lanes_of(
        0, config.compute.workers
    )  # a wrong worker count is an error here, not there
    use_gpu = _use_gpu(config.compute, ray.cluster_resources())
    runs = target.child("training")
    progress = Queue(actor_options={"num_cpus": 0})
    trainer = TorchTrainer(
        _train_worker,
        train_loop_config={"task": task, "config": config, "stream": stream, "progress": progress},
        scaling_config=ray.train.ScalingConfig(num_workers=config.compute.workers, use_gpu=use_gpu),
        run_config=ray.train.RunConfig(
            name="run",
            storage_path=runs.path(),
            storage_filesystem=runs.filesystem,
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=2),
            failure_config=ray.train.FailureConfig(max_failures=config.compute.max_failures),
        ),
    )
    if runs.is_local:
        Path(runs.path()).mkdir(parents=True, exist_ok=True)
    with _forwarding(progress, on_progress):
        result = trainer.fit()
    with tempfile.TemporaryDirectory(prefix="gestray-model-") as folder:
        assert result.checkpoint is not None, "the loop ends with a checkpoint"
        result.checkpoint.to_directory(folder)
        log_text = (Path(folder) / LOG).read_text()
        target.write_bytes((Path(folder) / MODEL).read_bytes(), MODEL)
        target.write_bytes(log_text.encode(), LOG)
    return [json.loads(line) for line in log_text.splitlines()]


def _use_gpu(compute: ComputeConfig, resources: dict[str, float]) -> bool:
    gpus, cpus = resources.get("GPU", 0), resources.get("CPU", 0)
    if compute.device == "gpu" and gpus < compute.workers:
        raise UserError(
            f"compute.device=gpu with {compute.workers} workers, but the cluster has {gpus:g} "
            "GPUs; lower compute.workers or set compute.device=cpu"
        )
    # A worker holds one CPU, and its read-ahead needs half of one beside it.
    if cpus < compute.workers + 1:
        raise UserError(
            f"{compute.workers} workers need {compute.workers + 1} CPUs (one is for reading), but "
            f"the cluster has {cpus:g}; lower compute.workers"
        )
    return compute.device == "gpu" or (compute.device == "auto" and gpus >= compute.workers)


def _train_worker(setup: dict[str, Any]) -> None:
    """What Ray Train runs on every worker."""
    import ray.train
    import ray.train.torch

    context = ray.train.get_context()
    worker = Worker(
        context.get_world_rank(),
        context.get_world_size(),
        str(ray.train.torch.get_device()),
    )
    config: LoopConfig = setup["config"]
    stream: SampleStream = setup["stream"]
    lanes = stream.plan.lanes_of(worker.rank, worker.world)

    def batches(first: int) -> Iterator[pa.Table]:
        return stream.ray_batches(lanes, first, config.steps - first, config.compute.readers)

    checkpoint = ray.train.get_checkpoint()
    with checkpoint.as_directory() if checkpoint else nullcontext() as folder:
        train(
            setup["task"],
            config,
            batches,
            worker,
            _RayObserver(setup["progress"], worker.rank),
            Path(folder) if folder else None,
        )


@dataclass(frozen=True)
class _RayObserver:
    queue: Any
    rank: int

    def progress(self, values: dict[str, Any]) -> None:
        self.queue.put_nowait(values)

    def checkpoint(self, values: dict[str, Any], folder: Path) -> None:
        import ray.train

        # Every rank reports, which is Ray Train's barrier; the files are rank 0's.
        checkpoint = ray.train.Checkpoint.from_directory(folder) if self.rank == 0 else None
        ray.train.report(values, checkpoint=checkpoint)


@contextmanager
def _forwarding(queue: Any, on_progress: Callable[[dict[str, Any]], None]) -> Iterator[None]:
    """Hand rows from the workers' queue to `on_progress` while the block runs."""
    from ray.util.queue import Empty

    stop = threading.Event()

    def drain() -> None:
        while True:
            try:
                on_progress(queue.get(timeout=0.5))
            except Empty:
                if stop.is_set():
                    return

    thread = threading.Thread(target=drain, name="training-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=10)
        queue.shutdown()
