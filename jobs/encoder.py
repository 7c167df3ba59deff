"""Encoder stages: train a dual encoder, and embed every phrase with it."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from gestray.artifacts import Stage, StageResult, StageRun
from gestray.config import Config, make_config
from gestray.corpora.take import FPS, TAKE_SCHEMA
from gestray.encoders.config import EncoderConfig, EncoderTraining, Query
from gestray.errors import UserError
from gestray.store import Folder
from gestray.tokenizers.config import TokenizerTraining
from gestray.views.catalog import TakeRef, read_catalog, takes_without
from gestray.views.phrases import has_times, phrases_of
from jobs.display import remarks
from jobs.phrases import count_phrases
from jobs.reviews import supervision_of
from jobs.rows import map_takes, read_rows, write_rows
from jobs.training import last_losses, train_with_progress


def _train(run: StageRun[EncoderTraining]) -> StageResult:
    from gestray.encoders.card import CARD, model_card
    from gestray.encoders.task import AnchorTexts, EncoderTask
    from gestray.training.checkpoint import save_config

    takes, anchors = run.inputs["takes"], run.inputs.get("anchors")
    supervised = {}
    if run.config.model.objectives.needs_anchors:
        if anchors is None:
            raise UserError(
                "this preset learns from anchors, but has no input 'anchors'; "
                "make them with `gestray anchors ground`, or choose preset direct"
            )
        columns = ["phrase_id", "form_text", "intent_text", "status"]
        for row in read_rows(anchors.folder, columns).to_pylist():
            grounded = row["status"] == "grounded"
            supervised[row["phrase_id"]] = AnchorTexts(
                row["form_text"] or None, row["intent_text"] if grounded else None
            )
        _check_overlap(run, set(supervised))
        if reviews := run.inputs.get("reviews"):
            decided = supervision_of(reviews)
            overridden = decided.keys() & supervised.keys()
            remarks.print(f"{len(overridden)} of {len(supervised)} anchors are as reviewed")
            supervised |= {phrase: AnchorTexts(*texts) for phrase, texts in decided.items()}
    check_takes(takes.folder, run.config)
    config, tokenizer = _with_tokenizer(run)
    task = EncoderTask(config, supervised, tokenizer)
    log = train_with_progress("encoder", task, config.loop, takes, run.folder)
    save_config(config.model, run.folder)
    losses = last_losses(log)
    facts = {"phrases of": takes.uri, **losses}
    run.folder.write_bytes(model_card(config.model, run.folder.uri, facts).encode(), CARD)
    return StageResult(takes.manifest.rows_out, takes.manifest.rows_out, 0, losses)


def _with_tokenizer(run: StageRun[EncoderTraining]) -> tuple[EncoderTraining, Folder | None]:
    """The config with that of the tokenizer whose tokens the motion tower sees, and its folder."""
    if run.config.model.motion.input != "tokens":
        return run.config, None
    given = run.inputs.get("tokenizer")
    if given is None:
        raise UserError(
            "this method sees motion tokens, but has no input 'tokenizer'; make one with "
            "`gestray tokenizer train`, or set model.motion.input=features"
        )
    trained = make_config(TokenizerTraining, given.manifest.config, given.uri).model
    model = run.config.model
    motion = model.motion.model_copy(update={"tokenizer": trained})
    model = model.model_copy(update={"motion": motion})
    return run.config.model_copy(update={"model": model}), given.folder


def check_takes(takes: Folder, config: EncoderTraining) -> None:
    """Refuse a corpus that lacks what a method needs, before anything starts.

    Raises:
        UserError: names takes without audio or, for gestures of words, without times of words.
    """
    model = config.model
    catalog = [
        ref
        for ref in read_catalog(takes)
        if any(phrase.split == "train" for phrase in phrases_of(ref, config.phrases))
    ]
    if model.hears:
        lacking = takes_without(takes, catalog, "audio")
        _refuse(lacking, catalog, "audio", "choose a method that reads, or model.query=text")
    if model.objectives.coupling:
        lacking = [ref.take_id for ref in catalog if ref.words and not has_times(ref.words)]
        _refuse(
            lacking,
            catalog,
            "times of words, which gestures of words are found by",
            "align them (`gestray speech align`), or set model.objectives.coupling=0",
        )


def _refuse(lacking: list[str], catalog: list[TakeRef], what: str, instead: str) -> None:
    if lacking:
        shown = ", ".join(lacking[:3]) + (", …" if len(lacking) > 3 else "")
        found = f"{len(lacking)} of {len(catalog)} takes have no {what} ({shown})"
        raise UserError(f"{found}; {instead}")


def _check_overlap(run: StageRun[EncoderTraining], anchored: set[str]) -> None:
    """Phrases are matched by id: other cutting, other ids."""
    catalog = read_catalog(run.inputs["takes"].folder)
    training = {
        phrase.phrase_id
        for ref in catalog
        for phrase in phrases_of(ref, run.config.phrases)
        if phrase.split == "train"
    }
    missing = len(training - anchored)
    if training and missing == len(training):
        raise UserError(
            "none of the training phrases has an anchor: the anchors were made from other takes, "
            "or with another `phrases` config than this encoder's"
        )
    if missing:
        remarks.print(f"{missing} of {len(training)} training phrases have no anchor")


TRAIN = Stage(
    name="encoder.train",
    makes="encoder",
    config_type=EncoderTraining,
    run=_train,
    needs={"takes": "takes", "anchors": "anchors", "reviews": "reviews", "tokenizer": "tokenizer"},
    optional=frozenset({"anchors", "reviews", "tokenizer"}),
    resumes=True,
)


class EmbedConfig(Config):
    """What `gestray encoder embed` does.

    Args:
        split: whose phrases are embedded, such as test; None: all.
        fine: write an embedding of every few frames and of every word as well; methods that are
            trained at that level do so in any case.
        batch_size: phrases a forward pass.
        actors: processes that embed.
    """

    EXECUTION: ClassVar[frozenset[str]] = frozenset({"actors", "batch_size"})

    split: str | None = None
    fine: bool = False
    batch_size: int = Field(64, ge=1)
    actors: int = Field(2, ge=1)


# Of the manifest's metrics: the column that a method is queried with, and frames from one frame
# embedding to the next.
QUERY_COLUMN, FRAME_STRIDE = "query_column", "frame_stride"


def embeddings_schema(model: EncoderConfig, fine: bool) -> pa.Schema:
    """Rows of an `embeddings` artifact: phrases and their embeddings, all L2-normalised.

    `motion_embedding` is of the gesture. What is said has one of `text_embedding`,
    `speech_embedding` and `text_speech_embedding` (both, fused) for each way in which the
    method may be queried, and null for the others; the manifest's metric `query_column` names the
    one the method is meant to be queried with.

    Where `fine`: `frame_embeddings` of the motion, number k of the frames from k · stride on,
    counted from the phrase's first (of motion longer than `motion.max_frames`, which keeps its
    middle, from that of the middle; `frame_start_s` is its time in the take), the stride being the
    metric `frame_stride`; `speech_frame_embeddings` of the speech at the same times, null where the
    method does not listen; `words` with times in seconds of the take, null where unknown; and
    `word_embeddings`, one for each of them, made of what the query is made of. Words beyond
    `text.max_tokens` are left out.
    """
    vector = pa.list_(pa.float32(), model.dim)
    columns: list[tuple[str, pa.DataType]] = [
        ("phrase_id", pa.string()),
        ("take_id", pa.string()),
        ("speaker", pa.string()),
        ("split", pa.string()),
        ("start_s", pa.float64()),
        ("end_s", pa.float64()),
        ("text", pa.string()),
        ("motion_embedding", vector),
        *((column, vector) for column in QUERIES.values()),
    ]
    if fine:
        vectors = pa.list_(pa.list_(pa.float32(), model.dim))
        columns += [
            ("frame_start_s", pa.float64()),
            ("frame_embeddings", vectors),
            ("speech_frame_embeddings", vectors),
            ("words", TAKE_SCHEMA.field("words").type),
            ("word_embeddings", vectors),
        ]
    return pa.schema(columns)


QUERIES: dict[Query, str] = {
    "text": "text_embedding",
    "speech": "speech_embedding",
    "text+speech": "text_speech_embedding",
}


class PhraseEmbedder:
    """Cuts a take into phrases and embeds their motion and what is said; runs in an actor."""

    def __init__(
        self,
        encoder: Folder,
        training: EncoderTraining,
        split: str | None,
        batch_size: int,
        fine: bool,
    ) -> None:
        from gestray.encoders.model import DualEncoder
        from gestray.encoders.task import phrases_for

        self.model = DualEncoder.from_folder(encoder)
        self.view = phrases_for(training, split, words=fine)
        self.columns = self.view.columns
        self.batch_size, self.fine = batch_size, fine
        self.schema = embeddings_schema(self.model.config, fine)

    def __call__(self, ref: TakeRef, take: pa.Table) -> pa.Table:
        count = self.view.count(ref)
        if not count:
            return self.schema.empty_table()
        rows = self.view.cut(ref, take, range(count))
        size = self.batch_size
        tables = [self._embed(rows.slice(first, size)) for first in range(0, count, size)]
        return pa.concat_tables(tables)

    def _embed(self, rows: pa.Table) -> pa.Table:
        import torch

        from gestray.encoders.task import inputs_of

        model = self.model
        batch = inputs_of(rows, model.config)
        found: dict[str, Any] = {}
        with torch.inference_mode():
            motion, frames, real = model.gestures(batch["poses"], batch["frames"])
            found["motion_embedding"] = _vectors(motion)
            for query in model.queries:
                found[QUERIES[query]] = _vectors(model.query(batch, query).pooled)
            if self.fine:
                found |= self._fine(rows, batch, frames, real)
        table = {name: rows[name] for name in self.schema.names if name in rows.column_names}
        table |= found
        nulls = {name: pa.nulls(len(rows)) for name in self.schema.names if name not in table}
        return pa.table({**table, **nulls}).select(self.schema.names).cast(self.schema)

    def _fine(self, rows: pa.Table, batch: Any, frames: Any, real: Any) -> dict[str, Any]:
        model = self.model
        most = model.config.motion.max_frames
        spans = zip(rows["start_s"].to_pylist(), rows["end_s"].to_pylist(), strict=True)
        excess = [(start, max(0, round((end - start) * FPS) - most)) for start, end in spans]
        found = {
            "frame_start_s": [start + extra // 2 / FPS for start, extra in excess],
            "frame_embeddings": _sequences(frames, real),
            "words": pa.array(
                [words[: model.config.text.max_tokens] for words in rows["words"].to_pylist()],
                TAKE_SCHEMA.field("words").type,
            ),
        }
        if model.speech is not None:
            found["speech_frame_embeddings"] = _sequences(model.moments(batch), real)
        if model.config.reads or model.is_by_word:
            said = model.words(batch)
            found["word_embeddings"] = _sequences(said.steps, said.real)
        return found


def _vectors(x: Any) -> pa.Array:
    """(B, D) as a column."""
    flat = pa.array(x.numpy().ravel(), pa.float32())
    return pa.FixedSizeListArray.from_arrays(flat, x.shape[1])


def _sequences(x: Any, real: Any) -> pa.Array:
    """(B, N, D) as a column of lists, of those of the N that are real."""
    offsets = pa.array(np.concatenate([[0], real.sum(1).cumsum(0).numpy()]), pa.int32())
    return pa.ListArray.from_arrays(offsets, _vectors(x[real]))


def _embed(run: StageRun[EmbedConfig]) -> StageResult:
    from gestray.training.checkpoint import CONFIG

    takes, encoder = run.inputs["takes"], run.inputs["encoder"]
    training = make_config(EncoderTraining, encoder.manifest.config, encoder.uri)
    # The model's own config has the tokenizer that training filled in.
    own = json.loads(encoder.folder.read_bytes(CONFIG))
    model = make_config(EncoderConfig, own, encoder.uri)
    fine = run.config.fine or model.objectives.is_fine
    catalog = [ref for ref in read_catalog(takes.folder) if ref.num_frames]
    split = run.config.split
    expected = count_phrases(catalog, training.phrases, split)
    setup = {
        "encoder": encoder.folder,
        "training": training,
        "split": split,
        "batch_size": run.config.batch_size,
        "fine": fine,
    }
    embedded = map_takes(takes.folder, catalog, PhraseEmbedder, setup, run.config.actors)
    what = f"embed phrases ({encoder.manifest.name})"
    rows = write_rows(run.folder, embedded, embeddings_schema(model, fine), what, expected)
    metrics: dict[str, Any] = {"phrases": rows, QUERY_COLUMN: QUERIES[model.query]}
    if fine:
        tokenizer = model.motion.tokenizer
        metrics[FRAME_STRIDE] = tokenizer.frames_per_token if tokenizer else model.motion.stride
    return StageResult(expected, rows, 0, metrics)


EMBED = Stage(
    name="encoder.embed",
    makes="embeddings",
    config_type=EmbedConfig,
    run=_embed,
    needs={"takes": "takes", "encoder": "encoder"},
)
