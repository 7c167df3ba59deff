"""The stages by name, their presets, and how one is run by hand."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from typing import Any

from gestray.artifacts import (
    Artifact,
    Stage,
    StageReport,
    artifacts_of_kind,
    newest,
    open_artifact,
    run_stage,
)
from gestray.config import Config, make_config
from gestray.errors import UserError
from gestray.store import Folder
from jobs.display import remarks

# Imported when used: a stage pulls in torch or Ray, `gestray --help` does not.
_STAGES = {
    "corpus.synth": "jobs.corpus:SYNTH",
    "ingest.beat2": "jobs.ingest:BEAT2",
    "ingest.bvh": "jobs.ingest:BVH",
    "ingest.smplx": "jobs.ingest:SMPLX",
    "tokenizer.train": "jobs.tokenizer:TRAIN",
    "tokenizer.encode": "jobs.tokenizer:ENCODE",
    "tokenizer.report": "jobs.codebook:REPORT_STAGE",
    "anchors.verbalize": "jobs.anchors:VERBALIZE",
    "anchors.ground": "jobs.anchors:GROUND",
    "anchors.gold": "jobs.intents:GOLD",
    "anchors.shuffle": "jobs.controls:SHUFFLE",
    "anchors.evaluate": "jobs.forms:EVALUATE",
    "encoder.train": "jobs.encoder:TRAIN",
    "encoder.embed": "jobs.encoder:EMBED",
    "speech.features": "jobs.generator:FEATURES",
    "generator.train": "jobs.generator:TRAIN",
    "metrics.train-fgd": "jobs.generate_scores:TRAIN_FGD",
    "evaluate.generation": "jobs.generate_scores:SCORES",
    "index.build": "jobs.index:BUILD",
    "index.update": "jobs.index:UPDATE",
    "evaluate.retrieval": "jobs.evaluate:RETRIEVAL_STAGE",
    "study.create": "jobs.study:CREATE",
}
_PRESETS = {
    "tokenizer.train": "gestray.tokenizers.config:preset",
    "encoder.train": "gestray.encoders.config:preset",
    "generator.train": "gestray.generators.config:preset",
}
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def _load(where: str) -> Any:
    module, attribute = where.split(":")
    return getattr(importlib.import_module(module), attribute)


def stage_named(name: str) -> Stage[Any]:
    """The stage of a name as on the command line, such as ``encoder.train``."""
    if name not in _STAGES:
        raise UserError(f"unknown stage {name!r}; known: {', '.join(_STAGES)}")
    return _load(_STAGES[name])


def stage_config(name: str, values: Mapping[str, Any], where: str) -> Config:
    """The config of a stage from YAML values.

    `preset` and `size`, where the stage has presets, choose the config that the
    other values change.
    """
    values = dict(values)
    if name in _PRESETS:
        preset, size = values.pop("preset", "sma"), values.pop("size", "small")
        if size not in ("small", "paper"):
            raise UserError(f"{where}: size is {size!r}, expected small or paper")
        base = _load(_PRESETS[name])(preset, size)
        values = _merged(base.model_dump(), values)
    config_type = stage_named(name).config_type
    if name not in _PRESETS:
        values = _merged(_defaults_within(config_type, values), values)
    return make_config(config_type, values, where)


def _defaults_within(config_type: type[Config], values: Mapping[str, Any]) -> dict[str, Any]:
    """What the defaults of a config set within those of its parts that `values` change.

    Without it, one value of a part would put the rest back to what the part's own type says.
    """
    return {
        name: field.default.model_dump(exclude_unset=True)
        for name, field in config_type.model_fields.items()
        if isinstance(field.default, Config)
        and type(field.default) is field.annotation
        and isinstance(values.get(name), Mapping)
    }


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        before = merged.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            # What another kind of thing is set to does not suit this one.
            alike = value.get("kind", before.get("kind")) == before.get("kind")
            value = _merged(before, value) if alike else value
        merged[key] = value
    return merged


def check_name(name: str) -> str:
    """An artifact's name: part of its path, so kept to what is safe there."""
    if not _NAME.fullmatch(name):
        raise UserError(
            f"name {name!r}: expected lower-case letters, digits, '.', '_', '-', at most 64"
        )
    return name


def choose_inputs(
    stage: Stage[Any], store: Folder, given: Mapping[str, str], skip: frozenset[str] = frozenset()
) -> dict[str, Artifact]:
    """Inputs by role: the URIs given, and the newest artifact of its kind for any other role.

    `skip` names optional roles the config has no use for.
    """
    chosen = {role: open_artifact(Folder(uri)) for role, uri in given.items()}
    for role, kind in stage.needs.items():
        if role in chosen or role in skip:
            continue
        if role in stage.optional and not artifacts_of_kind(store, kind):
            continue
        chosen[role] = newest(store, kind)
        remarks.print(f"[dim]{role}: newest is {chosen[role].uri}[/dim]", soft_wrap=True)
    return chosen


def run_named(
    stage: str | Stage[Any],
    store: Folder,
    artifact_name: str,
    config: Config,
    inputs: Mapping[str, Artifact],
) -> StageReport:
    """Run a stage and say how it went in one line."""
    stage = stage_named(stage) if isinstance(stage, str) else stage
    remarks.print(f"[bold]{stage.name}[/bold] [dim]{artifact_name}[/dim]")
    report = run_stage(stage, store, check_name(artifact_name), config, inputs)
    manifest = report.artifact.manifest
    if report.up_to_date:
        line = f"  up to date: {report.artifact.uri}"
    else:
        lost = f", {manifest.rows_quarantined} quarantined" if manifest.rows_quarantined else ""
        line = f"  {manifest.rows_out} rows{lost} in {report.seconds:.1f} s: {report.artifact.uri}"
    remarks.print(line, markup=False, soft_wrap=True)
    return report
