"""Sweeps: many trainings of one stage, and the best of them as an artifact like any other.

The study decides (`jobs.sweeps.study`, an actor), processes train (`jobs.sweeps.trial`),
and the driver here keeps the processes busy. What is known lies in the store at
`trials/{study}/`, so the same command goes on where a killed one was.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, get_args

import yaml

from gestray.artifacts import (
    Artifact,
    Stage,
    StageReport,
    StageResult,
    StageRun,
    artifact_folder,
    provenance,
    run_stage,
)
from gestray.config import digest, make_config
from gestray.errors import UserError
from gestray.store import Folder
from gestray.training.checkpoints import CHECKPOINTS
from jobs.cluster import connect
from jobs.display import Tracker, progress, remarks
from jobs.stages import check_name, choose_inputs, stage_named
from jobs.sweeps.config import SweepConfig
from jobs.sweeps.records import (
    RECORD,
    Record,
    State,
    final_params,
    front,
    kept_figures,
    ranked,
    read_records,
    trial_folder,
)
from jobs.sweeps.study import Assignment, Study, importances_of
from jobs.telemetry import gauge

if TYPE_CHECKING:
    from rich.table import Table

    from gestray.reports.sweep import SweepReport

RESULT = "sweep.json"
PIPELINE = "best.yaml"

# What a pipeline does next with what a sweep has found: stage and the role of the model.
_NEXT = {
    "tokenizer.train": ("tokenizer.encode", "tokenizer"),
    "encoder.train": ("encoder.embed", "encoder"),
}


@dataclass(frozen=True)
class SweepOutcome:
    """A sweep and the artifact of its best trial."""

    sweep: StageReport
    best: StageReport


def run_sweep(config: SweepConfig, store: Folder, name: str) -> SweepOutcome:
    """Run a sweep, or go on with one; then make the artifact of its best trial.

    Raises:
        UserError: an input is missing, the cluster is too small, or no trial was completed.
    """
    stage = stage_named(config.stage)
    unused = _unused(stage, config, config.config_of({}, "base"))
    inputs = choose_inputs(stage, store, config.inputs, unused)
    study = store.child(
        "trials", digest([config.study(), {r: a.manifest.identity for r, a in inputs.items()}])
    )
    sweep: Stage[SweepConfig] = Stage(
        name="sweep",
        makes="sweep",
        config_type=SweepConfig,
        run=partial(_sweep, study=study, store=store, name=name),
        needs=stage.needs,
        optional=stage.optional,
    )
    remarks.print(f"[bold]sweep[/bold] [dim]{name}: {config.stage}, {config.count} trials[/dim]")
    report = run_stage(sweep, store, check_name(name), config, inputs)
    best = _best_of(config, stage, study, inputs, read_records(study)[: config.count])
    return SweepOutcome(report, run_stage(best.stage, store, name, best.config, best.inputs))


def _unused(stage: Stage[Any], config: SweepConfig, trained: Any) -> frozenset[str]:
    """Optional roles that a config has no use for, and that were not given either."""
    objectives, motion = (getattr(trained.model, name, None) for name in ("objectives", "motion"))
    used = set(config.inputs)
    if objectives is not None and objectives.needs_anchors:
        used.add("anchors")
    if motion is not None and motion.input == "tokens":
        used.add("tokenizer")
    return stage.optional - used


def _sweep(run: StageRun[SweepConfig], study: Folder, store: Folder, name: str) -> StageResult:
    config = run.config
    records = _drive(config, study, run.inputs)
    if not ranked(records, config):
        failed = next((r.why for r in records if r.state == "failed"), None)
        why = f"the first failure was: {failed}" if failed else "give it more budget_hours"
        raise UserError(f"no trial of the sweep was completed; {why}")
    from gestray.reports.sweep import render

    best = _best_of(config, stage_named(config.stage), study, run.inputs, records)
    result = {"best": best.record.number, "trials": [record.model_dump() for record in records]}
    run.folder.write_bytes(json.dumps(result, indent=1).encode(), RESULT)
    page = render(_report(config, records, run.inputs, name))
    run.folder.write_bytes(page.encode(), "report.html")
    run.folder.write_bytes(_pipeline(config, best, store, name).encode(), PIPELINE)
    return StageResult(len(records), len(records), 0, _metrics(config, records, best.record))


def _metrics(config: SweepConfig, records: list[Record], best: Record) -> dict[str, Any]:
    states = [record.state for record in records]
    base = config.config_of({}, "base")
    found: dict[str, Any] = {
        "trials": len(records),
        "complete": states.count("complete"),
        "stopped": states.count("stopped"),
        "failed": states.count("failed"),
        "device_hours": sum(record.seconds for record in records)
        * (config.resources.gpus or config.resources.cpus)
        / 3600,
        "steps": sum(record.steps for record in records),
        "best.trial": best.number,
    }
    figures = kept_figures(best, base.loop.keep)
    found |= {f"best.{metric}": figures[metric] for metric in config.metrics}
    values = config.values(final_params(best))
    return found | {f"best.{key}": _plain(value) for key, value in values.items()}


def _plain(value: Any) -> Any:
    return value if isinstance(value, int | float | str | bool) else json.dumps(value)


# The driver.


def _drive(config: SweepConfig, folder: Folder, inputs: Mapping[str, Artifact]) -> list[Record]:
    """Keep so many trials running until the study has no more."""
    known = read_records(folder)
    if known:
        ended = sum(record.state != "running" for record in known)
        remarks.print(f"  going on: {ended} of {config.count} trials have ended before")
    if sum(record.state != "running" for record in known) >= config.count:
        return known[: config.count]
    connect()
    import ray
    from ray.exceptions import RayActorError, RayTaskError

    _check_resources(config, ray.nodes())
    study: Any = ray.remote(num_cpus=0)(_study_type(config)).remote(config, folder)
    idle: list[Any] = []  # processes
    running: dict[Any, tuple[Any, Assignment]] = {}

    def new_process() -> Any:
        from jobs.sweeps.trial import TrialProcess

        held = config.resources
        actor = ray.remote(num_cpus=held.cpus, num_gpus=held.gpus)(TrialProcess)
        device = "cuda" if held.gpus else "cpu"
        return actor.remote(config, folder, inputs, study, device, max(1, int(held.cpus)))

    with progress(f"sweep {config.stage}", config.count) as track:
        while True:
            while len(running) < config.concurrent:
                assignment = ray.get(study.next.remote())
                if assignment is None:
                    break
                process = idle.pop() if idle else new_process()
                running[process.run.remote(assignment)] = (process, assignment)
            if not running:
                break
            over, _ = ray.wait(list(running), timeout=1.0)
            for ref in over:
                process, assignment = running.pop(ref)
                try:
                    ray.get(ref)
                    idle.append(process)
                except (RayActorError, RayTaskError) as error:
                    why = str(error).strip().splitlines()[-1]
                    remarks.print(f"trial {assignment.number}: {why}", markup=False, style="yellow")
                    ray.get(study.lost.remote(assignment.number, why))
                    ray.kill(process)
            found = ray.get(study.all_records.remote())
            _show(track, found, config)
            _tell(folder.name, found, config)
    records = ray.get(study.all_records.remote())
    for process in [*idle, study]:
        ray.kill(process)
    return records


def _study_type(config: SweepConfig) -> type[Study]:
    if config.search != "pbt":
        return Study
    from jobs.sweeps.population import PopulationStudy

    return PopulationStudy


def _check_resources(config: SweepConfig, nodes: list[dict[str, Any]]) -> None:
    """Whether a node can hold a trial.

    Raises:
        UserError: none can.
    """
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    held = config.resources
    fits = [n for n in alive if n.get("CPU", 0) >= held.cpus and n.get("GPU", 0) >= held.gpus]
    if not fits:
        has = "; ".join(f"{n.get('CPU', 0):g} CPUs, {n.get('GPU', 0):g} GPUs" for n in alive)
        raise UserError(
            f"a trial holds {held.cpus:g} CPUs and {held.gpus:g} GPUs, and no node of the cluster "
            f"has as many ({has}); lower resources.cpus or resources.gpus"
        )


def _show(track: Tracker, records: list[Record], config: SweepConfig) -> None:
    states = [record.state for record in records]
    ended = len(states) - states.count("running")
    note = f"{states.count('running')} running, {states.count('stopped')} stopped early"
    if states.count("failed"):
        note += f", {states.count('failed')} failed"
    if best := ranked(records, config):
        keep = config.config_of({}, "base").loop.keep
        metric = next(iter(config.metrics))
        note += (
            f", best {metric} {kept_figures(best[0], keep)[metric]:.4g} (trial {best[0].number})"
        )
    track(ended, note)


def _tell(sweep: str, records: list[Record], config: SweepConfig) -> None:
    """How far the sweep is, for Ray's metrics."""
    states = Counter(record.state for record in records)
    for state in get_args(State):
        gauge("gestray_sweep_trials", states[state], sweep=sweep, state=state)
    if best := ranked(records, config):
        figures = kept_figures(best[0], config.config_of({}, "base").loop.keep)
        for figure in config.metrics:
            gauge("gestray_sweep_best", figures[figure], sweep=sweep, figure=figure)


