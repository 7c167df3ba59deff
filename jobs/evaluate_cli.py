"""`gestray evaluate`: methods side by side on test data, task by task."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.command import AsJson, Store, chosen, group, print_json, stage_command
from jobs.display import results

app = group("Methods side by side on test data.")

_SPOTTING = {"tasks": ["spotting"], "title": "Gesture word spotting"}
_ACTIVE_SPEAKER = {"tasks": ["active_speaker"], "title": "Active speaker by gesture"}


@stage_command(app, "retrieval", "evaluate.retrieval", "retrieval")
def evaluate_retrieval() -> None:
    """Compare methods on the test phrases, in every task that their embeddings allow.

    Example: `gestray evaluate retrieval --input direct=URI --input sma@0=URI --input sma@1=URI`,
    where each URI is an artifact of kind embeddings and each role the name of its method, with
    its seed where there are several. Only some tasks: `tasks=[retrieval,semantic]`.
    """


@stage_command(app, "spotting", "evaluate.retrieval", "spotting", _SPOTTING)
def evaluate_spotting() -> None:
    """Find where in a clip the gesture of a word is (JEGAL's gesture word spotting).

    Needs words with times and embeddings of frames and words: `gestray encoder embed fine=true`.
    Example: `gestray evaluate spotting --input jegal=URI`.
    """


@stage_command(app, "asd", "evaluate.retrieval", "asd", _ACTIVE_SPEAKER)
def evaluate_active_speaker() -> None:
    """Tell who of 2, 4 or 6 people speaks, by their gestures (active speaker detection).

    Example: `gestray evaluate asd --input gestsync=URI --input jegal=URI`.
    """


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
    from jobs.publish import publish

    found = chosen("evaluation", uri, store)
    publish(found, method, out)
    if as_json:
        print_json({"method": method, "evaluation": found.uri, "folder": out})
    else:
        results.print(out, markup=False, soft_wrap=True)
