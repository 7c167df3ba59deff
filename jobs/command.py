"""What the commands of `gestray` share: their common options, and running a stage by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import typer

from gestray.artifacts import Artifact, StageReport, newest, open_artifact
from gestray.config import Config, parse_overrides, with_overrides
from gestray.errors import UserError
from gestray.store import Folder, default_store
from jobs import shipped
from jobs.display import metrics_table, remarks, results

Store = Annotated[
    str | None,
    typer.Option(help="Folder or s3:// URI of the artifacts.", envvar="GESTRAY_STORE"),
]
Name = Annotated[str | None, typer.Option(help="Name of the artifact to make.")]
Inputs = Annotated[
    list[str] | None,
    typer.Option("--input", help="ROLE=URI of an input; the newest of its kind otherwise."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY.PATH=VALUE]...", help="Config values.")
]
PipelineName = Annotated[
    str,
    typer.Argument(
        metavar="PIPELINE",
        help=f"A YAML file, or a shipped one: {', '.join(shipped.names(shipped.PIPELINES))}.",
    ),
]
Preset = Annotated[str, typer.Option(help="The method.")]
Size = Annotated[str, typer.Option(help="small (a laptop) or paper (GPUs).")]


def group(help_text: str) -> typer.Typer:
    """Commands under one name."""
    return typer.Typer(help=help_text, no_args_is_help=True, rich_markup_mode=None)


def print_json(values: Mapping[str, Any]) -> None:
    """The one object of `--json`."""
    results.file.write(json.dumps(values) + "\n")


def finish(report: StageReport, as_json: bool) -> None:
    """Print how a stage ended."""
    if as_json:
        print_json(report.as_json())
        return
    manifest = report.artifact.manifest
    if manifest.stage in EVALUATIONS:
        print_evaluation(report)
    elif manifest.metrics:
        results.print(metrics_table(manifest.stage, manifest.metrics))
    results.print(report.artifact.uri, markup=False, soft_wrap=True)


def print_evaluation(report: StageReport) -> None:
    """Print the table of an evaluation and where its page lies."""
    EVALUATIONS[report.artifact.manifest.stage](report.artifact)
    if report.artifact.folder.exists("report.html"):
        page = report.artifact.folder.child("report.html").uri
        results.print(f"report: {page}", markup=False, soft_wrap=True)


def _print_retrieval(evaluation: Artifact) -> None:
    from gestray.reports.tables import meanings_table, retrieval_table
    from jobs.evaluate import read_methods

    found = read_methods(evaluation)
    for table in (retrieval_table(*found), meanings_table(*found)):
        if table.row_count:
            results.print(table)
    results.print(f"grounder: {evaluation.manifest.metrics['grounder']}", markup=False)


def _print_forms(evaluation: Artifact) -> None:
    from gestray.reports.tables import forms_table, intents_table
    from jobs.forms import scores_of
    from jobs.intents import intents_of

    synthetic = evaluation.manifest.metrics["synthetic"]
    if scores := scores_of(evaluation.folder):
        results.print(forms_table(scores, synthetic))
    if intents := intents_of(evaluation.folder):
        results.print(intents_table(intents, synthetic))


def _print_tokenizer(evaluation: Artifact) -> None:
    from gestray.reports.tables import tokenizer_table
    from jobs.codebook import mean_errors

    synthetic = evaluation.manifest.metrics["synthetic"]
    results.print(tokenizer_table(mean_errors(evaluation.folder), synthetic))


def _print_generation(evaluation: Artifact) -> None:
    from gestray.reports.generation import GenerationReport, generation_tables
    from jobs.generate_scores import scores_of

    report = GenerationReport(title="", **scores_of(evaluation.folder))
    for table in generation_tables(report, results.width):
        results.print(table)


def _print_study(evaluation: Artifact) -> None:
    from gestray.reports.study import study_table

    results.print(study_table(json.loads(evaluation.folder.read_bytes("report.json"))))


#: Stages that end with a page and a table, and what prints the table.
EVALUATIONS: dict[str, Callable[[Artifact], None]] = {
    "anchors.evaluate": _print_forms,
    "evaluate.generation": _print_generation,
    "evaluate.retrieval": _print_retrieval,
    "study.report": _print_study,
    "tokenizer.report": _print_tokenizer,
}


def run_by_hand(
    stage_name: str,
    artifact_name: str,
    store: str | None,
    given: Sequence[str] | None,
    overrides: Sequence[str] | None,
    as_json: bool,
    values: Mapping[str, Any] | None = None,
    skip: Callable[[Any], frozenset[str]] = lambda config: frozenset(),
) -> None:
    """Run one stage by hand, with `config_by_hand`."""
    from jobs.stages import choose_inputs, run_named, stage_named

    config = config_by_hand(stage_name, overrides, values)
    target = Folder(store or default_store())
    inputs = choose_inputs(stage_named(stage_name), target, _roles(given or ()), skip(config))
    finish(run_named(stage_name, target, artifact_name, config, inputs), as_json)


def chosen(kind: str, uri: str | None, store: str | None) -> Artifact:
    """The artifact at `uri`, or the newest of its kind in the store, which is then said."""
    if uri:
        return open_artifact(Folder(uri), kind)
    found = newest(Folder(store or default_store()), kind)
    remarks.print(f"[dim]{kind}: newest is {found.uri}[/dim]", soft_wrap=True)
    return found


def stage_command(
    app: typer.Typer,
    command: str,
    stage_name: str,
    makes: str,
    values: Mapping[str, Any] | None = None,
    skip: Callable[[Any], frozenset[str]] = lambda config: frozenset(),
) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Add a command that runs one stage by hand, and has no options but those that all have.

    Decorates an empty function, whose docstring is the command's help.

    Args:
        command: its name in `app`.
        makes: what the artifact is called where `--name` says nothing else.
        values: of the config, where the command line has no others.
        skip: of a config, optional inputs that it has no use for.
    """

    def described(about: Callable[[], None]) -> Callable[[], None]:
        @app.command(command, help=about.__doc__)
        def run(
            overrides: Overrides = None,
            store: Store = None,
            name: Name = None,
            inputs: Inputs = None,
            as_json: AsJson = False,
        ) -> None:
            run_by_hand(stage_name, name or makes, store, inputs, overrides, as_json, values, skip)

        return about

    return described


def config_by_hand(
    stage_name: str, overrides: Sequence[str] | None, values: Mapping[str, Any] | None
) -> Config:
    """A stage's config: `values` come from options, `overrides` go on top."""
    from jobs.stages import stage_config

    tree = with_overrides(values or {}, parse_overrides(overrides or ()))
    return stage_config(stage_name, tree, stage_name)


def _roles(given: Sequence[str]) -> dict[str, str]:
    roles = {}
    for item in given:
        role, equals, uri = item.partition("=")
        if not equals:
            raise UserError(f"--input {item!r}: expected ROLE=URI, as in takes=s3://bucket/takes/…")
        roles[role] = uri
    return roles
