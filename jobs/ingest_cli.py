"""`gestray ingest`: a command for each format that recordings come in."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.command import AsJson, Name, Overrides, group, run_by_hand

app = group("Recordings to takes.")


@app.command("beat2")
def ingest_beat2(
    source: Annotated[str, typer.Argument(help="Folder in BEAT2's layout.")],
    overrides: Overrides = None,
    store: Annotated[
        str | None,
        typer.Option("--out", "--store", help="Store to write to.", envvar="GESTRAY_STORE"),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="time:0.8 splits every take in time; else the corpus's own.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Fail if any take is damaged.")] = False,
    name: Name = None,
    as_json: AsJson = False,
) -> None:
    """BEAT2 recordings to takes; damaged ones are quarantined with a reason."""
    run_by_hand(
        "ingest.beat2",
        name or "takes",
        store,
        None,
        overrides,
        as_json,
        {"source": source, "split": split, "strict": strict},
        skip=lambda config: frozenset({"corpus"}),
    )
