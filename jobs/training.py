"""Training stages' common part: the loop on Ray with a progress bar."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gestray.artifacts import Artifact
from gestray.errors import UserError
from gestray.store import Folder
from gestray.training.config import LoopConfig
from gestray.training.task import Task
from jobs.cluster import connect, runs_here
from jobs.display import progress

if TYPE_CHECKING:
    from gestray.training.loop import Row


def train_with_progress(
    what: str, task: Task, config: LoopConfig, takes: Artifact, target: Folder
) -> list[Row]:
    """Train on the cluster, or one worker without a cluster in this process; returns the log.

    Of the checkpoints in `target`, at the end those remain that `keep_every` asks for.
    """
    from gestray.training.checkpoints import CHECKPOINTS
    from gestray.training.loop import checkpoints_of

    workers = config.compute.workers
    validated: list[float] = []
    with progress(
        f"train {what} ({workers} worker{'s' if workers > 1 else ''})", config.steps
    ) as track:

        def show(row: Row) -> None:
            if "val.loss" in row:
                validated.append(row["val.loss"])
            track(row["step"], _note(row, validated))

        train = _train_here if runs_here(workers) else _train_on_ray
        log = train(task, config, takes.folder, target, show)
    checkpoints_of(config, target.child(CHECKPOINTS)).clean()
    return log


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
    """Leaves in `target` what a run on Ray leaves there."""
    import torch

    from gestray.training.checkpoint import MODEL, STATE, model_bytes
    from gestray.training.checkpoints import CHECKPOINTS
    from gestray.training.loop import LOG, log_lines, train_alone

    on_gpu = config.compute.device != "cpu" and torch.cuda.is_available()
    if config.compute.device == "gpu" and not on_gpu:
        raise UserError("compute.device=gpu, but torch finds none; set compute.device=cpu")
    checkpoints = target.child(CHECKPOINTS)
    model = train_alone(task, config, takes, show, checkpoints, "cuda" if on_gpu else "cpu")
    # Rows from before an interruption are in the last checkpoint as well.
    log = json.loads(checkpoints.read_bytes(max(checkpoints.list()), STATE))["log"]
    target.write_bytes(model_bytes(model), MODEL)
    target.write_bytes(log_lines(log), LOG)
    return log


def _note(row: Row, validated: list[float]) -> str:
    parts = [f"loss {row['loss']:.4f}"]
    if validated:
        parts.append(f"val {validated[-1]:.4f} (best {min(validated):.4f})")
    parts.append(f"{row['samples_per_s']:,.0f} samples/s, {row['wait_share']:.0%} waiting for data")
    parts.append(f"step {row['step_ms_p50']:.0f} ms, p95 {row['step_ms_p95']:.0f}")
    parts.append(f"{row['memory_mb'] / 1024:.1f} GB")
    return ", ".join(parts)


def last_losses(log: list[Row]) -> dict[str, Any]:
    """Metrics of the stage: losses of the last row, the best validation, a usual row's speed."""
    from gestray.training.loop import FIGURES

    found: dict[str, Any] = {
        name if name.startswith("val.") else f"loss.{name}": value
        for name, value in log[-1].items()
        if name not in FIGURES
    }
    if validated := [row["val.loss"] for row in log if "val.loss" in row]:
        found["val.best_loss"] = min(validated)
    return found | {
        "steps": log[-1]["step"],
        "samples_per_s": statistics.median(row["samples_per_s"] for row in log),
        "data_wait_share": statistics.median(row["wait_share"] for row in log),
    }
