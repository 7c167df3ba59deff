"""`gestray anchors review` and what follows of it."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from gestray.artifacts import provenance
from gestray.errors import UserError
from gestray.store import Folder, default_store
from jobs.command import AsJson, Name, Store, chosen, finish, group, print_json
from jobs.display import remarks, results

app = group("Anchors as people see them.")


@app.command("review")
def anchors_review(
    annotator: Annotated[
        str | None, typer.Option(help="Who decides; your login name otherwise.")
    ] = None,
    uri: Annotated[
        str | None, typer.Option("--anchors", help="Anchors to review; the newest otherwise.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 0,
    browse: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    close: Annotated[
        bool, typer.Option("--close", help="Serve no page: only make the artifact.")
    ] = False,
    store: Store = None,
    name: Name = None,
    as_json: AsJson = False,
) -> None:
    """Read anchors beside their motion, and accept, correct or reject them, by keyboard.

    Serves a page on this machine alone until Ctrl-C. Every decision is kept at once; at the end all
    that stand become an artifact, which `encoder train` and `anchors evaluate` take as `reviews`.
    Given again, it goes on. Examples: `gestray anchors review --open`; `gestray anchors review
    --annotator bo --port 8765` (then `ssh -L 8765:127.0.0.1:8765 HOST` from where the browser is);
    `gestray anchors review --close`.
    """
    from gestray.anchors.review import check_annotator
    from jobs.desk import open_desk
    from jobs.reviews import close_reviews
    from jobs.stages import check_name
    from serving.review.app import serve

    target = Folder(store or default_store())
    anchors = chosen("anchors", uri, store)
    made = check_name(name or "reviews")
    if not close:
        desk = open_desk(target, anchors, check_annotator(annotator or _login()))

        def ready(address: str) -> None:
            remarks.print(f"{len(desk)} anchors at {address}", markup=False, soft_wrap=True)
            remarks.print("Ctrl-C to finish; every decision is kept at once", style="dim")
            if browse:  # on a machine of several people, they can see a browser's arguments
                typer.launch(address)

        serve(desk, port, ready)
    report = close_reviews(target, anchors, made)
    if report is not None:
        finish(report, as_json)
    elif as_json:
        print_json({"stage": "anchors.review", "artifact": None})
    else:
        remarks.print("nothing is decided: no artifact")


@app.command("agreement")
def anchors_agreement(
    uri: Annotated[
        str | None, typer.Option("--reviews", help="Reviews; the newest otherwise.")
    ] = None,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """How far annotators agree: Cohen's kappa of each field, with a 95 % bootstrap interval.

    Over the phrases that both have decided about. Example: `gestray anchors agreement`.
    """
    from gestray.reports.tables import agreement_table
    from jobs.reviews import agreement_metrics, agreements

    reviews = chosen("reviews", uri, store)
    found = agreements(reviews)
    if as_json:
        print_json({"reviews": reviews.uri, "agreement": agreement_metrics(found)})
        return
    synthetic = any(made.manifest.metrics.get("synthetic") for made in provenance(reviews))
    for pair, scores in found.items():
        results.print(agreement_table(pair, scores, synthetic))


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        raise UserError("who decides is not known here: say --annotator NAME") from None
