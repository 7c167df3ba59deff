"""`gestray study`: two methods before people who know neither."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated, Any

import typer

from gestray.artifacts import run_stage
from gestray.errors import UserError
from gestray.store import Folder
from jobs.command import AsJson, Name, Overrides, Store, chosen, finish, group, run_by_hand
from jobs.display import remarks, results

app = group("Which of two methods do people prefer? A blinded study.")

Study = Annotated[str | None, typer.Option("--study", help="The study; the newest otherwise.")]


@app.command("create")
def create(
    method: Annotated[
        list[str],
        typer.Option(help="NAME=URI of a folder of npz motion, takes, or an index; given twice."),
    ],
    overrides: Overrides = None,
    texts: Annotated[
        Path | None, typer.Option(help="For indexes: a file of words to answer, one a line.")
    ] = None,
    store: Store = None,
    name: Name = None,
    as_json: AsJson = False,
) -> None:
    """Make a study of what two methods did for the same words.

    Two folders hold motion of the same names (a.npz), with speech and words beside it (a.wav,
    a.TextGrid or a.txt); of two indexes each shows its best gesture for every text.

    Examples: `gestray study create --method ours=out/ours --method theirs=out/theirs pairs=24
    participants=60`; `gestray study create --method sma=URI --method direct=URI --texts
    sentences.txt pairs=0 ties=true`.
    """
    sources = [item.partition("=") for item in method]
    if len(sources) != 2 or not all(name and uri for name, _, uri in sources):
        raise UserError(f"--method {' '.join(method)}: expected two of NAME=URI")
    values: dict[str, Any] = {
        "names": [name for name, _, _ in sources],
        "sources": [uri for _, _, uri in sources],
    }
    if texts is not None:
        values["texts"] = _lines(texts)
    run_by_hand("study.create", name or "study", store, (), overrides, as_json, values)


@app.command("serve")
def serve(
    uri: Study = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8100,
    address: Annotated[
        str | None,
        typer.Option(help="What participants reach it by, such as https://study.example.org."),
    ] = None,
    links: Annotated[
        Path | None, typer.Option(help="File to write the participants' links to, as CSV.")
    ] = None,
    store: Store = None,
) -> None:
    """Serve a study's page until Ctrl-C; every answer is kept at once.

    Each participant gets a link, which nobody can guess and which goes on where it was left.
    TLS is the proxy's in front.

    Examples: `gestray study serve --links links.csv`; `gestray study serve --host 0.0.0.0
    --address https://study.example.org --links links.csv`.
    """
    from serving.study.app import serve as serve_study
    from serving.study.desk import Desk

    study = chosen("study", uri, store)
    desk = Desk(study)

    def ready(listening: str) -> None:
        base = f"{address.rstrip('/')}/" if address else listening
        found = [f"{base}#p={desk.token(n)}" for n in range(desk.plan.participants)]
        if links is not None:
            with links.open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow(["participant", "link"])
                writer.writerows(enumerate(found))
            remarks.print(f"{len(found)} links in {links}", markup=False, soft_wrap=True)
        results.print(f"first link: {found[0]}", markup=False, soft_wrap=True)
        remarks.print("Ctrl-C to stop; `gestray study report` at any time", style="dim")

    serve_study(desk, host, port, ready)


@app.command("report")
def report(
    overrides: Overrides = None,
    uri: Study = None,
    store: Store = None,
    name: Name = None,
    as_json: AsJson = False,
) -> None:
    """What the answers that there are come to: shares, exact intervals and tests, and a page.

    Examples: `gestray study report`; `gestray study report unfinished=true checks_failed=1`.
    """
    from gestray.config import make_config, parse_overrides
    from jobs.stages import check_name
    from jobs.study_report import ReportConfig, report_stage

    study = chosen("study", uri, store)
    config = make_config(ReportConfig, parse_overrides(overrides or ()), "study report")
    target = Folder(study.uri.rsplit("/", 2)[0])
    stage = report_stage(study)
    finish(run_stage(stage, target, check_name(name or "study"), config, {"study": study}), as_json)


def _lines(file: Path) -> list[str]:
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read: {error}") from None
    found = list(dict.fromkeys(line for line in lines if line))
    if not found:
        raise UserError(f"{file}: found no text, expected one a line")
    return found
