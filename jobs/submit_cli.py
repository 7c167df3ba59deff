"""`gestray submit`: run a pipeline or a sweep on a cluster, and watch it from here."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gestray.errors import UserError
from jobs.command import AsJson, Overrides, Store, print_json
from jobs.display import metrics_table, remarks, results


def submit(
    what: Annotated[
        str | None, typer.Argument(help="A YAML file of a pipeline or a sweep, or beat2, demo.")
    ] = None,
    overrides: Overrides = None,
    address: Annotated[
        str | None,
        typer.Option(help="The head's job server.", envvar="RAY_API_SERVER_ADDRESS"),
    ] = None,
    store: Store = None,
    env: Annotated[
        list[str] | None, typer.Option("--env", help="NAME=VALUE for the job; may be repeated.")
    ] = None,
    pip: Annotated[
        list[str] | None, typer.Option("--pip", help="A package the nodes lack; may be repeated.")
    ] = None,
    code: Annotated[
        bool, typer.Option("--code", help="Send this machine's gestray along.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Follow the log, and end as the job does.")
    ] = True,
    cancel: Annotated[str | None, typer.Option(metavar="ID", help="Stop a job.")] = None,
    status: Annotated[str | None, typer.Option(metavar="ID", help="How a job is doing.")] = None,
    follow: Annotated[str | None, typer.Option(metavar="ID", help="The log of a job.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run a pipeline or a sweep on a running cluster, through Ray Jobs.

    The log goes to standard error; the exit code is the job's, 130 where it was cancelled. Ctrl-C
    stops looking, not the job. Examples: `gestray submit beat2 source=s3://corpora/beat2 --address
    http://head:8265`; `gestray submit sweep.yaml --no-wait`; `gestray submit --cancel ID`.
    """
    from jobs import submit as jobs

    given = [option for option in (what, cancel, status, follow) if option is not None]
    if len(given) != 1:
        raise UserError(
            "expected one of a pipeline or sweep, --cancel ID, --status ID, --follow ID"
        )
    if what is None:
        client = jobs.client_for(address)
        if follow is not None:
            _finish(jobs, client, follow, as_json)
            return
        job_id = cancel or status
        assert job_id is not None
        found = jobs.cancel(client, job_id) if cancel else jobs.status(client, job_id)
        if as_json:
            print_json(found)
        else:
            results.print(metrics_table("job", found))
        return
    environment = dict(_variable(text) for text in env or ())
    if store is not None:
        environment.setdefault("GESTRAY_STORE", store)
    job = jobs.job_of(what, overrides or (), environment=environment, packages=pip or (), code=code)
    client = jobs.client_for(address)
    job_id = jobs.submit(client, job)
    remarks.print(f"job {job_id}: {job.entrypoint}", markup=False, soft_wrap=True)
    if wait:
        _finish(jobs, client, job_id, as_json)
    elif as_json:
        print_json(jobs.status(client, job_id))
    else:
        results.print(job_id, markup=False)


def _finish(jobs: Any, client: Any, job_id: str, as_json: bool) -> None:
    """Follow a job and end as it does."""
    stream = remarks.file

    def write(text: str) -> None:
        stream.write(text)
        stream.flush()

    try:
        code = jobs.follow(client, job_id, write)
    except KeyboardInterrupt:
        remarks.print(f"the job goes on; gestray submit --follow {job_id}, or --cancel {job_id}")
        raise typer.Exit(jobs.CANCELLED) from None
    found = jobs.status(client, job_id)
    if as_json:
        print_json(found)
    else:
        results.print(f"{job_id} {found['status']} after {found['seconds']} s", markup=False)
        if code and found["message"]:
            remarks.print(found["message"], markup=False, style="red")
    if code:
        raise typer.Exit(code)


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise UserError(f"--env {text!r}: expected NAME=VALUE")
    return name, value
