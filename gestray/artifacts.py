"""Artifacts: the immutable results of stages, and the rule that runs a stage once.

An artifact is a folder `{store}/{kind}/{name}-{identity}/` whose
`manifest.json` is written last and atomically: a folder without one is a
leftover of a run that died, and is never read. `identity` hashes the stage,
its config and the identities of its inputs, so a stage whose artifact exists
has nothing to do. This gives resume, caching and provenance at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Generic

from pydantic import BaseModel, ConfigDict, ValidationError

import gestray
from gestray.config import ConfigT, digest
from gestray.errors import UserError
from gestray.store import Folder
from gestray.work import Work, noting

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"


class InputRef(BaseModel):
    """Where an input was, and which one it was."""

    model_config = ConfigDict(frozen=True)
    uri: str
    kind: str
    identity: str


class Manifest(BaseModel):
    """What an artifact is and where it comes from."""

    model_config = ConfigDict(frozen=True)
    schema_version: int = SCHEMA_VERSION
    gestray_version: str = gestray.__version__
    stage: str
    kind: str
    name: str
    identity: str
    created: str
    config: dict[str, Any]
    inputs: dict[str, InputRef]
    rows_in: int
    rows_out: int
    rows_quarantined: int
    seconds: float
    metrics: dict[str, Any]
    #: Empty where a stage does not tell its work from its start.
    work: tuple[Work, ...] = ()


@dataclass(frozen=True)
class Artifact:
    """A finished artifact."""

    folder: Folder
    manifest: Manifest

    @property
    def uri(self) -> str:
        return self.folder.uri

    @property
    def ref(self) -> InputRef:
        return InputRef(uri=self.uri, kind=self.manifest.kind, identity=self.manifest.identity)

    def input(self, role: str) -> Artifact:
        """The artifact this one was made from in `role`."""
        return open_artifact(Folder(self.manifest.inputs[role].uri))


def open_artifact(folder: Folder, kind: str | None = None) -> Artifact:
    """Open a finished artifact.

    Raises:
        UserError: there is no manifest, it cannot be read, or the kind is another.
    """
    if not folder.exists(MANIFEST):
        raise UserError(f"{folder.uri}: found no {MANIFEST}; expected a finished artifact there")
    try:
        manifest = Manifest.model_validate_json(folder.read_bytes(MANIFEST))
    except ValidationError as error:
        raise UserError(f"{folder.uri}/{MANIFEST}: not a manifest of gestray: {error}") from None
    if manifest.schema_version > SCHEMA_VERSION:
        raise UserError(
            f"{folder.uri}: written by gestray {manifest.gestray_version} in a newer format "
            f"(schema {manifest.schema_version} > {SCHEMA_VERSION}): update gestray"
        )
    if kind is not None and manifest.kind != kind:
        raise UserError(f"{folder.uri}: found an artifact of kind {manifest.kind}, expected {kind}")
    return Artifact(folder, manifest)


def artifacts_of_kind(store: Folder, kind: str) -> list[Artifact]:
    """All finished artifacts of a kind, oldest first."""
    folders = [store.child(path) for path in store.list(kind)]
    found = [open_artifact(folder, kind) for folder in folders if folder.exists(MANIFEST)]
    return sorted(found, key=lambda artifact: artifact.manifest.created)


def newest(store: Folder, kind: str) -> Artifact:
    """The newest finished artifact of a kind: what a stage takes when not told otherwise."""
    found = artifacts_of_kind(store, kind)
    if not found:
        raise UserError(f"store {store.uri}: found no artifact of kind {kind!r}; make one first")
    return found[-1]


@dataclass(frozen=True)
class StageResult:
    """What a stage's function returns; `rows_in` must equal out + quarantined.

    `metrics` are flat dotted names with plain JSON values.
    """

    rows_in: int
    rows_out: int
    rows_quarantined: int = 0
    metrics: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StageRun(Generic[ConfigT]):
    """What a stage's function gets: where to write, its config, its inputs."""

    folder: Folder
    config: ConfigT
    inputs: Mapping[str, Artifact]


@dataclass(frozen=True)
class Stage(Generic[ConfigT]):
    """A function from artifacts to one artifact.

    Args:
        name: as on the command line, such as ``encoder.train``.
        makes: kind of the artifact.
        config_type: its config.
        run: does the work, writing under `StageRun.folder`.
        needs: input roles and the kind each takes.
        others: kind of any further inputs, whose roles the caller names freely
            (an evaluation names its methods so).
        optional: roles that may be left out.
        resumes: the function picks up what a killed run left in the folder.
        fingerprint: identity of what the stage reads from outside the store.
        revision: of what it writes; with another, what was written before is made anew.
    """

    name: str
    makes: str
    config_type: type[ConfigT]
    run: Callable[[StageRun[ConfigT]], StageResult]
    needs: Mapping[str, str] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()
    others: str | None = None
    resumes: bool = False
    fingerprint: Callable[[ConfigT], Any] | None = None
    revision: int | None = None


