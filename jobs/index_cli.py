"""`gestray index`: recorded gestures, searchable."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.command import (
    AsJson,
    Inputs,
    Name,
    Overrides,
    Store,
    chosen,
    group,
    print_json,
    run_by_hand,
    stage_command,
)
from jobs.display import remarks, results

app = group("Search recorded gestures.")

_Several = list[str] | None


@stage_command(app, "build", "index.build", "gestures")
def index_build() -> None:
    """Build an index of gestures from embeddings.

    Examples: `gestray index build`; `gestray index build kind=hnsw`.
    """


@app.command("update")
def index_update(
    overrides: Overrides = None,
    store: Store = None,
    name: Name = None,
    inputs: Inputs = None,
    add: Annotated[bool, typer.Option("--add", help="Add the newest embeddings, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take gestures out of an index and add others; makes a new index beside the old one.

    Examples: `gestray index update 'delete_takes=[1_wayne_0_1_1]'`; `gestray index update
    --input embeddings=URI --input anchors=URI`.
    """

    def skip(config: object) -> frozenset[str]:
        return frozenset() if add else frozenset({"embeddings", "anchors"})

    run_by_hand("index.update", name or "gestures", store, inputs, overrides, as_json, skip=skip)


@app.command("search")
def index_search(
    text: Annotated[str, typer.Argument(help="Words to find gestures for.")],
    k: Annotated[int, typer.Option("-k", min=1, help="Number of hits.")] = 10,
    speaker: Annotated[_Several, typer.Option(help="Only of this one; may be repeated.")] = None,
    intent: Annotated[_Several, typer.Option(help="Only with this intent; repeatable.")] = None,
    hands: Annotated[_Several, typer.Option(help="Only left, right, both or none.")] = None,
    split: Annotated[_Several, typer.Option(help="Only of this split: train, val, test.")] = None,
    min_seconds: Annotated[float | None, typer.Option(help="Only as long or longer.")] = None,
    max_seconds: Annotated[float | None, typer.Option(help="Only as long or shorter.")] = None,
    by_words: Annotated[
        bool, typer.Option("--words", help="Search transcripts and anchors for the words, too.")
    ] = False,
    uri: Annotated[str | None, typer.Option("--index", help="Index; the newest otherwise.")] = None,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Rank recorded phrases by how well their gesture says TEXT, and say why each was found.

    In the table, `because of` are the words without which the similarity would be lowest, and
    an asterisk marks those that were said there or stand in the anchor.

    Examples: `gestray index search "I was so tired" -k 5`; `gestray index search "a huge box"
    --speaker ada --intent large --min-seconds 1.5 --words`.
    """
    from rich.markup import escape
    from rich.table import Table

    from gestray.retrieval.filters import Filter
    from jobs.index import search

    found = chosen("index", uri, store)
    only = Filter(
        tuple(speaker or ()), tuple(intent or ()), tuple(hands or ()), tuple(split or ()),
        min_seconds=min_seconds, max_seconds=max_seconds,
    )  # fmt: skip
    answers = search(found, text, k, only, by_words)
    if as_json:
        hits = [answer.as_json() for answer in answers]
        print_json({"index": found.uri, "query": text, "hits": hits})
        return
    table = Table(
        title=escape(f"gestures for “{text}”"), title_justify="left", box=None, pad_edge=False
    )
    for column in ("", "score", "take", "span", "words", "because of", "anchor"):
        table.add_column(column, justify="right" if column in ("", "score", "span") else "left")
    for answer in answers:
        hit, why = answer.hit, answer.why
        carrying = [word + "*" * (word.casefold() in why.shared) for word in why.carrying()]
        row = (
            str(hit.rank),
            f"{hit.score:.3f}",
            hit.take_id,
            f"{hit.start_s:.2f}–{hit.end_s:.2f} s",
            hit.text,
            ", ".join(carrying),
            hit.intent_text or hit.form_text or "",
        )
        table.add_row(*map(escape, row))
    if not answers:
        remarks.print("nothing in the index meets these conditions")
        return
    results.print(table)