# The best trial.


@dataclass(frozen=True)
class _Best:
    """What the artifact of the best trial is made with, as `run_stage` takes it."""

    record: Record
    stage: Stage[Any]
    config: Any
    inputs: Mapping[str, Artifact]


def _best_of(
    config: SweepConfig,
    stage: Stage[Any],
    study: Folder,
    inputs: Mapping[str, Artifact],
    records: list[Record],
) -> _Best:
    """The best trial as an artifact of its stage, which then has nothing to do for this config."""
    best = ranked(records, config)[0]
    trained = config.config_of(config.values(final_params(best)), "best trial")

    def adopt(run: StageRun[Any]) -> StageResult:
        trial = trial_folder(study, best.number)
        for file in trial.list():
            if file in (RECORD, CHECKPOINTS):
                continue
            data = trial.read_bytes(file)
            if file.endswith(".md"):  # a card says where its model is
                data = data.replace(trial.uri.encode(), run.folder.uri.encode())
            run.folder.write_bytes(data, file)
        assert best.result is not None
        metrics = {**best.result.metrics, "sweep.trial": best.number}
        return replace(best.result, metrics=metrics)

    adopting = replace(stage, run=adopt)
    if best.changes:
        # No one config trained it, so none must find it and do nothing.
        adopting = replace(adopting, fingerprint=lambda _: [study.name, best.number])
    # As the stage is given them when run by itself.
    unused = _unused(stage, config, trained)
    inputs = {role: artifact for role, artifact in inputs.items() if role not in unused}
    return _Best(best, adopting, trained, inputs)


