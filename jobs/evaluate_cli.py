"""`gestray evaluate`: methods side by side on test data, task by task."""

from __future__ import annotations

from typing import Annotated

import typer

from gestray.store import Folder, default_store
from jobs.command import AsJson, Inputs, Name, Overrides, Store, group, print_json, run_by_hand
from jobs.display import remarks, results

app = group("Methods side by side on test data.")


@app.command("retrieval")
def evaluate_retrieval(
    overrides: Overrides = None,
    store: Store = None,
    name: Name = None,
    inputs: Inputs = None,
    as_json: AsJson = False,
) -> None:
    """Compare methods on the test phrases, in every task that their embeddings allow.

    Example: `gestray evaluate retrieval --input direct=URI --input sma@0=URI --input sma@1=URI`,
    where each URI is an artifact of kind embeddings and each role the name of its method, with
    its seed where there are several. Only some tasks: `tasks=[retrieval,semantic]`.
    """
    run_by_hand("evaluate.retrieval", name or "retrieval", store, inputs, overrides, as_json)


@app.command("spotting")
def evaluate_spotting(
    overrides: Overrides = None,
    store: Store = None,
    name: Name = None,
    inputs: Inputs = None,
    as_json: AsJson = False,
) -> None:
    """Find where in a clip the gesture of a word is (JEGAL's gesture word spotting).

    Needs words with times and embeddings of frames and words: `gestray encoder embed fine=true`.
    Example: `gestray evaluate spotting --input jegal=URI`.
    """
    values = {"tasks": ["spotting"], "title": "Gesture word spotting"}
    run_by_hand("evaluate.retrieval", name or "spotting", store, inputs, overrides, as_json, values)


@app.command("asd")
def evaluate_active_speaker(
    overrides: Overrides = None,
    store: Store = None,
    name: Name = None,
    inputs: Inputs = None,
    as_json: AsJson = False,
) -> None:
    """Tell who of 2, 4 or 6 people speaks, by their gestures (active speaker detection).

    Example: `gestray evaluate asd --input gestsync=URI --input jegal=URI`.
    """
    values = {"tasks": ["active_speaker"], "title": "Active speaker by gesture"}
    run_by_hand("evaluate.retrieval", name or "asd", store, inputs, overrides, as_json, values)


@app.command("publish")
def evaluate_publish(
    method: Annotated[str, typer.Argument(help="A method of the evaluation.")],
    out: Annotated[str, typer.Argument(help="Folder or s3:// URI to write.")],
    uri: Annotated[
        str | None, typer.Option("--evaluation", help="Evaluation; the newest otherwise.")
    ] = None,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Write an evaluated encoder to a folder, with a model card that has its measured table.

    Example: `gestray evaluate publish sma s3://models/sma`; then in Python
    `DualEncoder.from_pretrained("s3://models/sma")`.
    """
    from gestray.artifacts import newest, open_artifact
    from jobs.publish import publish

    found = (
        open_artifact(Folder(uri), "evaluation")
        if uri
        else newest(Folder(store or default_store()), "evaluation")
    )
    if not uri:
        remarks.print(f"[dim]evaluation: newest is {found.uri}[/dim]", soft_wrap=True)
    publish(found, method, out)
    if as_json:
        print_json({"method": method, "evaluation": found.uri, "folder": out})
    else:
        results.print(out, markup=False, soft_wrap=True)
