"""Stages of a pipeline side by side, each in a process of its own.

Many trainings of a minute each keep a machine busier than one at a time on all its cores:
nothing is exchanged between them. Each process gets its share of the cores, and starts a
stage as soon as what it needs is there; artifacts appear as they always do, so a run that is
killed goes on where it was. If a stage fails, those that run end first, nothing new is
started, and its error is the pipeline's.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass

from gestray.artifacts import Artifact, StageReport, open_artifact
from gestray.config import Config
from gestray.store import Folder
from jobs.display import without_bars
from jobs.stages import run_named


@dataclass(frozen=True)
class Task:
    """A stage to run: `inputs` names other tasks, or URIs of artifacts."""

    stage: str
    name: str
    config: Config
    inputs: Mapping[str, str]


def run_tasks(
    tasks: Sequence[Task], store: Folder, processes: int, reports: dict[str, StageReport]
) -> None:
    """Run tasks, whose inputs are earlier ones or already in `reports`, and add their reports.

    Raises:
        UserError: of the first stage that failed.
    """
    if min(processes, len(tasks)) == 1:
        for task in tasks:
            reports[task.name] = _run(task, store, reports)
        return
    waiting = list(tasks)
    running: dict[Future[StageReport], Task] = {}
    threads = max(1, usable_cores() // processes)
    with ProcessPoolExecutor(
        processes, multiprocessing.get_context("spawn"), _begin, (threads,)
    ) as pool:
        try:
            while waiting or running:
                names = {task.name for task in tasks} - reports.keys()
                ready = [task for task in waiting if names.isdisjoint(task.inputs.values())]
                # No more than can run: the first of the file that are ready go first.
                for task in ready[: processes - len(running)]:
                    waiting.remove(task)
                    inputs = {role: _artifact(src, reports) for role, src in task.inputs.items()}
                    running[pool.submit(_run_in_child, task, store, inputs)] = task
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    reports[running.pop(future).name] = future.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    for task in tasks:  # in the order of the file, whatever ended first
        reports[task.name] = reports.pop(task.name)


def usable_cores() -> int:
    """Cores this process may run on, which may be fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _run(task: Task, store: Folder, reports: Mapping[str, StageReport]) -> StageReport:
    inputs = {role: _artifact(source, reports) for role, source in task.inputs.items()}
    return run_named(task.stage, store, task.name, task.config, inputs)


def _artifact(source: str, reports: Mapping[str, StageReport]) -> Artifact:
    return reports[source].artifact if source in reports else open_artifact(Folder(source))


def _begin(threads: int) -> None:
    """First thing in a process: its share of the cores, plain progress, an end with the parent.

    Numerical libraries read their number of threads when they are first imported, which no
    stage has done yet.
    """
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)
    without_bars()
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end_with_parent() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


def _run_in_child(task: Task, store: Folder, inputs: Mapping[str, Artifact]) -> StageReport:
    return run_named(task.stage, store, task.name, task.config, inputs)
