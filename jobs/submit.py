"""Jobs for a running cluster: the same command line, run there, with its log and exit code here.

Ray Jobs runs `python -m jobs.cli …` on the head, as `ray job submit` and the manifests in
`cluster/kuberay` do, so a job does not need this machine to stay: gestray's own stages
resume, and so does a job that is submitted again.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gestray.config import read_yaml
from gestray.errors import UserError
from jobs.cluster import ENVIRONMENT

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

PORT = 8265

#: What a job that was cancelled ends with, as a process does that Ctrl-C has stopped.
CANCELLED = 130

# Seconds between attempts where the connection to the head breaks, and how often.
_PAUSE_S = 2.0
_ATTEMPTS = 15


@dataclass(frozen=True)
class Job:
    """What is submitted.

    Args:
        entrypoint: the command line.
        files: copied into the job's working folder.
        environment: of the job and of all its processes.
        packages: pip requirements the nodes lack.
        code: ship this machine's gestray as well, for nodes that have none or another.
    """

    entrypoint: str
    files: Sequence[Path] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    packages: Sequence[str] = ()
    code: bool = False


def job_of(what: str, overrides: Sequence[str], **options: Any) -> Job:
    """The job that runs a pipeline or a sweep; its config is checked here, before it is sent.

    Args:
        what: a shipped pipeline, or the YAML file of a pipeline or a sweep.

    Raises:
        UserError: whatever running it would say before its first stage starts.
    """
    from jobs import shipped
    from jobs.pipeline import check_pipeline, load_pipeline
    from jobs.sweeps.config import load_sweep

    file = Path(what)
    is_file = file.is_file()
    if what in shipped.names(shipped.SWEEPS) or (is_file and "space" in (read_yaml(file) or {})):
        load_sweep(what, overrides)
        command = "sweep"
    else:
        check_pipeline(load_pipeline(what, overrides))
        command = "run"
    arguments = [command, file.name if is_file else what, *overrides]
    entrypoint = shlex.join(["python", "-m", "jobs.cli", *arguments])
    return Job(entrypoint, [file] if is_file else [], **options)


def client_for(address: str | None) -> JobSubmissionClient:
    """The cluster's job server: `address`, or port 8265 of the host in `RAY_ADDRESS`.

    Raises:
        UserError: it is not there, or refuses the token.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if address is None:
        head = os.environ.get("RAY_ADDRESS")
        if not head:
            raise UserError(
                "no cluster is named; give --address http://HEAD:8265, or set "
                "RAY_API_SERVER_ADDRESS or RAY_ADDRESS"
            )
        address = head if "://" in head else f"http://{head.rsplit(':', 1)[0]}:{PORT}"
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient

    try:
        return JobSubmissionClient(address)
    except (ConnectionError, RuntimeError, AuthenticationError) as error:
        said = str(error).strip().splitlines()[0]
        raise UserError(
            f"{address}: no job server answers there as it should: {said}. Expected the head's "
            "dashboard, by default on port 8265, and the cluster's token in RAY_AUTH_TOKEN or "
            "RAY_AUTH_TOKEN_PATH"
        ) from None


def submit(client: JobSubmissionClient, job: Job) -> str:
    """Hand a job to the cluster; returns its id."""
    with _working_folder(job) as folder:
        runtime_env: dict[str, Any] = {"env_vars": dict(job.environment)}
        if folder is not None:
            runtime_env["working_dir"] = str(folder)
        if job.packages:
            runtime_env["pip"] = list(job.packages)
        return client.submit_job(
            entrypoint=job.entrypoint,
            runtime_env=runtime_env,
            metadata={"gestray": job.entrypoint},
        )


@contextmanager
def _working_folder(job: Job) -> Any:
    """A folder with what the job brings along; None where it brings nothing."""
    if not (job.files or job.code):
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="gestray-job-") as folder:
        for file in job.files:
            shutil.copy(file, folder)
        if job.code:
            root = Path(__file__).resolve().parents[1]
            ignore = shutil.ignore_patterns("__pycache__", "*.pyc")
            for package in ("gestray", "jobs"):
                shutil.copytree(root / package, Path(folder) / package, ignore=ignore)
        yield Path(folder)


def follow(client: JobSubmissionClient, job_id: str, write: Callable[[str], None]) -> int:
    """Hand on a job's log until it ends.

    A connection that breaks is made again, and the log goes on where it was.

    Returns:
        The exit code: of the job's command, or `CANCELLED`.

    Raises:
        UserError: there is no such job, or the head does not come back.
    """
    seen = 0
    failures = 0
    while True:
        try:
            seen += asyncio.run(_tail(client, job_id, seen, write))
            info = _known(client, job_id)
        except (RuntimeError, OSError) as error:
            failures += 1
            if failures > _ATTEMPTS:
                raise UserError(
                    f"job {job_id}: the connection to the head is lost, and the job may still "
                    f"run; look with --status {job_id}: {error}"
                ) from None
            time.sleep(_PAUSE_S)
            continue
        if info.status.is_terminal():
            return exit_code(info)
        time.sleep(0.5)


async def _tail(
    client: JobSubmissionClient, job_id: str, seen: int, write: Callable[[str], None]
) -> int:
    """Write what comes after the first `seen` characters; returns how many these were."""
    skip, written = seen, 0
    async for text in client.tail_job_logs(job_id):
        new = text[skip:]
        skip = max(0, skip - len(text))
        if new:
            write(new)
            written += len(new)
    return written


def exit_code(info: Any) -> int:
    """Of a job that has ended."""
    if info.status == "SUCCEEDED":
        return 0
    if info.status == "STOPPED":
        return CANCELLED
    return info.driver_exit_code or 1


def status(client: JobSubmissionClient, job_id: str) -> dict[str, Any]:
    """What is known of a job: ``status``, ``entrypoint``, ``seconds``, ``exit_code``, ``message``.

    Raises:
        UserError: there is no such job.
    """
    info = _known(client, job_id)
    ended = info.end_time or time.time() * 1000
    return {
        "job": job_id,
        "status": str(info.status),
        "entrypoint": info.entrypoint,
        "seconds": round((ended - info.start_time) / 1000, 1) if info.start_time else 0.0,
        "exit_code": exit_code(info) if info.status.is_terminal() else None,
        "message": info.message,
    }


def cancel(client: JobSubmissionClient, job_id: str, timeout_s: float = 60) -> dict[str, Any]:
    """Stop a job and wait until it has; one that has ended stays as it is."""
    _known(client, job_id)
    client.stop_job(job_id)
    deadline = time.monotonic() + timeout_s
    while not _known(client, job_id).status.is_terminal() and time.monotonic() < deadline:
        time.sleep(0.3)
    return status(client, job_id)


def _known(client: JobSubmissionClient, job_id: str) -> Any:
    try:
        return client.get_job_info(job_id)
    except RuntimeError as error:
        if "404" in str(error) or "does not exist" in str(error):
            raise UserError(f"job {job_id!r}: the cluster knows none of this id") from None
        raise
