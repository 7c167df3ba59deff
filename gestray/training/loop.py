"""The one training loop: any `Task`, alone in a process or as one rank of many.

`train` is the loop. `train_alone` runs it here (a notebook, a one-worker trial),
`gestray.training.on_ray` on a Ray cluster. Both go on where the checkpoints
they are given end.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from gestray.errors import UserError
from gestray.store import Folder
from gestray.training.checkpoint import MODEL, TrainingState, model_bytes
from gestray.training.checkpoints import CHECKPOINTS, Checkpoints
from gestray.training.config import LoopConfig
from gestray.training.data import TrainingData, training_data
from gestray.training.distributed import from_rank_zero, least_of_ranks, mean_over_ranks
from gestray.training.diverged import Diverged
from gestray.training.optimizers import make_optimizers
from gestray.training.pace import Pace, memory_mb
from gestray.training.task import Batch, Task
from gestray.training.validation import Validation

LOG = "log.jsonl"

#: What a logged row holds beside losses.
FIGURES = frozenset(
    {"step", "lr", "grad_norm", "samples_per_s", "wait_share"}
    | {"step_ms_p50", "step_ms_p95", "memory_mb", "codebook_use"}
)

Row = dict[str, Any]


@dataclass(frozen=True)
class Worker:
    """One rank's place in the group."""

    rank: int = 0
    world: int = 1
    device: str = "cpu"


def train(
    task: Task,
    config: LoopConfig,
    data: TrainingData,
    batches: Callable[[int], Iterator[pa.Table]],
    worker: Worker,
    on_row: Callable[[Row], None],
    checkpoints: Checkpoints | None = None,
    until: int | None = None,
    notice: Callable[[], bool] = lambda: False,
) -> TrainingState:
    """Train on one rank, from the newest checkpoint on where there is one.

    Args:
        task: the model and its loss.
        config: length and optimiser.
        data: what is read.
        batches: given the number of the first, the rank's tables of all micro-batches to come.
        worker: the rank's place; the process group exists already.
        on_row: told of each row of the log, on rank 0.
        checkpoints: where they are kept.
        until: pause with a checkpoint after this step; None: train to the end.
        notice: whether this group is about to lose a worker; asked on all ranks with each
            row of the log. At the first such notice a checkpoint is written, and training goes
            on as long as it may.

    Raises:
        Diverged: on all ranks, where a loss or its gradient was not finite.
        OSError: the last checkpoint could not be written.
    """
    loop = _Loop(task, config, data, worker)
    state = loop.state
    if checkpoints is not None:
        newest = checkpoints.latest() if worker.rank == 0 else None
        newest = int(from_rank_zero(torch.tensor(newest or 0, device=loop.device)))
        if newest:
            checkpoints.load(newest, state)
    tables = batches(state.step * config.accumulate)
    if state.step == 0:
        tables = loop.prepare(tables)
    loop.start()
    end = config.steps if until is None else min(until, config.steps)
    warned = False
    while state.step < end and not state.stopped:
        loop.step(tables)
        done, last = state.step, state.step == end
        validates = _is_due(config.validate_every, done) or (last and bool(config.validate_every))
        logs = _is_due(config.log_every, done) or done == 1 or last or validates
        saves = _is_due(config.checkpoint_every, done) or last
        if logs or saves:
            loop.check(checkpoints)
        if logs:
            row = loop.row()
            row |= loop.validate() if validates else {}
            state.log.append(row)
            if worker.rank == 0:
                on_row(row)
            if not warned and notice():
                saves = warned = True
        if checkpoints is not None and worker.rank == 0 and (saves or state.stopped):
            with loop.pace.paused():
                checkpoints.save(state, last=last or state.stopped)
    return state


def train_alone(
    task: Task,
    config: LoopConfig,
    takes: Folder,
    on_row: Callable[[Row], None] = lambda row: None,
    checkpoints: Folder | None = None,
    device: str = "cpu",
) -> nn.Module:
    """Train in this process, without Ray; the same batches as on a cluster.

    Returns:
        The model that the config keeps.
    """
    return kept(config, _train_alone(task, config, takes, on_row, checkpoints, device, None))


def train_here(
    task: Task,
    config: LoopConfig,
    takes: Folder,
    target: Folder,
    on_row: Callable[[Row], None],
    device: str = "cpu",
    until: int | None = None,
) -> list[Row] | None:
    """As `train_alone`; leaves in `target` what a run on Ray leaves there.

    Args:
        until: pause after this step; the next call goes on.

    Returns:
        The log; None where training has not ended yet, and there is no model.
    """
    checkpoints = target.child(CHECKPOINTS)
    state = _train_alone(task, config, takes, on_row, checkpoints, device, until)
    if state.step < config.steps and not state.stopped:
        return None
    write_result(config, state, target)
    return state.log


