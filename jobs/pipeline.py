"""Pipelines: stages chained by name, in a YAML file an operator can read.

    params: {source: null, split: null}
    stages:
      - {stage: ingest.beat2, name: takes, config: {source: $source, split: $split}}
      - {stage: tokenizer.train, name: tokenizer, inputs: {takes: takes}, config: {preset: sma}}

`inputs` names earlier stages (or the URI of an artifact). A value `$param` is
replaced by the parameter. On the command line `source=…` sets a parameter,
`store=…` the store, and `tokenizer.loop.steps=50` a key of the stage `tokenizer`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from gestray.artifacts import Artifact, StageReport, open_artifact
from gestray.config import Config, make_config, parse_overrides, with_overrides
from gestray.errors import UserError
from gestray.store import Folder, default_store
from jobs.stages import check_name, run_named, stage_config, stage_named


class PipelineStage(Config):
    """One stage of a pipeline."""

    stage: str
    name: str
    inputs: dict[str, str] = Field(default_factory=dict)
    config: dict[str, Any] = Field(default_factory=dict)


class Pipeline(Config):
    """A pipeline file."""

    store: str | None = None
    params: dict[str, Any] = Field(default_factory=dict)
    stages: tuple[PipelineStage, ...] = Field(min_length=1)


def shipped() -> list[str]:
    """Names of the pipelines that come with gestray."""
    folder = resources.files("jobs") / "configs"
    return sorted(Path(e.name).stem for e in folder.iterdir() if e.name.endswith(".yaml"))


def load_pipeline(name_or_path: str, overrides: Sequence[str]) -> Pipeline:
    """Read a pipeline file, or one that is shipped, and apply `key.path=value` overrides.

    Raises:
        UserError: no such file, or a key that nothing has.
    """
    if name_or_path in shipped():
        text = (resources.files("jobs") / "configs" / f"{name_or_path}.yaml").read_text()
    elif Path(name_or_path).is_file():
        text = Path(name_or_path).read_text()
    else:
        raise UserError(
            f"pipeline {name_or_path!r}: found no such file; expected a YAML file "
            f"or one of {', '.join(shipped())}"
        )
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{name_or_path}: not YAML: {error}") from None
    if not isinstance(tree, dict):
        raise UserError(f"{name_or_path}: expected a mapping with the key 'stages'")
    pipeline = make_config(Pipeline, tree, name_or_path)
    return _overridden(pipeline, parse_overrides(overrides), name_or_path)


def _overridden(pipeline: Pipeline, overrides: Mapping[str, Any], where: str) -> Pipeline:
    params = dict(pipeline.params)
    stages = {stage.name: stage for stage in pipeline.stages}
    if len(stages) != len(pipeline.stages):
        raise UserError(f"{where}: two stages have the same name")
    store = pipeline.store
    for path, value in overrides.items():
        head, _, rest = path.partition(".")
        if path == "store":
            store = value
        elif path in params:
            params[path] = value
        elif head in stages and rest:
            changed = with_overrides(stages[head].config, {rest: value})
            stages[head] = stages[head].model_copy(update={"config": changed})
        else:
            known = ["store", *params, *(f"{name}.…" for name in stages)]
            raise UserError(f"override {path}: nothing is called so; known: {', '.join(known)}")
    filled = [
        stage.model_copy(update={"config": _filled(stage.config, params, stage.name)})
        for stage in stages.values()
    ]
    return Pipeline(store=store, params=params, stages=tuple(filled))


def _filled(value: Any, params: Mapping[str, Any], stage: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _filled(item, params, stage) for key, item in value.items()}
    if isinstance(value, str) and value.startswith("$"):
        if value[1:] not in params:
            raise UserError(
                f"stage {stage}: no parameter {value[1:]!r}; known: {', '.join(params)}"
            )
        return params[value[1:]]
    return value


def run_pipeline(pipeline: Pipeline) -> list[StageReport]:
    """Run the stages in order; those that are up to date do nothing.

    All names and configs are checked before the first stage starts.
    """
    store = Folder(pipeline.store or default_store())
    configs: list[Config] = []
    known: set[str] = set()
    for stage in pipeline.stages:
        check_name(stage.name)
        stage_named(stage.stage)
        configs.append(stage_config(stage.stage, stage.config, f"stage {stage.name}"))
        for role, source in stage.inputs.items():
            if source not in known and "/" not in source:
                raise UserError(
                    f"stage {stage.name}: input {role}: {source!r} is no earlier stage; "
                    f"known: {', '.join(sorted(known)) or 'none'}"
                )
        known.add(stage.name)
    made: dict[str, Artifact] = {}
    reports = []
    for stage, config in zip(pipeline.stages, configs, strict=True):
        inputs = {
            role: made[source] if source in made else open_artifact(Folder(source))
            for role, source in stage.inputs.items()
        }
        report = run_named(stage.stage, store, stage.name, config, inputs)
        made[stage.name] = report.artifact
        reports.append(report)
    return reports
