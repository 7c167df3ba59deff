"""`gestray ingest`: a command for each format that recordings come in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.command import AsJson, Name, Overrides, config_by_hand, group, print_json, run_by_hand
from jobs.display import progress, results

app = group("Recordings to takes.")

Out = Annotated[
    str | None,
    typer.Option("--out", "--store", help="Store to write to.", envvar="GESTRAY_STORE"),
]
Split = Annotated[
    str | None, typer.Option(help="time:0.8 splits every take in time; else the corpus's own.")
]
Strict = Annotated[bool, typer.Option("--strict", help="Fail if any take is damaged.")]
Check = Annotated[bool, typer.Option("--check", help="Read all and report; write nothing.")]
Skeleton = Annotated[
    str, typer.Option(help="Map of the joints: a name of `ingest skeletons`, or a YAML file.")
]


def _ingest(
    stage: str,
    name: str | None,
    out: str | None,
    overrides: list[str] | None,
    check: bool,
    as_json: bool,
    values: Mapping[str, Any],
) -> None:
    def skip(config: Any) -> frozenset[str]:
        return frozenset({"corpus"})  # the folder given is the source

    if check:
        _check(stage, overrides, as_json, values)
        return
    run_by_hand(stage, name or "takes", out, None, overrides, as_json, values, skip)


def _check(
    stage: str, overrides: list[str] | None, as_json: bool, values: Mapping[str, Any]
) -> None:
    """Print what a corpus holds and lacks; exits with 1 where a take is damaged."""
    from jobs.check import check_corpus
    from jobs.ingest import source_of

    source = source_of(config_by_hand(stage, overrides, values))
    listing = source.list_takes()
    with progress("check", len(listing.entries)) as track:
        check = check_corpus(source, listing, track)
    if as_json:
        print_json(check.as_json())
    else:
        for table in check.tables():
            results.print(table)
    if not check.is_whole:
        raise typer.Exit(1)


@app.command("beat2")
def ingest_beat2(
    source: Annotated[str, typer.Argument(help="Folder in BEAT2's layout.")],
    overrides: Overrides = None,
    store: Out = None,
    split: Split = None,
    strict: Strict = False,
    check: Check = False,
    name: Name = None,
    as_json: AsJson = False,
) -> None:
    """BEAT2 recordings to takes; damaged ones are quarantined with a reason.

    Examples: `gestray ingest beat2 beat_english_v2.0.0 --out s3://bucket/store`;
    `gestray ingest beat2 s3://corpora/beat2 --check`, which says what the folder holds and
    lacks, and exits with 1 if an ingest would quarantine a take. Parts and takes that are
    absent are no damage: partial downloads are welcome.
    """
    values = {"source": source, "split": split, "strict": strict}
    _ingest("ingest.beat2", name, store, overrides, check, as_json, values)


@app.command("bvh")
def ingest_bvh(
    source: Annotated[str, typer.Argument(help="Folder that the manifest's paths start from.")],
    manifest: Annotated[
        str, typer.Option(help="CSV with the columns take_id, path, text, and others.")
    ],
    skeleton: Skeleton,
    overrides: Overrides = None,
    store: Out = None,
    split: Split = None,
    strict: Strict = False,
    check: Check = False,
    name: Name = None,
    as_json: AsJson = False,
) -> None:
    """BVH recordings named by a manifest to takes, at 30 frames a second on SMPL-X joints.

    Example: `gestray ingest bvh recordings --manifest takes.csv --skeleton mixamo`. Columns
    beside take_id, path, text: speaker, start_s, end_s, audio, textgrid, split, semantics,
    form_text, intent_text; any other is kept. Look at a file first: `gestray ingest inspect`; at
    the whole, with `--check`.
    """
    values = {
        "source": source,
        "manifest": manifest,
        "skeleton": skeleton,
        "split": split,
        "strict": strict,
    }
    _ingest("ingest.bvh", name, store, overrides, check, as_json, values)


@app.command("smplx")
def ingest_smplx(
    source: Annotated[str, typer.Argument(help="Folder of npz files at any depth.")],
    overrides: Overrides = None,
    store: Out = None,
    split: Split = None,
    strict: Strict = False,
    check: Check = False,
    name: Name = None,
    as_json: AsJson = False,
) -> None:
    """SMPL-X motion as of AMASS or SHOW to takes; speech beside it under the same name.

    Examples: `gestray ingest smplx AMASS/BMLrub`; `gestray ingest smplx show fps=30 up=y`, which
    state what the files do not.
    """
    values = {"source": source, "split": split, "strict": strict}
    _ingest("ingest.smplx", name, store, overrides, check, as_json, values)


@app.command("skeletons")
def ingest_skeletons(as_json: AsJson = False) -> None:
    """List the skeleton maps that come with gestray.

    Their YAML files are examples for a map of your own; see docs/ingest.md.
    """
    from rich.table import Table

    from gestray.motion.skeleton_map import shipped_maps

    maps = shipped_maps()
    if as_json:
        print_json({name: skeleton.model_dump(mode="json") for name, skeleton in maps.items()})
        return
    table = Table(box=None, pad_edge=False)
    for column in ("name", "skeleton", "joints", "up", "units"):
        table.add_column(column, justify="right" if column == "joints" else "left")
    for name, skeleton in maps.items():
        count = str(len(skeleton.joints))
        table.add_row(name, skeleton.description, count, skeleton.up, str(skeleton.units))
    results.print(table)


@app.command("inspect")
def ingest_inspect(
    file: Annotated[Path, typer.Argument(help="A BVH file.")],
    skeleton: Skeleton,
    as_json: AsJson = False,
) -> None:
    """Say how a skeleton map reads a BVH file: joints mapped and not, up axis, units.

    Example: `gestray ingest inspect take.bvh --skeleton cmu`.
    """
    from rich.markup import escape
    from rich.table import Table

    from gestray.corpora.bvh import inspect_file

    found = inspect_file(file, skeleton)
    if as_json:
        print_json(found)
        return
    table = Table(title=escape(str(file)), title_justify="left", show_header=False)
    table.add_column(style="dim")
    table.add_column()
    for name, value in found.items():
        text = ", ".join(value) if isinstance(value, list) else str(value)
        if isinstance(value, dict):
            text = "\n".join(f"{target} ← {source}" for target, source in value.items())
        table.add_row(name, escape(text))
    results.print(table)