def write_result(config: LoopConfig, state: TrainingState, target: Folder) -> None:
    """The model that the config keeps, and the log.

    Raises:
        UserError: as `kept`.
    """
    target.write_bytes(model_bytes(kept(config, state)), MODEL)
    target.write_bytes(log_lines(state.log), LOG)


def _train_alone(
    task: Task,
    config: LoopConfig,
    takes: Folder,
    on_row: Callable[[Row], None],
    checkpoints: Folder | None,
    device: str,
    until: int | None,
) -> TrainingState:
    data = training_data(task, config, takes)
    lanes = data.stream.plan.lanes_of(0, 1)
    passes = config.steps * config.accumulate

    def batches(first: int) -> Iterator[pa.Table]:
        return data.stream.local_batches(lanes, first, passes - first)

    def run(store: Checkpoints | None) -> TrainingState:
        worker = Worker(device=device)
        return train(task, config, data, batches, worker, on_row, store, until)

    if checkpoints is None:
        return run(None)
    with checkpoints_of(config, checkpoints) as store:
        return run(store)


def checkpoints_of(config: LoopConfig, folder: Folder, **options: Any) -> Checkpoints:
    """Checkpoints that stay as long as the config says."""
    every = config.keep_every and config.keep_every * config.checkpoint_every
    return Checkpoints(folder, config.keep_checkpoints, every, **options)


def kept(config: LoopConfig, state: TrainingState) -> nn.Module:
    """The model of a training that has ended: the last one or the best, averaged or not.

    Raises:
        UserError: the best was asked for, and no validation had a finite loss.
    """
    if config.keep == "best":
        if state.best is None:
            raise UserError(
                "loop.keep=best, but the validation loss was never finite; lower "
                "loop.learning_rate, or look at the takes of the split 'val'"
            )
        state.candidate.load_state_dict(state.best)
    return state.candidate


def log_lines(log: list[Row]) -> bytes:
    """A log as the lines of `log.jsonl`."""
    return "".join(json.dumps(row) + "\n" for row in log).encode()


