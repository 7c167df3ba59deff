"""Index stages: build an index of gestures, change it, and search it with words."""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute
from pydantic import Field

from gestray.artifacts import Artifact, Stage, StageResult, StageRun
from gestray.config import Config
from gestray.errors import UserError
from gestray.retrieval.explain import Explanation, explain
from gestray.retrieval.filters import Filter
from gestray.retrieval.index import ANCHOR, FACTS, SCHEMA_VERSION, GestureIndex, Hit
from gestray.retrieval.vectors import Kind
from gestray.work import Work, note
from jobs.rows import read_rows
from jobs.vectors import matrix

INDEX = "index"
# The column of embeddings that is searched.
VECTOR = "motion_embedding"


class BuildConfig(Config):
    """What `gestray index build` does.

    Args:
        kind: how vectors are searched, see `gestray.retrieval.vectors`; None takes what fits
            their number.
    """

    kind: Kind | None = None


class UpdateConfig(Config):
    """What `gestray index update` does; what is to be added comes as inputs.

    Args:
        delete_takes: takes whose phrases are taken out, before others are added.
        delete_phrases: phrases that are taken out.
    """

    delete_takes: tuple[str, ...] = Field(())
    delete_phrases: tuple[str, ...] = Field(())


def _build(run: StageRun[BuildConfig]) -> StageResult:
    import faiss  # noqa: F401  building imports it, which does not grow with the rows

    embedded, said = _read(run.inputs["embeddings"], run.inputs.get("anchors"))
    # Files are read and written in a part of the time that a graph of their rows takes, and of
    # few rows in the time of opening them: they count as the stage's start.
    began = time.perf_counter()
    rows = _described(embedded, said)
    index = GestureIndex.build(matrix(rows, VECTOR), rows, run.config.kind)
    note(Work(unit="rows", units=len(rows), busy_s=time.perf_counter() - began))
    return _written(run, index, len(rows), 0)


def _update(run: StageRun[UpdateConfig]) -> StageResult:
    before, embeddings = run.inputs["index"], run.inputs.get("embeddings")
    index = load_index(before)
    rows_in = len(index)
    takes = pa.array(run.config.delete_takes, pa.string())
    of_takes = index.rows.filter(pa.compute.is_in(index.rows["take_id"], value_set=takes))
    asked = {*of_takes["phrase_id"].to_pylist(), *run.config.delete_phrases}
    deleted = index.delete(asked) if asked else 0
    if embeddings is not None:
        mine, theirs = (
            artifact.input("encoder").manifest.identity
            for artifact in (before_embeddings(before), embeddings)
        )
        if mine != theirs:
            raise UserError(
                f"{embeddings.uri}: embedded by another encoder than the phrases of "
                f"{before.uri}; vectors of two encoders cannot be compared"
            )
        rows = described_rows(embeddings, run.inputs.get("anchors"))
        rows_in += len(rows)
        index.add(matrix(rows, VECTOR), rows)
    return _written(run, index, rows_in, deleted)


def _written(run: StageRun[Any], index: GestureIndex, rows_in: int, deleted: int) -> StageResult:
    with tempfile.TemporaryDirectory(prefix="gestray-index-") as folder:
        index.save(folder)
        run.folder.upload(Path(folder), INDEX)
    metrics = {
        "phrases": len(index),
        "deleted": deleted,
        "kind": index.kind,
        "recall_at_10": index.recall_at_10,
    }
    return StageResult(rows_in, len(index), rows_in - len(index), metrics)


def described_rows(embeddings: Artifact, anchors: Artifact | None) -> pa.Table:
    """Embedded phrases with what their anchors say, null where they have none."""
    return _described(*_read(embeddings, anchors))


def _read(embeddings: Artifact, anchors: Artifact | None) -> tuple[pa.Table, pa.Table | None]:
    """Of the rows of embeddings and of anchors what an index keeps."""
    of_anchors = ["phrase_id", "form", "form_text", "intent", "intent_text"]
    return (
        read_rows(embeddings.folder, [*FACTS, VECTOR]),
        read_rows(anchors.folder, of_anchors) if anchors is not None else None,
    )


def _described(rows: pa.Table, anchors: pa.Table | None) -> pa.Table:
    said: dict[str, dict[str, str | None]] = {
        row["phrase_id"]: {
            "form_text": row["form_text"],
            "intent": json.loads(row["intent"])["label"] if row["intent"] else None,
            "intent_text": row["intent_text"] or None,
            "handedness": json.loads(row["form"])["handedness"],
        }
        for row in (anchors.to_pylist() if anchors is not None else ())
    }
    known = [said.get(phrase_id, {}) for phrase_id in rows["phrase_id"].to_pylist()]
    for name in ANCHOR:
        values = pa.array([anchor.get(name) for anchor in known], pa.string())
        rows = rows.append_column(name, values)
    return rows


BUILD = Stage(
    name="index.build",
    makes="index",
    config_type=BuildConfig,
    run=_build,
    needs={"embeddings": "embeddings", "anchors": "anchors"},
    optional=frozenset({"anchors"}),
    revision=SCHEMA_VERSION,
)

UPDATE = Stage(
    name="index.update",
    makes="index",
    config_type=UpdateConfig,
    run=_update,
    needs={"index": "index", "embeddings": "embeddings", "anchors": "anchors"},
    optional=frozenset({"embeddings", "anchors"}),
    revision=SCHEMA_VERSION,
)


def load_index(index: Artifact) -> GestureIndex:
    """The index of an artifact, read through a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="gestray-index-") as folder:
        return GestureIndex.load(index.folder.download(Path(folder), INDEX))


def before_embeddings(index: Artifact) -> Artifact:
    """The embeddings that an index was first built from."""
    while "index" in index.manifest.inputs:
        index = index.input("index")
    return index.input("embeddings")


@dataclass(frozen=True)
class Answer:
    """A hit and why it was found."""

    hit: Hit
    why: Explanation

    def as_json(self) -> dict[str, Any]:
        """The hit's fields, and under `why` those of the explanation."""
        said = asdict(self.why)
        words = {"words": dict(said["words"]), "shared": list(said["shared"])}
        return {**asdict(self.hit), "why": words}


def search(
    index: Artifact, text: str, k: int, only: Filter | None = None, by_words: bool = False
) -> list[Answer]:
    """The `k` recorded phrases whose gesture says `text` best, by the index's own encoder.

    Args:
        only: conditions that hits meet.
        by_words: search transcripts and anchors for the words as well.
    """
    import torch

    from gestray.encoders.model import DualEncoder

    encoder = DualEncoder.from_folder(before_embeddings(index).input("encoder").folder)
    gestures = load_index(index)

    def embed(texts: Any) -> Any:
        with torch.inference_mode():
            return encoder.embed_text(list(texts)).numpy()

    (hits,) = gestures.search(embed([text]), k, only, text if by_words else None)
    reasons = explain(text, hits, gestures.vectors_of(hits), embed)
    return [Answer(hit, why) for hit, why in zip(hits, reasons, strict=True)]
