"""Training stages' common part: the loop on Ray with a progress bar."""

from __future__ import annotations

from typing import Any

from gestray.artifacts import Artifact
from gestray.store import Folder
from gestray.training.loop import LoopConfig, train_on_ray
from gestray.training.task import Task
from jobs.cluster import connect
from jobs.display import progress


def train_with_progress(
    what: str, task: Task, config: LoopConfig, takes: Artifact, target: Folder
) -> list[dict[str, Any]]:
    """Train on the cluster; returns the log. Checkpoints are gone from `target` at the end."""
    connect()
    workers = config.compute.workers
    with progress(
        f"train {what} ({workers} worker{'s' if workers > 1 else ''})", config.steps
    ) as track:

        def show(row: dict[str, Any]) -> None:
            note = f"loss {row['loss']:.4f}, {row['samples_per_s']:.0f} samples/s"
            track(row["step"], note)

        log = train_on_ray(task, config, takes.folder, target, show)
    target.child("training").delete()
    return log


def last_losses(log: list[dict[str, Any]]) -> dict[str, float]:
    """The last logged row as metrics of the stage."""
    names = {"samples_per_s": "samples_per_s", "wait_share": "data_wait_share", "step": "steps"}
    return {names.get(name, f"loss.{name}"): value for name, value in log[-1].items()}
