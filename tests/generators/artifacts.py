"""Artifacts that tests make by hand, where the stage before is not their subject."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from gestray.artifacts import Artifact, Stage, StageResult, StageRun, run_stage
from gestray.config import Config
from gestray.encoders.config import preset
from gestray.encoders.model import DualEncoder
from gestray.retrieval.index import ANCHOR, GestureIndex
from gestray.store import Folder
from gestray.training.checkpoint import MODEL, model_bytes, save_config
from gestray.views.catalog import read_catalog, read_columns
from jobs.encoder import PhraseEmbedder
from jobs.index import INDEX
from jobs.vectors import matrix


def given(
    store: Folder,
    kind: str,
    name: str,
    write: Callable[[Folder], None],
    config: Mapping[str, Any] | None = None,
) -> Artifact:
    """An artifact of a kind that holds what `write` puts into its folder, made of `config`."""

    class Given(Config):
        model_config = {"extra": "allow"}  # noqa: RUF012
        name: str

    def made(run):
        write(run.folder)
        return StageResult(6, 6)

    made_of = Given(name=name, **(config or {}))
    artifact = run_stage(Stage(kind, kind, Given, made), store, name, made_of, {}).artifact
    if config is None:
        return artifact
    # As the stage itself would have written it.
    manifest = artifact.manifest.model_copy(update={"config": dict(config)})
    artifact.folder.write_bytes(manifest.model_dump_json().encode(), "manifest.json")
    return Artifact(artifact.folder, manifest)


def copied(takes: Folder) -> Callable[[Folder], None]:
    """Writes the shard of takes into an artifact."""

    def write(folder: Folder) -> None:
        folder.write_bytes(takes.read_bytes("shards/00000.parquet"), "shards/00000.parquet")

    return write


def given_index(
    store: Folder, takes: Folder, work: Path, split: str | None = None, intent: str = "shrug"
) -> Artifact:
    """An index of takes by an untrained encoder; every other phrase has an intent.

    Args:
        store: that it, the takes, the encoder and its embeddings are written to.
        takes: a folder of one shard.
        work: an empty folder.
        split: whose phrases; None: all.
    """
    torch.manual_seed(0)
    training = preset("direct")

    def artifact(kind: str, write: Callable[[Folder], None], **inputs: Artifact) -> Artifact:
        def run(run: StageRun) -> StageResult:
            write(run.folder)
            return StageResult(1, 1)

        stage = Stage(kind, kind, Config, run, needs={role: role for role in inputs})
        return run_stage(stage, store, kind, Config(), inputs).artifact

    def write_encoder(folder: Folder) -> None:
        folder.write_bytes(model_bytes(DualEncoder(training.model)), MODEL)
        save_config(training.model, folder)

    def write_index(folder: Folder) -> None:
        embed = PhraseEmbedder(encoder.folder, training, split, 64, False)
        rows = pa.concat_tables(
            [embed(ref, read_columns(takes, ref, embed.columns)) for ref in read_catalog(takes)]
        )
        for name in ANCHOR:
            meant = [intent if name == "intent" and i % 2 else None for i in range(len(rows))]
            rows = rows.append_column(name, pa.array(meant, pa.string()))
        GestureIndex.build(matrix(rows, "motion_embedding"), rows).save(str(work))
        folder.upload(work, INDEX)

    takes_made = artifact("takes", copied(takes))
    encoder = artifact("encoder", write_encoder)
    embeddings = artifact("embeddings", lambda folder: None, takes=takes_made, encoder=encoder)
    return artifact("index", write_index, embeddings=embeddings)
