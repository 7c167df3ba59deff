"""Index stages: build an index of gestures from embeddings, and search it with words."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pyarrow as pa

from gestray.artifacts import Artifact, Stage, StageResult, StageRun
from gestray.config import Config
from gestray.retrieval.index import GestureIndex, Hit
from jobs.rows import read_rows
from jobs.vectors import matrix

INDEX = "index"


class BuildConfig(Config):
    """What `gestray index build` does: there is nothing to set."""


def _build(run: StageRun[BuildConfig]) -> StageResult:
    rows = read_rows(run.inputs["embeddings"].folder)
    forms: dict[str, tuple[str, str | None]] = {}
    if anchors := run.inputs.get("anchors"):
        for row in read_rows(anchors.folder, ["phrase_id", "form_text", "intent"]).to_pylist():
            intent = json.loads(row["intent"])["label"] if row["intent"] else None
            forms[row["phrase_id"]] = (row["form_text"], intent)
    known = [forms.get(phrase_id, (None, None)) for phrase_id in rows["phrase_id"].to_pylist()]
    vectors = matrix(rows, "motion_embedding")
    described = rows.append_column("form_text", pa.array([k[0] for k in known], pa.string()))
    described = described.append_column("intent", pa.array([k[1] for k in known], pa.string()))
    index = GestureIndex.build(vectors, described)
    with tempfile.TemporaryDirectory(prefix="gestray-index-") as folder:
        index.save(folder)
        run.folder.upload(Path(folder), INDEX)
    metrics = {"phrases": len(index), "kind": index.kind, "recall_at_10": index.recall_at_10}
    return StageResult(len(rows), len(index), 0, metrics)


BUILD = Stage(
    name="index.build",
    makes="index",
    config_type=BuildConfig,
    run=_build,
    needs={"embeddings": "embeddings", "anchors": "anchors"},
    optional=frozenset({"anchors"}),
)


def search(index: Artifact, text: str, k: int) -> list[Hit]:
    """The `k` recorded phrases whose gesture says `text` best, by the index's own encoder."""
    import torch

    from gestray.encoders.model import DualEncoder

    encoder = DualEncoder.from_folder(index.input("embeddings").input("encoder").folder)
    with tempfile.TemporaryDirectory(prefix="gestray-index-") as folder:
        gestures = GestureIndex.load(index.folder.download(Path(folder), INDEX))
    with torch.inference_mode():
        query = encoder.embed_text([text]).numpy()
    return gestures.search(query, k)[0]
