"""A sweep's trials: the loop inside a process of their own, one trial after another.

A worker group for each trial would cost more than a short trial. Only trials with several
workers get one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from gestray.artifacts import Artifact, StageResult, StageRun
from gestray.errors import UserError
from gestray.store import Folder
from gestray.training.checkpoints import CHECKPOINTS, copy_checkpoint
from gestray.training.config import LoopConfig
from gestray.training.loop import Row, train_here
from gestray.training.task import Task
from gestray.training.tracking import tracked
from jobs.stages import stage_named
from jobs.sweeps.config import SweepConfig
from jobs.sweeps.records import State, trial_folder
from jobs.sweeps.study import Assignment
from jobs.training import trained_by


class _Halted(Exception):
    """The study has no more use for this trial."""


class _Paused(Exception):
    """The trial has come as far as it was to come now."""


class TrialProcess:
    """Runs trials; a Ray actor.

    Args:
        sweep: the sweep.
        folder: of its study.
        inputs: of the stage.
        study: the actor that is the `Study`.
        device: as torch names it.
        threads: of torch.
    """

    def __init__(
        self,
        sweep: SweepConfig,
        folder: Folder,
        inputs: Mapping[str, Artifact],
        study: Any,
        device: str,
        threads: int,
    ) -> None:
        import torch

        torch.set_num_threads(threads)
        self.sweep, self.folder, self.inputs = sweep, folder, inputs
        self.study, self.device = study, device

    def run(self, assignment: Assignment) -> None:
        """Train as assigned, and tell the study how it ended."""
        import ray

        began = time.monotonic()
        number = assignment.number

        def tell(row: Row) -> None:
            figures = _figures(row, list(self.sweep.metrics))
            if figures is None:
                return
            seconds = time.monotonic() - began
            why = ray.get(self.study.report.remote(number, row["step"], figures, seconds))
            if why is not None:
                raise _Halted(why)

        state: State = "complete"
        why: str | None = None
        result: StageResult | None = None
        try:
            result = self._train(assignment, tell)
        except _Paused:
            pass
        except _Halted as halted:
            state, why = "stopped", str(halted)
        except UserError as error:
            state, why = "failed", str(error)
        ended = self.study.end.remote(number, time.monotonic() - began, state, why, result)
        ray.get(ended)

    def _train(self, assignment: Assignment, on_row: Callable[[Row], None]) -> StageResult:
        """Run the stage with a loop that goes as far as assigned."""
        config = self.sweep.config_of(assignment.values, f"trial {assignment.number}")
        target = trial_folder(self.folder, assignment.number)
        if assignment.source is not None:
            source, step = assignment.source
            theirs = trial_folder(self.folder, source).child(CHECKPOINTS)
            copy_checkpoint(theirs, target.child(CHECKPOINTS), step)

        def train(
            what: str, task: Task, loop: LoopConfig, takes: Artifact, target: Folder
        ) -> list[Row]:
            if assignment.until is not None:
                # The end of a generation is a checkpoint that others may start from.
                loop = loop.model_copy(update={"checkpoint_every": self.sweep.pbt.every})
            name = f"{self.folder.name}-{target.name}"
            with tracked(loop.track, name, target.uri, config) as track:

                def told(row: Row) -> None:
                    track(row)
                    on_row(row)

                log = train_here(
                    task, loop, takes.folder, target, told, self.device, assignment.until
                )
            if log is None:
                raise _Paused
            return log

        with trained_by(train):
            return stage_named(self.sweep.stage).run(StageRun(target, config, self.inputs))


def _figures(row: Row, metrics: list[str]) -> dict[str, float] | None:
    """The sweep's metrics in a row; None: it is a row without validation.

    Raises:
        UserError: the loop logs no such figure.
    """
    of_validation = any(metric.startswith("val.") for metric in metrics)
    if of_validation and "val.loss" not in row:
        return None
    for metric in metrics:
        if metric not in row:
            known = ", ".join(sorted(set(row) - {"step"}))
            raise UserError(f"the loop logs no {metric!r}; its figures are: {known}")
    return {metric: float(row[metric]) for metric in metrics}
