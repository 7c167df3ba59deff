"""Artifacts that tests make by hand, where the stage before is not their subject."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gestray.artifacts import Artifact, Stage, StageResult, run_stage
from gestray.config import Config
from gestray.store import Folder


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