class _LossModule(nn.Module):
    """The task's loss as a module's forward, which is what DDP needs to see."""

    def __init__(self, task: Task, model: nn.Module) -> None:
        super().__init__()
        self.task = task
        self.model = model

    def forward(self, batch: Batch, step: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        return self.task.loss(self.model, batch, step)


class _Loop:
    """What one rank holds while it trains, and the parts of a step."""

    def __init__(self, task: Task, config: LoopConfig, data: TrainingData, worker: Worker) -> None:
        self.task, self.config, self.data, self.worker = task, config, data, worker
        self.device = torch.device(worker.device)
        _seed(config.seed, -1, 0)
        model = task.build().to(self.device)
        self.trainable = [p for p in model.parameters() if p.requires_grad]
        average = None
        if config.ema_decay is not None:
            average_of = get_ema_multi_avg_fn(config.ema_decay)
            average = AveragedModel(model, multi_avg_fn=average_of)
        self.state = TrainingState(model, make_optimizers(model, config), average)
        self.module: nn.Module = _LossModule(task, model)
        self.validation: Validation | None = None
        if worker.rank == 0 and data.validation is not None:
            self.validation = Validation(task, data.validation, config)
        # The first step that went wrong, kept on the device: asking it is waiting for it.
        self.bad_step = torch.tensor(config.steps, device=self.device)
        self.pace = Pace()

    def prepare(self, tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
        """Let the task start its model from the first tables; returns all of them again."""
        seen: list[pa.Table] = []

        def first_batches() -> Iterator[Batch]:
            for table in tables:
                seen.append(table)
                yield self._to_device(self.task.collate(table))

        self.task.start(self.state.model, first_batches())
        return itertools.chain(seen, tables)

    def start(self) -> None:
        """Make ready for the first step, the state being what it will start from."""
        if self.config.compile:
            for part in self.task.compiled(self.state.model):
                part.compile()
        if self.worker.world > 1:
            # Buffers are codebooks: they are synchronised where they are updated.
            self.module = nn.parallel.DistributedDataParallel(self.module, broadcast_buffers=False)
        self.module.train()
        self.pace.start()

    def step(self, tables: Iterator[pa.Table]) -> None:
        """One step of the optimiser."""
        state, micro_batches = self.state, self.config.accumulate
        began = time.monotonic()
        for optimizer in state.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.config.learning_rate_at(state.step)
            optimizer.zero_grad(set_to_none=True)
        self.losses: dict[str, torch.Tensor] = {}
        for number in range(micro_batches):
            asked = time.monotonic()
            batch = self._to_device(self.task.collate(next(tables)))
            self.pace.waited += time.monotonic() - asked
            passed = state.step * micro_batches + number
            _seed(self.config.seed, passed, self.worker.rank)
            with self._gradients_are_exchanged(number == micro_batches - 1):
                with self._autocast():
                    loss, parts = self.module(batch, passed)
                (loss / micro_batches).backward()
            for name, value in {"loss": loss, **parts}.items():
                share = value.detach() / micro_batches
                self.losses[name] = self.losses[name] + share if number else share
        grad_norm = nn.utils.clip_grad_norm_(self.trainable, self.config.max_grad_norm)
        self.losses["grad_norm"] = grad_norm
        for optimizer in state.optimizers:
            optimizer.step()
        if state.average is not None:
            state.average.update_parameters(state.model)
        bad = ~((self.losses["loss"] + grad_norm).isfinite())
        self.bad_step = torch.where(bad, self.bad_step.clamp(max=state.step), self.bad_step)
        state.step += 1
        self.pace.stepped(time.monotonic() - began)

    def check(self, checkpoints: Checkpoints | None) -> None:
        """Stop all ranks if a step since the last check went wrong on one.

        Raises:
            Diverged: names the step, its samples and the last checkpoint.
        """
        bad_step = int(least_of_ranks(self.bad_step))
        if bad_step == self.config.steps:
            return
        passes = self.config.accumulate
        stream = self.data.stream
        samples = stream.plan.samples(bad_step * passes, passes)
        named = [(stream.catalog[take].take_id, number) for take, number in samples]
        last = None
        if checkpoints is not None:
            checkpoints.wait()
            step = checkpoints.latest()
            last = f"of step {step} in {checkpoints.folder.uri}" if step else None
        raise Diverged(bad_step + 1, named, last)

    def row(self) -> Row:
        """A row of the log: losses of the last step over all ranks, and how fast it goes."""
        state, config = self.state, self.config
        values: Row = mean_over_ranks(self.losses)
        values |= {"step": state.step, "lr": config.learning_rate_at(state.step - 1)}
        values |= self.pace.figures(config.batch_size) | {"memory_mb": memory_mb(self.device)}
        return values

    def validate(self) -> Row:
        """`val.loss` and its parts on rank 0; decides for all ranks whether training goes on."""
        state, losses = self.state, {}
        with self.pace.paused():
            if self.validation is not None:
                _seed(self.config.seed, -2, 0)
                losses = self.validation.losses(state.candidate, self._to_device, self._autocast())
                self._judge(losses["loss"])
            stopped = torch.tensor(int(state.stopped), device=self.device)
            state.stopped = bool(from_rank_zero(stopped))
        return {f"val.{name}": value for name, value in losses.items()}

    def _judge(self, loss: float) -> None:
        state, config = self.state, self.config
        if math.isfinite(loss) and (state.best_loss is None or loss < state.best_loss):
            state.best_loss, state.stale = loss, 0
            if config.keep == "best":
                weights = state.candidate.state_dict()
                state.best = {name: value.to("cpu", copy=True) for name, value in weights.items()}
        else:
            state.stale += 1
        state.stopped = config.patience is not None and state.stale >= config.patience

    def _gradients_are_exchanged(self, exchanged: bool) -> AbstractContextManager:
        if isinstance(self.module, nn.parallel.DistributedDataParallel) and not exchanged:
            return self.module.no_sync()
        return nullcontext()

    def _autocast(self) -> AbstractContextManager:
        if self.config.bf16 and self.device.type == "cuda":
            return torch.autocast("cuda", torch.bfloat16)
        return nullcontext()

    def _to_device(self, batch: Batch) -> Batch:
        return {
            key: value.to(self.device, non_blocking=True)
            if isinstance(value, torch.Tensor)
            else value
            for key, value in batch.items()
        }


def _is_due(every: int | None, done: int) -> bool:
    return every is not None and done % every == 0


def _seed(seed: int, number: int, rank: int) -> None:
    """Every random draw is a function of (seed, pass, rank), so a resumed run repeats it."""
    text = f"{seed}/{number}/{rank}".encode()
    torch.manual_seed(int.from_bytes(hashlib.sha256(text).digest()[:7], "little"))
