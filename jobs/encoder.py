"""Encoder stages: train a dual encoder, and embed every phrase with it."""

from __future__ import annotations

from typing import ClassVar

import pyarrow as pa
from pydantic import Field

from gestray.artifacts import Stage, StageResult, StageRun
from gestray.config import Config, make_config
from gestray.encoders.config import EncoderTraining
from gestray.errors import UserError
from gestray.store import Folder
from gestray.views.catalog import TakeRef, read_catalog
from gestray.views.phrases import PhraseConfig, Phrases, phrases_of
from jobs.cluster import connect
from jobs.display import remarks
from jobs.phrases import count_phrases
from jobs.rows import map_takes, read_rows, write_rows
from jobs.training import last_losses, train_with_progress


def _train(run: StageRun[EncoderTraining]) -> StageResult:
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
    task = EncoderTask(run.config, supervised)
    log = train_with_progress("encoder", task, run.config.loop, takes, run.folder)
    save_config(run.config.model, run.folder)
    return StageResult(takes.manifest.rows_out, takes.manifest.rows_out, 0, last_losses(log))


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
    needs={"takes": "takes", "anchors": "anchors"},
    optional=frozenset({"anchors"}),
    resumes=True,
)


class EmbedConfig(Config):
    """What `gestray encoder embed` does.

    Args:
        batch_size: phrases a forward pass.
        actors: processes that embed.
    """

    EXECUTION: ClassVar[frozenset[str]] = frozenset({"actors", "batch_size"})

    batch_size: int = Field(64, ge=1)
    actors: int = Field(2, ge=1)


def embeddings_schema(dim: int) -> pa.Schema:
    """Rows of an `embeddings` artifact: phrases with both embeddings, L2-normalised."""
    vector = pa.list_(pa.float32(), dim)
    return pa.schema(
        [
            ("phrase_id", pa.string()),
            ("take_id", pa.string()),
            ("speaker", pa.string()),
            ("split", pa.string()),
            ("start_s", pa.float64()),
            ("end_s", pa.float64()),
            ("text", pa.string()),
            ("motion_embedding", vector),
            ("text_embedding", vector),
        ]
    )


class PhraseEmbedder:
    """Cuts a take into phrases and embeds their motion and words; runs in an actor."""

    columns = ("poses",)

    def __init__(self, encoder: Folder, phrases: PhraseConfig, batch_size: int) -> None:
        from gestray.encoders.model import DualEncoder

        self.model = DualEncoder.from_folder(encoder)
        self.view = Phrases(phrases, split=None)
        self.batch_size = batch_size
        self.schema = embeddings_schema(self.model.config.dim)

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

        from gestray.encoders.task import pad_poses

        with torch.inference_mode():
            poses, frames = pad_poses(
                rows["poses"].to_pylist(), self.model.config.motion.max_frames
            )
            embedded = {
                "motion_embedding": self.model.embed_motion(poses, frames),
                "text_embedding": self.model.embed_text(rows["text"].to_pylist()),
            }
        for name, vectors in embedded.items():
            flat = pa.array(vectors.numpy().ravel(), pa.float32())
            column = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
            rows = rows.append_column(name, column)
        return rows.select(self.schema.names).cast(self.schema)


def _embed(run: StageRun[EmbedConfig]) -> StageResult:
    takes, encoder = run.inputs["takes"], run.inputs["encoder"]
    training = make_config(EncoderTraining, encoder.manifest.config, encoder.uri)
    catalog = [ref for ref in read_catalog(takes.folder) if ref.num_frames]
    expected = count_phrases(catalog, training.phrases)
    connect()
    setup = {
        "encoder": encoder.folder,
        "phrases": training.phrases,
        "batch_size": run.config.batch_size,
    }
    embedded = map_takes(takes.folder, catalog, PhraseEmbedder, setup, run.config.actors)
    schema = embeddings_schema(training.model.dim)
    what = f"embed phrases ({encoder.manifest.name})"
    rows = write_rows(run.folder, embedded, schema, what, expected)
    return StageResult(expected, rows, 0, {"phrases": rows})


EMBED = Stage(
    name="encoder.embed",
    makes="embeddings",
    config_type=EmbedConfig,
    run=_embed,
    needs={"takes": "takes", "encoder": "encoder"},
)
