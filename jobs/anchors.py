"""Anchor stages: verbalize the primitives of each phrase, and ground them in its words."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from gestray.anchors.anchor import anchor_schema, to_row
from gestray.anchors.engines import Engine, Sampling
from gestray.anchors.grounding import LanguageModelGrounder
from gestray.anchors.openai_engine import OpenAIConfig, OpenAIEngine
from gestray.anchors.prompting import PromptConfig, prompt_hash
from gestray.anchors.taxonomy import TAXONOMY, Taxonomy, load_taxonomy
from gestray.artifacts import Stage, StageResult, StageRun
from gestray.config import Config
from gestray.form import PhysicalForm
from gestray.store import Folder
from gestray.work import Work, note
from jobs.cluster import connect
from jobs.display import progress
from jobs.rows import map_rows, read_rows, write_rows
from jobs.tokenizer import CODES
from jobs.vllm_grounding import VllmConfig, VllmEngine

FORMS_SCHEMA = pa.schema(
    [
        ("phrase_id", pa.string()),
        ("take_id", pa.string()),
        ("split", pa.string()),
        ("start_s", pa.float64()),
        ("end_s", pa.float64()),
        ("text", pa.string()),
        ("form", pa.string()),
        ("form_text", pa.string()),
        # Of the gesture, in seconds of the take; null where there is none.
        ("stroke_start_s", pa.float64()),
        ("stroke_end_s", pa.float64()),
        ("hold_end_s", pa.float64()),
    ]
)
# Where they are in `gestray.form.GesturePhases`.
_PHASES = {"stroke_start_s": "stroke_s", "stroke_end_s": "hold_s", "hold_end_s": "retraction_s"}


class VerbalizeConfig(Config):
    """What `gestray anchors verbalize` does; `actors` are the processes that work."""

    EXECUTION: ClassVar[frozenset[str]] = frozenset({"actors"})

    actors: int = Field(2, ge=1)


class Verbalizer:
    """Tokens of phrases back to motion, to physical form, to its sentence; runs in an actor."""

    def __init__(self, tokenizer: Folder) -> None:
        from gestray.anchors.primitives import PrimitiveVerbalizer
        from gestray.tokenizers.model import MotionTokenizer

        model = MotionTokenizer.from_folder(tokenizer)
        self.parts = list(model.streams)
        self.verbalizer = PrimitiveVerbalizer(model)

    def __call__(self, rows: pa.Table) -> pa.Table:
        from gestray.anchors.verbalize import sentence

        columns = {part: rows[CODES + part].to_pylist() for part in self.parts}
        gestures = [{part: columns[part][i] for part in self.parts} for i in range(len(rows))]
        found = self.verbalizer.describe_many(gestures, rows["num_frames"].to_pylist())
        # Phases count from the start of their phrase, columns from that of the take.
        starts = rows["start_s"].to_pylist()
        times: list[dict[str, float | None]] = [
            dict.fromkeys(_PHASES)
            if phases is None
            else {column: start + getattr(phases, name) for column, name in _PHASES.items()}
            for start, (_, phases) in zip(starts, found, strict=True)
        ]
        made = {
            "form": [form.model_dump_json() for form, _ in found],
            "form_text": [sentence(form) for form, _ in found],
            **{column: [row[column] for row in times] for column in _PHASES},
        }
        kept = [name for name in FORMS_SCHEMA.names if name not in made]
        table = {**{name: rows[name] for name in kept}, **made}
        return pa.table({name: table[name] for name in FORMS_SCHEMA.names}, FORMS_SCHEMA)


def _verbalize(run: StageRun[VerbalizeConfig]) -> StageResult:
    rows = read_rows(run.inputs["primitives"].folder)
    setup = {"tokenizer": run.inputs["tokenizer"].folder}
    handedness: Counter[str] = Counter()

    def see(table: pa.Table) -> None:
        forms = map(PhysicalForm.model_validate_json, table["form"].to_pylist())
        handedness.update(form.handedness for form in forms)

    described = map_rows(rows, Verbalizer, setup, run.config.actors)
    written = write_rows(run.folder, described, FORMS_SCHEMA, "verbalize", len(rows), see)
    metrics = {f"handedness.{name}": count for name, count in sorted(handedness.items())}
    return StageResult(len(rows), written, 0, metrics)


VERBALIZE = Stage(
    name="anchors.verbalize",
    makes="forms",
    config_type=VerbalizeConfig,
    run=_verbalize,
    needs={"primitives": "primitives", "tokenizer": "tokenizer"},
)


class GroundConfig(Config):
    """What `gestray anchors ground` does.

    Args:
        grounder: "rules" needs no model; "vllm" runs one on Ray; "openai" asks a server.
        taxonomy: a YAML file of intents in the place of the shipped one.
        prompt: what a model is shown.
        sampling: how it generates.
        retries: attempts after the first at an answer that is not in the schema.
        vllm: the model and its engine; counts only where it is used.
        openai: the server and the model; counts only where it is used.
        actors: processes of the rules grounder.
    """

    EXECUTION: ClassVar[frozenset[str]] = frozenset({"actors"})

    grounder: Literal["rules", "vllm", "openai"] = "rules"
    taxonomy: str = ""
    prompt: PromptConfig = PromptConfig()
    sampling: Sampling = Sampling()
    retries: int = Field(1, ge=0, le=5)
    vllm: VllmConfig = VllmConfig()
    openai: OpenAIConfig = OpenAIConfig()
    actors: int = Field(2, ge=1)

    def identity(self) -> dict[str, Any]:
        tree, taxonomy = super().identity(), load_taxonomy(self.taxonomy)
        if self.grounder == "rules":
            return {"grounder": "rules", "taxonomy": taxonomy.hash}
        kept = ("grounder", "prompt", "sampling", "retries", self.grounder)
        told = {"taxonomy": taxonomy.hash, "prompt_hash": prompt_hash(self.prompt, taxonomy)}
        return {name: tree[name] for name in kept} | told


class RulesGrounder:
    """The rules over rows of forms; runs in an actor."""

    def __init__(self, taxonomy: Taxonomy) -> None:
        self.taxonomy = taxonomy

    def __call__(self, rows: pa.Table) -> pa.Table:
        from gestray.anchors.rules import ground_phrase

        anchors = [
            ground_phrase(
                row["phrase_id"],
                PhysicalForm.model_validate_json(row["form"]),
                row["form_text"],
                row["text"],
                self.taxonomy,
            )
            for row in rows.to_pylist()
        ]
        return pa.Table.from_pylist([to_row(anchor) for anchor in anchors], anchor_schema())


def _ground(run: StageRun[GroundConfig]) -> StageResult:
    rows, config = read_rows(run.inputs["forms"].folder), run.config
    taxonomy = load_taxonomy(config.taxonomy)
    run.folder.write_bytes(taxonomy.to_json().encode(), TAXONOMY)
    metrics: dict[str, Any] = {"grounder": config.grounder, "taxonomy": taxonomy.name}
    if config.grounder == "rules":
        anchors = map_rows(rows, RulesGrounder, {"taxonomy": taxonomy}, config.actors)
    else:
        grounder = language_model_grounder(config, Folder(run.folder.uri.rsplit("/", 2)[0]))
        metrics |= {"model": grounder.engine.model, "prompt": config.prompt.file}
        anchors = _asked(grounder, rows)
    statuses: Counter[str] = Counter()

    def see(table: pa.Table) -> None:
        statuses.update(table["status"].to_pylist())

    what = f"ground ({config.grounder})"
    written = write_rows(run.folder, anchors, anchor_schema(), what, len(rows), see)
    for status in ("grounded", "ungrounded", "failed"):
        metrics[status] = statuses[status]
    if config.grounder != "rules":
        metrics |= grounder.counts
    return StageResult(len(rows), written, 0, metrics)


def language_model_grounder(config: GroundConfig, store: Folder) -> LanguageModelGrounder:
    """The grounder of a config that asks a model, with its answers in `store`; starts Ray."""
    taxonomy = load_taxonomy(config.taxonomy)
    engine = _engine(config)
    return LanguageModelGrounder(
        engine, taxonomy, config.prompt, config.sampling, config.retries, store
    )


def _engine(config: GroundConfig) -> Engine:
    if config.grounder == "openai":
        return OpenAIEngine(config.openai)
    connect()
    return VllmEngine(config.vllm)


def _asked(grounder: LanguageModelGrounder, rows: pa.Table) -> Iterator[pa.Table]:
    """The anchors of all rows, under a progress bar that means answers."""
    told: list[tuple[float, float]] = []
    with progress(f"ask {grounder.engine.model}", len(rows)) as track:

        def tell(done: int, total: int) -> None:
            told.append((len(rows) * done / max(total, 1), time.perf_counter()))
            track(told[-1][0])

        yield from grounder.ground(rows, tell)
    # From the first answers on: what came before was the engine's start.
    (first, began), (last, ended) = (told[0], told[-1]) if told else ((0.0, 0.0),) * 2
    if last > first:
        note(Work(unit="rows", units=last - first, busy_s=ended - began))


GROUND = Stage(
    name="anchors.ground",
    makes="anchors",
    config_type=GroundConfig,
    run=_ground,
    needs={"forms": "forms"},
)