def _pipeline(config: SweepConfig, best: _Best, store: Folder, name: str) -> str:
    """A pipeline that goes on from the best trial, for `gestray run`."""
    values = config.values(final_params(best.record))
    used = {role: artifact.uri for role, artifact in best.inputs.items()}
    model = name
    stages: list[dict[str, Any]] = []
    if best.record.changes:
        model = artifact_folder(best.stage, store, name, best.config, best.inputs)[0].uri
    else:
        tree = json.loads(json.dumps(config.tree(values)))
        stages.append({"stage": config.stage, "name": name, "inputs": used, "config": tree})
    if config.stage in _NEXT:
        stage, role = _NEXT[config.stage]
        next_inputs = {"takes": used["takes"], role: model}
        next_name = f"{name}-{stage.split('.')[1]}"
        stages.append({"stage": stage, "name": next_name, "inputs": next_inputs})
    head = f"# Trial {best.record.number}, the best of the sweep {name}, and what comes next.\n"
    return head + yaml.safe_dump({"store": store.uri, "stages": stages}, sort_keys=False)


# The report.


def outcome_table(sweep: Artifact) -> Table:
    """The trials of a sweep's artifact, for the terminal."""
    from gestray.reports.sweep import sweep_table

    manifest = sweep.manifest
    config = make_config(SweepConfig, manifest.config, sweep.uri)
    trials = json.loads(sweep.folder.read_bytes(RESULT))["trials"]
    records = [Record.model_validate(trial) for trial in trials]
    inputs = {role: sweep.input(role) for role in manifest.inputs}
    return sweep_table(_report(config, records, inputs, manifest.name))


def _report(
    config: SweepConfig, records: list[Record], inputs: Mapping[str, Artifact], name: str
) -> SweepReport:
    from gestray.reports.sweep import Axis, SweepReport, SweepTrial

    keep = config.config_of({}, "base").loop.keep
    trials = [
        SweepTrial(
            number=record.number,
            state=record.state,
            why=record.why or "",
            steps=record.steps,
            seconds=record.seconds,
            values=config.values(final_params(record)),
            figures=kept_figures(record, keep) if record.figures else {},
            curve={
                step: figures[next(iter(config.metrics))]
                for step, figures in sorted(record.figures.items())
            },
        )
        for record in records
    ]
    axes = [
        Axis(key, dimension.is_log, None if dimension.choice is None else list(dimension.choice))
        for key, dimension in config.space.items()
    ]
    step, importances = importances_of(config, records)
    sources: dict[str, Artifact] = {}
    for artifact in inputs.values():
        sources |= {made.uri: made for made in provenance(artifact)}
    steps = [(a.manifest.stage, uri, a.manifest.seconds) for uri, a in sources.items()]
    return SweepReport(
        title=f"{name}: {config.stage}",
        synthetic=any(stage == "corpus.synth" for stage, _, _ in steps),
        metrics=config.metrics,
        axes=axes,
        trials=trials,
        ranking=[record.number for record in ranked(records, config)],
        front=front(records, config),
        importances=importances,
        importances_step=step,
        search=f"{config.search}, {'ASHA' if config.scheduler == 'asha' else 'no early stopping'}",
        provenance=steps,
    )
