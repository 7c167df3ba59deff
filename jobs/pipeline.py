"""Pipelines: stages chained by name, in a YAML file an operator can read.

    params: {source: null, split: null}
    stages:
      - {stage: ingest.beat2, name: takes, config: {source: $source, split: $split}}
      - {stage: tokenizer.train, name: tokenizer, inputs: {takes: takes}, config: {preset: sma}}

`inputs` names earlier stages (or the URI of an artifact). A value `$param` is
replaced by the parameter. On the command line `source=…` sets a parameter,
`store=…` the store, and `tokenizer.loop.steps=50` a key of the stage `tokenizer`.

A stage with `foreach` stands for many (`jobs.foreach`). These do not wait for each other
where they need not: `processes` of them run side by side (`jobs.side_by_side`).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from gestray.artifacts import StageReport
from gestray.config import Config, make_config, parse_overrides, with_overrides
from gestray.errors import UserError
from gestray.store import Folder, default_store
from jobs import shipped
from jobs.foreach import Values, combinations, filled, gathered
from jobs.side_by_side import Task, run_tasks
from jobs.stages import check_name, stage_config, stage_named


class PipelineStage(Config):
    """One stage of a pipeline, or with `foreach` many."""

    stage: str
    name: str
    foreach: str | dict[str, Any] | list[dict[str, Any]] | None = None
    inputs: dict[str, str] = Field(default_factory=dict)
    config: dict[str, Any] = Field(default_factory=dict)


class Pipeline(Config):
    """A pipeline file.

    Args:
        store: where artifacts lie; the default store otherwise.
        processes: stages of a `foreach` that run at once, each in a process of its own.
        params: what may be set from outside, with defaults.
    """

    store: str | None = None
    processes: int = Field(1, ge=1)
    params: dict[str, Any] = Field(default_factory=dict)
    stages: tuple[PipelineStage, ...] = Field(min_length=1)


def load_pipeline(name_or_path: str, overrides: Sequence[str]) -> Pipeline:
    """Read a pipeline file, or one that is shipped, and apply `key.path=value` overrides.

    Raises:
        UserError: no such file, or a key that nothing has.
    """
    tree = shipped.read("pipeline", name_or_path, shipped.PIPELINES, "key 'stages'")
    pipeline = make_config(Pipeline, tree, name_or_path)
    return _overridden(pipeline, parse_overrides(overrides), name_or_path)


def _overridden(pipeline: Pipeline, overrides: Mapping[str, Any], where: str) -> Pipeline:
    params = dict(pipeline.params)
    stages = list(pipeline.stages)
    plain = [stage.name for stage in stages if stage.foreach is None]
    if len(set(plain)) != len(plain):
        raise UserError(f"{where}: two stages have the same name")
    update: dict[str, Any] = {"store": pipeline.store, "processes": pipeline.processes}
    for path, value in overrides.items():
        head, _, rest = path.partition(".")
        if path in update:
            update[path] = value
        elif path in params:
            params[path] = value
        elif rest and any(stage.name == head for stage in stages):
            stages = [
                stage.model_copy(update={"config": with_overrides(stage.config, {rest: value})})
                if stage.name == head
                else stage
                for stage in stages
            ]
        else:
            known = [*update, *params, *(f"{name}.…" for name in plain)]
            raise UserError(f"override {path}: nothing is called so; known: {', '.join(known)}")
    stages = [
        stage.model_copy(
            update={
                "config": _filled(stage.config, params, stage.name),
                "foreach": _filled(stage.foreach, params, stage.name),
            }
        )
        for stage in stages
    ]
    values = {**update, "params": params, "stages": [stage.model_dump() for stage in stages]}
    return make_config(Pipeline, values, where)


def expanded(pipeline: Pipeline) -> list[PipelineStage]:
    """The stages that a pipeline runs: those with `foreach` one by one.

    Raises:
        UserError: a placeholder or the name of earlier stages is wrong, or a name is made twice.
    """
    known: dict[str, list[Values]] = {}
    stages: list[PipelineStage] = []
    for stage in pipeline.stages:
        each: list[Values] = [{}]
        if stage.foreach is not None:
            each = combinations(stage.foreach, stage.name, known)
            known.setdefault(stage.name, []).extend(each)
        for values in each:
            if stage.foreach is None:
                update: dict[str, Any] = {"inputs": dict(gathered(stage.inputs, known, stage.name))}
            else:
                templates = {"name": stage.name, "inputs": stage.inputs, "config": stage.config}
                update = filled(templates, values, stage.name)
            made = stage.model_copy(update=update)
            if any(other.name == made.name for other in stages):
                raise UserError(f"stage {made.name}: made twice; give the two different names")
            stages.append(made)
    return stages


def _filled(value: Any, params: Mapping[str, Any], stage: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _filled(item, params, stage) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, params, stage) for item in value]
    if isinstance(value, str) and value.startswith("$"):
        if value[1:] not in params:
            raise UserError(
                f"stage {stage}: no parameter {value[1:]!r}; known: {', '.join(params)}"
            )
        return params[value[1:]]
    return value


def check_pipeline(pipeline: Pipeline) -> dict[str, Config]:
    """Check all names and configs; returns the config of each stage by its name.

    Raises:
        UserError: the first mistake found.
    """
    configs: dict[str, Config] = {}
    for stage in expanded(pipeline):
        check_name(stage.name)
        stage_named(stage.stage)
        for role, source in stage.inputs.items():
            if source not in configs and "/" not in source:
                raise UserError(
                    f"stage {stage.name}: input {role}: {source!r} is no earlier stage; "
                    f"known: {', '.join(sorted(configs)) or 'none'}"
                )
        configs[stage.name] = stage_config(stage.stage, stage.config, f"stage {stage.name}")
    return configs


def run_pipeline(pipeline: Pipeline) -> list[StageReport]:
    """Run the stages in order; those that are up to date do nothing.

    All names and configs are checked before the first stage starts.
    """
    store = Folder(pipeline.store or default_store())
    configs = check_pipeline(pipeline)
    reports: dict[str, StageReport] = {}
    groups = itertools.groupby(expanded(pipeline), lambda stage: stage.foreach is not None)
    for is_foreach, group in groups:
        tasks = [
            Task(stage.stage, stage.name, configs[stage.name], stage.inputs) for stage in group
        ]
        run_tasks(tasks, store, pipeline.processes if is_foreach else 1, reports)
    return list(reports.values())
