"""`gestray generator` and `gestray generate`: training generators, and moving for speech."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gestray.errors import UserError
from jobs import evaluate_cli
from jobs.command import (
    AsJson,
    Inputs,
    Name,
    Overrides,
    Preset,
    Size,
    Store,
    chosen,
    group,
    print_json,
    run_by_hand,
    stage_command,
)
from jobs.display import metrics_table, remarks, results

if TYPE_CHECKING:
    import numpy as np
    from rich.table import Table

    from gestray.generators.marks import Mark
    from gestray.generators.strategies.contract import StrategyName
    from jobs.generate import Recording, Retrieve

app = group("Speech to motion.")
metrics = group("What figures need to be trained beforehand.")


@metrics.callback()
def _metrics() -> None:
    """Keeps `train-fgd` a command of its own while it is the only one."""


@stage_command(metrics, "train-fgd", "metrics.train-fgd", "fgd")
def metrics_train_fgd() -> None:
    """Train the autoencoder that Fréchet gesture distances are measured with.

    Example: `gestray metrics train-fgd loop.steps=2000`. Figures compare with those of the same
    one only.
    """


def _unwanted(config: Any) -> frozenset[str]:
    """No index is looked for where no gestures are retrieved."""
    return frozenset() if config.strategies else frozenset({"index"})


@stage_command(evaluate_cli.app, "generation", "evaluate.generation", "generation", skip=_unwanted)
def evaluate_generation() -> None:
    """Score generated motion against the recordings of test takes.

    Examples: `gestray evaluate generation --input semges=URI --input semtalk=URI seeds=[0,1,2]`,
    where each URI is an artifact of kind generator and each role the name of its row; `gestray
    evaluate generation motions.emage=res_emage motions.semtalk=res_semtalk`, where each is a
    folder of npz in BEAT2's format, a file a take; `smplx_model=SMPLX_NEUTRAL_2020.npz` adds MSE
    and LVD; `strategies=[encoder,discourse,type]` adds rows with retrieved gestures, of an index
    of training takes. docs/generation-metrics.md says what each figure is.
    """


@app.command("train")
def generator_train(
    overrides: Overrides = None,
    preset: Preset = "semtalk",
    size: Size = "small",
    store: Store = None,
    name: Name = None,
    inputs: Inputs = None,
    as_json: AsJson = False,
) -> None:
    """Train a generator over a frozen tokenizer. Presets: semges, semtalk.

    Examples: `gestray generator train --preset semges --input tokenizer=URI`; an ablation is a
    config line: `gestray generator train model.method.gate=random`. Takes need audio. A trained
    gate of another semtalk goes in by `--input gate=URI`.
    """
    values = {"preset": preset, "size": size}
    run_by_hand(
        "generator.train", name or preset, store, inputs, overrides, as_json, values, _unasked
    )


def _unasked(config: Any) -> frozenset[str]:
    """Inputs that are not looked for: a gate never, features where they are cheap to make."""
    return frozenset({"gate"} | ({"features"} if config.model.speech.kind == "mel" else set()))


@stage_command(app, "features", "speech.features", "features")
def generator_features() -> None:
    """Compute features of speech once, for audio models; log-mel is made while training.

    Example: `gestray generator features speech.kind=transformers
    speech.model=facebook/hubert-base-ls960`.
    """


def generate(
    out: Annotated[Path, typer.Option(help="File to write: .npz .bvh .glb .vrma .fbx or .mp4.")],
    text: Annotated[str | None, typer.Option(help="What to say; espeak-ng speaks it.")] = None,
    audio: Annotated[Path | None, typer.Option(help="A recording to move for.")] = None,
    textgrid: Annotated[Path | None, typer.Option(help="Its words, a TextGrid or JSON.")] = None,
    transcript: Annotated[Path | None, typer.Option(help="A .txt of what is said in it.")] = None,
    speaker: Annotated[str | None, typer.Option(help="Whose manner; else nobody's.")] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same motion.")] = 0,
    temperature: Annotated[float, typer.Option(min=0, help="0 takes the likeliest.")] = 1.0,
    voice: Annotated[str, typer.Option(help="Of espeak-ng, for --text.")] = "en-us",
    uri: Annotated[str | None, typer.Option("--generator", help="The newest otherwise.")] = None,
    rag: Annotated[
        bool, typer.Option("--rag", help="Put retrieved gestures under words that deserve one.")
    ] = False,
    strategy: Annotated[
        str, typer.Option(help="How --rag chooses them: encoder, discourse or type.")
    ] = "encoder",
    index: Annotated[
        str | None, typer.Option(help="Of recorded gestures, to retrieve; the newest otherwise.")
    ] = None,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Move for a text or a recording.

    Examples: `gestray generate --text "I have no idea" --out idea.npz`; `gestray generate --audio
    talk.wav --textgrid talk.TextGrid --speaker scott --out talk.npz`; `gestray generate --audio
    talk.mp3 --transcript talk.txt --out talk.mp4`. Formats: docs/exports.md. A text may ask for
    gestures, retrieved from an index: `--text 'I have <mark name="gesture:shrug"/> no idea'`; and
    `--rag` chooses words and gestures itself, `--rag --strategy discourse` as RAG-Gesture does.
    """
    from dataclasses import asdict

    from gestray.generators.marks import read_marks
    from gestray.generators.strategies.contract import STRATEGIES
    from gestray.motion.export import check_export
    from jobs import generate as job

    if (text is None) == (audio is None):
        raise UserError("expected either --text or --audio")
    if audio is None and (textgrid or transcript):
        raise UserError("--textgrid and --transcript go with --audio")
    if textgrid and transcript:
        raise UserError("expected --textgrid or --transcript, not both")
    if strategy not in STRATEGIES:
        raise UserError(f"--strategy: found {strategy!r}, expected {', '.join(STRATEGIES)}")
    check_export(out)
    found = chosen("generator", uri, store)
    marks: list[Mark] = []
    if audio is None:
        plain, marks = read_marks(text or "")
        recording = job.spoken(plain, voice)
    else:
        recording = job.recorded(audio, textgrid, transcript)
    chooses = strategy if rag else None
    retrieve = _retrieving(index, store, speaker, marks, chooses) if rag or marks else None
    made = asdict(job.generate(found, recording, out, speaker, seed, temperature, retrieve))
    if as_json:
        print_json(made)
        return
    gestures = made.pop("gestures")
    results.print(metrics_table("generate", made))
    if gestures:
        results.print(_gestures_table(gestures))


