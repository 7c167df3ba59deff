"""Training as DDP on Ray Train: the only file of training that imports Ray, when asked to.

Ray Train starts the group of workers and starts it again when it loses one. The
loop does the rest, checkpoints included (`gestray.training.checkpoints`).
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from gestray.errors import UserError
from gestray.store import Folder
from gestray.training.checkpoints import CHECKPOINTS
from gestray.training.config import ComputeConfig, LoopConfig
from gestray.training.diverged import Diverged
from gestray.training.task import Task

if TYPE_CHECKING:
    from gestray.training.loop import Row

log = logging.getLogger(__name__)

#: Figures of a row of the log as Ray's metrics, which it exports as `ray_gestray_train_…`. Losses
#: and their parts are `gestray_train_loss`, by part.
METRICS = {
    "step": ("gestray_train_step", "Optimiser steps done."),
    "lr": ("gestray_train_learning_rate", "Of the last step."),
    "grad_norm": ("gestray_train_grad_norm", "Before clipping."),
    "samples_per_s": ("gestray_train_samples_per_s", "Of all workers."),
    "wait_share": ("gestray_train_data_wait_share", "Share of the time spent waiting for data."),
    "step_ms_p50": ("gestray_train_step_ms_p50", "Median of the last 200 steps."),
    "step_ms_p95": ("gestray_train_step_ms_p95", "95th percentile of the last 200 steps."),
    "memory_mb": ("gestray_train_memory_mb", "Most held, of the GPU or the process."),
    "codebook_use": ("gestray_train_codebook_use", "Perplexity as a share of the codes."),
}
LOSS = "gestray_train_loss"

# Ray Train's own state of a run lies here, below the folder that gets the model.
RUN = "training"


def train_on_ray(
    task: Task,
    config: LoopConfig,
    takes: Folder,
    target: Folder,
    on_row: Callable[[Row], None],
) -> list[Row]:
    """Train with DDP on Ray Train; goes on where a killed run has left checkpoints in `target`.

    Args:
        takes: folder of the `takes` artifact.
        target: gets `model.safetensors` and `log.jsonl`; while training runs, also
            `checkpoints` and Ray Train's `training`.
        on_row: called in this process with each row of the log.

    Returns:
        The log, from step 1 on.

    Raises:
        UserError: the cluster lacks what the config asks for, or the corpus what the task does.
        Diverged: a loss was not finite.
    """
    import ray
    import ray.train
    from ray.train.torch import TorchTrainer
    from ray.util.queue import Queue
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from gestray.training.loop import LOG, training_data

    data = training_data(task, config, takes)
    compute = config.compute
    # A wrong worker count is an error here, not there. A group that changes its size makes
    # the best of any.
    data.stream.plan.lanes_of(0, compute.workers)
    use_gpu = _use_gpu(compute, ray.cluster_resources())
    is_elastic = compute.fewest < compute.workers
    # `ray.train` shows type checkers the first version's class, which knows no range.
    scaling: Any = ray.train.ScalingConfig
    runs = target.child(RUN)
    # Here, where it is as safe as the driver that listens: on a worker's node it would be lost.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    told = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
    setup = {"task": task, "config": config, "data": data, "target": target, "told": told}
    trainer = TorchTrainer(
        _train_worker,
        train_loop_config=setup,
        scaling_config=scaling(
            num_workers=(compute.fewest, compute.workers) if is_elastic else compute.workers,
            elastic_resize_monitor_interval_s=compute.resize_every_s,
            use_gpu=use_gpu,
            resources_per_worker={"CPU": 1, **compute.resources} if compute.resources else None,
        ),
        run_config=ray.train.RunConfig(
            name="run",
            storage_path=runs.path(),
            storage_filesystem=runs.filesystem,
            failure_config=ray.train.FailureConfig(max_failures=compute.max_failures),
        ),
    )
    if runs.is_local:
        Path(runs.path()).mkdir(parents=True, exist_ok=True)
    with _forwarding(told, on_row):
        result: Any = trainer.fit()
    if isinstance(result.return_value, UserError):
        raise result.return_value
    return [json.loads(line) for line in target.read_bytes(LOG).splitlines()]


def _use_gpu(compute: ComputeConfig, resources: dict[str, float]) -> bool:
    """Whether workers take GPUs.

    Raises:
        UserError: the cluster has too few of them, or too few CPUs.
    """
    gpus, cpus, fewest = resources.get("GPU", 0), resources.get("CPU", 0), compute.fewest
    lower = "compute.workers" if compute.min_workers is None else "compute.min_workers"
    if compute.device == "gpu" and gpus < fewest:
        raise UserError(
            f"compute.device=gpu with {fewest} workers, but the cluster has {gpus:g} "
            f"GPUs; lower {lower} or set compute.device=cpu"
        )
    # A worker holds one CPU, and its read-ahead needs half of one beside it.
    if cpus < fewest + 1:
        raise UserError(
            f"{fewest} workers need {fewest + 1} CPUs (one is for reading), but "
            f"the cluster has {cpus:g}; lower {lower}"
        )
    return compute.device == "gpu" or (compute.device == "auto" and gpus >= fewest)


def _train_worker(setup: dict[str, Any]) -> Any:
    """What Ray Train runs on every worker.

    Returns:
        None, or a `UserError` that trying again would not mend: Ray Train starts a group
        anew whose worker raises.
    """
    import ray.train
    import ray.train.torch
    import torch
    from ray.exceptions import RayError

    from gestray.training.distributed import leave_out_others
    from gestray.training.loop import Worker, checkpoints_of, train, write_result

    context = ray.train.get_context()
    # Workers of one node share its cores. With as many threads each as there are cores, they
    # wait for each other at every operation: two on two cores made a step of 190 ms one of 440.
    torch.set_num_threads(max(1, torch.get_num_threads() // context.get_local_world_size()))
    rank, world = context.get_world_rank(), context.get_world_size()
    config: LoopConfig = setup["config"]
    target, data, told = setup["target"], setup["data"], setup["told"]
    active = data.stream.plan.active(world)
    if world > 1 and not leave_out_others(active):
        return None
    worker = Worker(rank, active, str(ray.train.torch.get_device()))
    lanes = data.stream.plan.lanes_of(rank, active)
    passes = config.steps * config.accumulate

    def batches(first: int) -> Iterator[pa.Table]:
        elastic = config.compute.fewest < config.compute.workers
        readers = config.compute.readers
        return data.stream.ray_batches(lanes, first, passes - first, readers, beside=elastic)

    gauges = _Gauges(target.name)

    def tell(what: Row | str) -> None:
        if not isinstance(what, str):
            gauges.row(what)
        try:
            told.put_nowait(what)
        except RayError as error:  # what is told to people is no reason to stop
            log.warning("%s could not be told: %s", what, error)

    def is_announced() -> bool:
        # Of workers that wait, none is asked, and Ray asks all or nobody.
        return active == world and ray.train.get_preemption_info() is not None

    folder = target.child(CHECKPOINTS)
    with checkpoints_of(config, folder, warn=tell) as checkpoints:
        try:
            state = train(
                setup["task"],
                config,
                data,
                batches,
                worker,
                tell,
                checkpoints,
                notice=is_announced,
            )
        except Diverged as error:
            return error
    if rank == 0:
        try:
            write_result(config, state, target)
        except UserError as error:
            return error
    return None


class _Gauges:
    """Rows of a run's log as Ray's metrics."""

    def __init__(self, run: str) -> None:
        from ray.util.metrics import Gauge

        self.run = run
        self.figures = {
            key: Gauge(name, description=description, tag_keys=("run",))
            for key, (name, description) in METRICS.items()
        }
        self.loss = Gauge(LOSS, description="Of the last step.", tag_keys=("run", "part"))

    def row(self, row: Row) -> None:
        for key, value in row.items():
            if key in self.figures:
                self.figures[key].set(value, {"run": self.run})
            else:
                self.loss.set(value, {"run": self.run, "part": key})


@contextmanager
def _forwarding(told: Any, on_row: Callable[[Row], None]) -> Iterator[None]:
    """While the block runs, hand on the rows that the workers tell, and log their warnings."""
    from ray.util.queue import Empty

    stop = threading.Event()

    def drain() -> None:
        while True:
            try:
                heard = told.get(timeout=0.5)
            except Empty:
                if stop.is_set():
                    return
                continue
            if isinstance(heard, str):
                log.warning("%s", heard)
            else:
                on_row(heard)

    thread = threading.Thread(target=drain, name="training-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=10)
        told.shutdown()