@dataclass(frozen=True)
class StageReport:
    """How a stage ended."""

    artifact: Artifact
    up_to_date: bool
    seconds: float

    def as_json(self) -> dict[str, Any]:
        manifest = self.artifact.manifest
        return {
            "stage": manifest.stage,
            "artifact": self.artifact.uri,
            "up_to_date": self.up_to_date,
            "rows_in": manifest.rows_in,
            "rows_out": manifest.rows_out,
            "rows_quarantined": manifest.rows_quarantined,
            "seconds": round(self.seconds, 3),
            "metrics": manifest.metrics,
        }


def artifact_folder(
    stage: Stage[ConfigT],
    store: Folder,
    name: str,
    config: ConfigT,
    inputs: Mapping[str, Artifact],
) -> tuple[Folder, str]:
    """Folder and identity of what `stage` makes from this config and these inputs."""
    identity = digest(
        {
            "stage": stage.name,
            "schema": SCHEMA_VERSION,
            "config": config.identity(),
            "inputs": {role: made.manifest.identity for role, made in sorted(inputs.items())},
            "outside": stage.fingerprint(config) if stage.fingerprint else None,
            **({"revision": stage.revision} if stage.revision else {}),
        }
    )
    return store.child(stage.makes, f"{name}-{identity}"), identity


def run_stage(
    stage: Stage[ConfigT],
    store: Folder,
    name: str,
    config: ConfigT,
    inputs: Mapping[str, Artifact],
) -> StageReport:
    """Make the artifact of `stage`, unless it exists.

    Raises:
        UserError: an input is missing or of the wrong kind.
        RuntimeError: the stage lost rows (in ≠ out + quarantined); no manifest is written.
    """
    for role, kind in stage.needs.items():
        if role not in inputs and role not in stage.optional:
            raise UserError(f"stage {stage.name}: input {role!r} (kind {kind}) is missing")
    for role, artifact in inputs.items():
        expected = stage.needs.get(role, stage.others)
        if expected is None:
            known = ", ".join(stage.needs) or "none"
            raise UserError(f"stage {stage.name}: unknown input {role!r}; it takes: {known}")
        if artifact.manifest.kind != expected:
            raise UserError(
                f"stage {stage.name}: input {role!r} is {artifact.uri} of kind "
                f"{artifact.manifest.kind}; expected kind {expected}"
            )
    started = time.monotonic()
    folder, identity = artifact_folder(stage, store, name, config, inputs)
    if folder.exists(MANIFEST):
        artifact = open_artifact(folder, stage.makes)
        return StageReport(artifact, up_to_date=True, seconds=time.monotonic() - started)
    if not stage.resumes:
        folder.delete()
    with noting() as work:
        result = stage.run(StageRun(folder, config, inputs))
    if result.rows_in != result.rows_out + result.rows_quarantined:
        raise RuntimeError(
            f"stage {stage.name} lost rows: {result.rows_in} in, {result.rows_out} out, "
            f"{result.rows_quarantined} quarantined; {folder.uri} is left without a manifest"
        )
    seconds = time.monotonic() - started
    manifest = Manifest(
        stage=stage.name,
        kind=stage.makes,
        name=name,
        identity=identity,
        created=datetime.now(UTC).isoformat(),
        config=config.model_dump(mode="json"),
        inputs={role: artifact.ref for role, artifact in inputs.items()},
        rows_in=result.rows_in,
        rows_out=result.rows_out,
        rows_quarantined=result.rows_quarantined,
        seconds=seconds,
        metrics=result.metrics,
        work=tuple(work),
    )
    folder.write_bytes(manifest.model_dump_json(indent=2).encode(), MANIFEST)
    return StageReport(Artifact(folder, manifest), up_to_date=False, seconds=seconds)


def provenance(artifact: Artifact) -> list[Artifact]:
    """`artifact` and everything it was made from, inputs before outputs, each once."""
    ordered: dict[str, Artifact] = {}

    def visit(current: Artifact) -> None:
        if current.uri not in ordered:
            for role in current.manifest.inputs:
                visit(current.input(role))
            ordered[current.uri] = current

    visit(artifact)
    return list(ordered.values())