def _retrieving(
    index: str | None,
    store: str | None,
    speaker: str | None,
    marks: list[Mark],
    strategy: StrategyName | None,
) -> Retrieve:
    """What puts gestures of an index under words."""
    from jobs.retrieved import Inserted, RecordedGestures

    gestures = RecordedGestures(chosen("index", index, store))
    chooses = gestures.strategy(strategy) if strategy else None

    def retrieve(poses: np.ndarray, recording: Recording) -> tuple[np.ndarray, list[Inserted]]:
        speech = recording.whole()
        made, wishes = gestures.put_into(poses, speech, speaker, marks, chooses)
        if not wishes:
            remarks.print(
                f"--strategy {strategy}: no word of this speech deserves a gesture by it; it is "
                "the generator's motion alone"
            )
        return made, [wish.told for wish in wishes]

    return retrieve


def _gestures_table(gestures: list[dict[str, Any]]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="gestures", title_justify="left", box=None, pad_edge=False)
    for column in ("word", "at", "clip", "score", "strategy", "why", "outcome", "recognised"):
        table.add_column(column, justify="right" if column in ("at", "score") else "left")
    for one in gestures:
        row = (one["word"], f"{one['start_s']:.2f} s", one["clip"] or "", f"{one['score']:.3f}")
        sees = {True: "yes", False: "no", None: ""}[one["recognised"]]
        table.add_row(*map(escape, (*row, one["strategy"], one["why"], one["outcome"], sees)))
    return table
