"""Training stages' common part: the loop on Ray with a progress bar."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from gestray.artifacts import Artifact
from gestray.errors import UserError
from gestray.store import Folder
from gestray.training.config import LoopConfig
from gestray.training.task import Task
from gestray.training.tracking import check_trackers, tracked
from gestray.work import Work, note
from jobs.cluster import at_once, connect, runs_here
from jobs.display import progress

if TYPE_CHECKING:
    from gestray.training.loop import Row


#: Where and how a stage's model is trained: as `train_with_progress`, checkpoints kept.
Trainer = Callable[[str, "Task", LoopConfig, Artifact, Folder], list["Row"]]

_trainer: ContextVar[Trainer | None] = ContextVar("trainer", default=None)


@contextmanager
def trained_by(trainer: Trainer) -> Iterator[None]:
    """Stages that run in the block train so, and not as they would; a sweep's trials do."""
    token = _trainer.set(trainer)
    try:
        yield
    finally:
        _trainer.reset(token)


def train_with_progress(
    what: str,
    task: Task,
    config: LoopConfig,
    takes: Artifact,
    target: Folder,
    finish: Callable[[], None] = lambda: None,
) -> list[Row]:
    """Train on the cluster, or one worker without a cluster in this process; returns the log.

    Of the checkpoints in `target`, at the end those remain that `keep_every` asks for. Before
    that, `finish` does what is to be done with the model: training goes on from its last
    checkpoint where that is cut off.
    """
    from gestray.training.checkpoints import CHECKPOINTS
    from gestray.training.loop import checkpoints_of

    log = (_trainer.get() or _train)(what, task, config, takes, target)
    finish()
    checkpoints_of(config, target.child(CHECKPOINTS)).clean()
    return log


def _train(what: str, task: Task, config: LoopConfig, takes: Artifact, target: Folder) -> list[Row]:
    check_trackers(config.track)
    workers = config.compute.workers
    validated: list[float] = []
    told: list[Row] = []
    with (
        progress(
            f"train {what} ({workers} worker{'s' if workers > 1 else ''})", config.steps
        ) as track,
        tracked(config.track, target.name, target.uri, config) as tell,
    ):

        def show(row: Row) -> None:
            if "val.loss" in row:
                validated.append(row["val.loss"])
            track(row["step"], _remark(row, validated))
            tell(row)
            told.append(row)

        train = _train_here if runs_here(workers) else _train_on_ray
        log = train(task, config, takes.folder, target, show)
    _note(told, task, config, takes.folder)
    return log


def _note(rows: list[Row], task: Task, config: LoopConfig, takes: Folder) -> None:
    """Of the steps of this process after the first row, which is of the first step."""
    from gestray.views.catalog import read_catalog

    steps = rows[-1]["step"] - rows[0]["step"] if rows else 0
    if not steps:
        return
    view = task.view("train")
    whole = sum(view.count(ref) for ref in read_catalog(takes))
    workers, samples = at_once(config.compute.workers), steps * config.batch_size
    rate = statistics.median(row["samples_per_s"] for row in rows[1:])
    busy_s, first_s = workers * samples / rate, workers * _first_pass(rows, config, whole, rate)
    note(
        Work(
            unit="samples",
            units=samples,
            workers=workers,
            busy_s=busy_s,
            whole=whole,
            first_s=first_s,
        )
    )


def _first_pass(rows: list[Row], config: LoopConfig, whole: int, rate: float) -> float:
    """Seconds by which a first pass over `whole` samples is longer than one at `rate`.

    A row is of the steps since the one before it; of a pass that did not end, the rest is taken to
    be as its beginning. 0 where another process made the first steps.
    """
    if rows[0]["step"] > 1:
        return 0.0
    longer, done = 0.0, 0
    for row in rows:
        if done >= whole:
            break
        samples = row["step"] * config.batch_size - done
        longer += samples / row["samples_per_s"] - samples / rate
        done += samples
    return max(0.0, longer) * whole / min(done, whole)


def _train_on_ray(
    task: Task, config: LoopConfig, takes: Folder, target: Folder, show: Callable[[Row], None]
) -> list[Row]:
    connect()
    from gestray.training.on_ray import RUN, train_on_ray

    log = train_on_ray(task, config, takes, target, show)
    target.child(RUN).delete()
    return log


def _train_here(
    task: Task, config: LoopConfig, takes: Folder, target: Folder, show: Callable[[Row], None]
) -> list[Row]:
    import torch

    from gestray.training.loop import train_here

    on_gpu = config.compute.device != "cpu" and torch.cuda.is_available()
    if config.compute.device == "gpu" and not on_gpu:
        raise UserError("compute.device=gpu, but torch finds none; set compute.device=cpu")
    log = train_here(task, config, takes, target, show, "cuda" if on_gpu else "cpu")
    assert log is not None  # it was to go on to the end
    return log


def _remark(row: Row, validated: list[float]) -> str:
    parts = [f"loss {row['loss']:.4f}"]
    if validated:
        parts.append(f"val {validated[-1]:.4f} (best {min(validated):.4f})")
    if "codebook_use" in row:
        parts.append(f"codes used {row['codebook_use']:.0%}")
    parts.append(f"{row['samples_per_s']:,.0f} samples/s, {row['wait_share']:.0%} waiting for data")
    parts.append(f"step {row['step_ms_p50']:.0f} ms, p95 {row['step_ms_p95']:.0f}")
    parts.append(f"{row['memory_mb'] / 1024:.1f} GB")
    return ", ".join(parts)


def last_losses(log: list[Row]) -> dict[str, Any]:
    """Metrics of the stage: losses of the last row, the best validation, the speed of all steps.

    Speed leaves out the first row, of the step in which everything starts. A row in which training
    waits for data may be rare, so that a median would not know of it.
    """
    from gestray.training.loop import FIGURES

    found: dict[str, Any] = {
        name if name.startswith("val.") else f"loss.{name}": value
        for name, value in log[-1].items()
        if name not in FIGURES
    }
    if validated := [row["val.loss"] for row in log if "val.loss" in row]:
        found["val.best_loss"] = min(validated)
    befores = [0, *(row["step"] for row in log)]
    timed = list(zip(befores, log, strict=False))[1:] or [(0, log[0])]
    # Of each row, in units of a batch a (sample a second).
    took = [(row["step"] - before) / row["samples_per_s"] for before, row in timed]
    waited = [row["wait_share"] * each for (_, row), each in zip(timed, took, strict=True)]
    return found | {
        "steps": log[-1]["step"],
        "samples_per_s": (timed[-1][1]["step"] - timed[0][0]) / sum(took),
        "data_wait_share": sum(waited) / sum(took),
    }
