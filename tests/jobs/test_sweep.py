"""Sweeps: checked before they start, stopped early, killed anywhere, and right about the winner."""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from gestray.artifacts import Stage, StageResult, open_artifact, run_stage
from gestray.config import Config, make_config
from gestray.errors import UserError
from gestray.store import Folder
from jobs import shipped
from jobs.sweeps.config import SweepConfig, check_sweep, load_sweep
from jobs.sweeps.population import PopulationStudy
from jobs.sweeps.records import front, ranked, read_records
from jobs.sweeps.study import Assignment, Study, importances_of

# A tokenizer that learns in seconds.
TINY: dict[str, Any] = {
    "preset": "semges",
    "model": {"width": 32, "code_dim": 16, "codebook_size": 16},
    "loop": {
        "steps": 48,
        "batch_size": 16,
        "learning_rate": 1e-3,
        "warmup_steps": 0,
        "schedule": "constant",
        "validate_every": 3,
        "validate_batches": 2,
        "checkpoint_every": 6,
    },
}


def sweep(**changes: Any) -> SweepConfig:
    values = {
        "stage": "tokenizer.train",
        "base": TINY,
        "space": {"loop.learning_rate": {"loguniform": [1e-5, 1e-1]}},
        "search": "random",
        "trials": 8,
    }
    return make_config(SweepConfig, {**values, **changes}, "sweep.yaml")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"space": {"loop.learning_rat": {"uniform": [0, 1]}}}, "did you mean 'learning_rate'"),
        ({"space": {"loop.ema_decay": {"uniform": [0.5, 1]}}}, "less than 1"),
        ({"space": {"loop.steps": {"int": [0, 9]}}}, "greater than or equal to 1"),
        ({"space": {"model.width": {"choice": [32, "wide"]}}}, "'model.width': found 'wide'"),
        ({"space": {"loop.seed": {"integer": [0, 9], "choice": [1]}}}, "exactly one of"),
        ({"space": {"loop.learning_rate": {"loguniform": [0, 1]}}}, "a logarithm needs more"),
        ({"space": {"loop.seed": {"int": [3, 3]}}}, "nothing to try"),
        ({"search": "grid"}, "a grid needs points"),
        ({"stage": "index.build", "base": {}}, "trains no model|unknown key"),
        ({"trials": None}, "needs trials"),
        ({"scheduler": "asha", "metrics": {"val.loss": "min", "loss": "min"}}, "by one metric"),
        ({"base": {**TINY, "loop": {"steps": 5}}}, "set base.loop.validate_every"),
        ({"search": "pbt", "space": {"model.width": {"int": [8, 64]}}}, "must stay; it can change"),
        ({"search": "pbt", "pbt": {"every": 10}}, "set pbt.every=12"),
    ],
)
def test_mistakes_are_found_before_anything_starts(changes, message):
    with pytest.raises(UserError, match=message):
        check_sweep(sweep(**changes), "sweep.yaml")


def test_every_shipped_sweep_is_valid():
    assert shipped.names(shipped.SWEEPS) == ["encoder", "tokenizer"]
    for name in shipped.names(shipped.SWEEPS):
        config, store = load_sweep(name, ["trials=3", "store=/tmp/x"])
        assert (config.trials, store) == (3, "/tmp/x")
    config, _ = load_sweep("encoder", ["search=pbt", "scheduler=none"])
    assert config.search == "pbt"


def test_a_grid_is_every_combination_once():
    config = sweep(
        search="grid",
        trials=None,
        space={
            "loop.learning_rate": {"loguniform": [1e-4, 1e-2], "points": 3},
            "model.quantizers": {"int": [1, 3]},
            "model.parts": {"choice": [["body", "hands"], ["hands"]]},
        },
    )
    check_sweep(config, "sweep.yaml")
    tried = [config.values(params) for params in config.combinations()]
    assert config.count == len(tried) == 18
    assert len({json.dumps(values, sort_keys=True) for values in tried}) == 18
    rates = sorted({values["loop.learning_rate"] for values in tried})
    assert rates == pytest.approx([1e-4, 1e-3, 1e-2])
    assert {tuple(values["model.parts"]) for values in tried} == {("body", "hands"), ("hands",)}


def curve(assignment: Assignment, step: int) -> float:
    """Made up: the nearer the rate is to 1e-3, the lower, at every step."""
    distance = abs(math.log10(assignment.values["loop.learning_rate"]) + 3)
    return (1 + distance) / step**0.5


def play(study: Study, stop_after: int | None = None, at_a_time: int = 2) -> list[tuple[int, int]]:
    """Run assignments side by side; returns (trial, step) of every report, in order."""
    told: list[tuple[int, int]] = []
    running: list[tuple[Assignment, int]] = []
    while True:
        while len(running) < at_a_time and (assignment := study.next()) is not None:
            first = study.records[assignment.number].steps
            running.append((assignment, assignment.source[1] if assignment.source else first))
        if not running:
            return told
        assignment, step = running.pop(0)
        step += 3
        told.append((assignment.number, step))
        why = study.report(assignment.number, step, {"val.loss": curve(assignment, step)}, 1.0)
        if why is not None:
            study.end(assignment.number, 1.0, "stopped", why)
        elif step >= (assignment.until or 48):
            study.end(assignment.number, 1.0, "complete")
        else:
            running.append((assignment, step))
        if len(told) == stop_after:
            return told


@pytest.mark.parametrize("search", ["random", "tpe", "grid"])
def test_asha_stops_trials_that_fall_behind_and_never_the_best(tmp_path, search):
    space = {"loop.learning_rate": {"loguniform": [1e-5, 1e-1], "points": 16}}
    config = sweep(search=search, trials=16, scheduler="asha", space=space)
    study = Study(config, Folder(str(tmp_path)))
    told = play(study)
    assert len(study.records) == 16
    assert len(told) < 16 * 16 / 2
    states = [record.state for record in study.records]
    assert states.count("stopped") >= 8 and states.count("complete") >= 1
    rates = {r.number: r.params["loop.learning_rate"] for r in study.records}
    best = min(rates, key=lambda number: abs(math.log10(rates[number]) + 3))
    assert ranked(study.records, config)[0].number == best
    assert all(
        record.why == "behind others" for record in study.records if record.state == "stopped"
    )


@pytest.mark.parametrize("search", ["random", "tpe", "grid"])
@pytest.mark.parametrize("cut", [1, 13, 40])
def test_a_study_that_was_cut_off_goes_on_as_if_it_had_not(tmp_path, search, cut):
    """One trial at a time, so that the order of things is the same."""
    space = {
        "loop.learning_rate": {"loguniform": [1e-5, 1e-1], "points": 6},
        "model.quantizers": {"choice": [1, 2]},
    }
    config = sweep(search=search, trials=12, scheduler="asha", space=space)
    whole, rest = (Folder(str(tmp_path / name)) for name in ("whole", "rest"))
    told = play(Study(config, whole), at_a_time=1)
    before = play(Study(config, rest), stop_after=cut, at_a_time=1)
    after = play(Study(config, rest), at_a_time=1)
    assert before + after == told
    assert [r.model_dump(exclude={"seconds"}) for r in read_records(rest)] == [
        r.model_dump(exclude={"seconds"}) for r in read_records(whole)
    ]


def test_more_trials_go_on_from_those_there_are(tmp_path):
    folder = Folder(str(tmp_path))
    few, more = sweep(trials=4), sweep(trials=6)
    assert few.study() == more.study() != sweep(seed=1).study()
    play(Study(few, folder))
    told = play(Study(more, folder))
    assert {number for number, _ in told} == {4, 5}


def test_a_spent_budget_stops_what_runs_and_begins_nothing(tmp_path):
    """Each report and end of the made-up trials is a second of one CPU."""
    folder = Folder(str(tmp_path))
    study = Study(sweep(trials=50, budget_hours=5 / 3600), folder)
    play(study)
    assert 0 < len(study.records) < 10
    assert study.records[-1].why == "out of budget"
    more = Study(sweep(trials=50, budget_hours=1), folder)
    assert more.next().number == len(study.records)


def test_a_lost_process_is_gone_on_with_until_it_is_too_much(tmp_path):
    study = Study(sweep(max_failures=1), Folder(str(tmp_path)))
    first = study.next()
    study.lost(first.number, "killed")
    assert study.next().number == first.number
    study.lost(first.number, "killed again")
    assert study.next().number == 1
    record = read_records(study.folder)[0]
    assert (record.state, record.why, record.failures) == ("failed", "killed again", 2)


def test_the_front_of_two_metrics_and_what_matters(tmp_path):
    """Loss falls with the rate's distance, speed with the depth; only the rate changes the loss."""
    space = {
        "loop.learning_rate": {"loguniform": [1e-5, 1e-1]},
        "model.quantizers": {"int": [1, 10]},
    }
    metrics = {"val.loss": "min", "samples_per_s": "max"}
    config = sweep(search="tpe", trials=40, metrics=metrics, space=space)
    study = Study(config, Folder(str(tmp_path)))
    while (assignment := study.next()) is not None:
        figures = {
            "val.loss": curve(assignment, 9),
            "samples_per_s": 100.0 / assignment.values["model.quantizers"],
        }
        study.report(assignment.number, 9, figures, 1.0)
        study.end(assignment.number, 1.0, "complete")
    records = study.records
    best = front(records, config)
    assert ranked(records, config)[0].number in best
    fastest = max(records, key=lambda r: (r.figures[9]["samples_per_s"], -r.figures[9]["val.loss"]))
    assert fastest.number in best
    for number in best:
        mine = records[number].figures[9]
        assert not any(
            r.figures[9]["val.loss"] < mine["val.loss"]
            and r.figures[9]["samples_per_s"] > mine["samples_per_s"]
            for r in records
        )
    step, shares = importances_of(config, records)
    assert step == 9
    assert shares["loop.learning_rate"] > 0.8


def test_a_population_takes_over_from_its_best(tmp_path):
    config = sweep(search="pbt", trials=8, pbt={"every": 12})
    folder = Folder(str(tmp_path))
    before = play(PopulationStudy(config, folder), stop_after=45, at_a_time=3)
    study = PopulationStudy(config, folder)
    play(study, at_a_time=3)
    assert before and {record.state for record in study.records} == {"complete"}
    assert {record.steps for record in study.records} == {48}
    changes = [(record, change) for record in study.records for change in record.changes]
    assert {change.step for _, change in changes} == {12, 24, 36}
    assert len(changes) == 3 * 2  # a quarter of eight, after each of three generations
    for record, change in changes:
        source = study.records[change.source]
        at = change.step
        assert source.figures[at]["val.loss"] < record.figures[at]["val.loss"]
        theirs = [c.params for c in source.changes if c.step < at]
        rate = (theirs[-1] if theirs else source.params)["loop.learning_rate"]
        low, high = config.space["loop.learning_rate"].ends
        allowed = [min(max(rate * factor, low), high) for factor in (1.2, 1 / 1.2)]
        assert change.params["loop.learning_rate"] == pytest.approx(
            min(allowed, key=lambda x: abs(x - change.params["loop.learning_rate"]))
        )


# On a cluster.


@pytest.fixture
def store(takes, tmp_path) -> Folder:
    """A store that holds the session's takes as an artifact."""

    def copy(run: Any) -> StageResult:
        run.folder.upload(Path(takes.path()))
        return StageResult(12, 12)

    folder = Folder(str(tmp_path / "store"))
    stage: Stage[Any] = Stage("ingest.beat2", "takes", Config, copy)
    run_stage(stage, folder, "takes", Config(), {})
    return folder


def sweep_file(folder: Path, **changes: Any) -> Path:
    file = folder / "tiny.yaml"
    file.write_text(yaml.safe_dump(sweep(**changes).model_dump(mode="json", exclude_none=True)))
    return file


# Known beforehand: the more levels of the more codes, the less is lost.
GRID = {
    "search": "grid",
    "trials": None,
    "scheduler": "asha",
    "asha": {"first": 3, "factor": 4},
    "space": {
        "model.quantizers": {"choice": [1, 2, 4, 8]},
        "model.codebook_size": {"choice": [2, 4, 8, 16]},
    },
}


def kill_in_the_middle(process: Any, records: Callable[[], list[Any]], ended: int) -> None:
    """SIGKILL the driver when so many trials have ended and another is on its way."""
    import time

    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        known = records()
        done = sum(record.state != "running" for record in known)
        if done >= ended and any(r.state == "running" and r.steps for r in known):
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    assert process.returncode == -signal.SIGKILL, process.stderr.read()


def check_resumed(store: Folder, before: list[Any], report: dict[str, Any]) -> list[Any]:
    """Trials that had ended were not touched again; returns all records, as they are now."""
    (study,) = store.list("trials")
    after = read_records(store.child(study))
    for record in before:
        if record.state != "running":
            assert after[record.number] == record
    assert report["metrics"]["trials"] == len(after)
    return after


@pytest.mark.ray
def test_a_killed_sweep_goes_on_and_its_best_is_an_artifact_like_any_other(
    store, tmp_path, gestray, start, ray_cluster
):
    base = {**TINY, "loop": {**TINY["loop"], "steps": 12}}
    space = {
        "model.codebook_size": {"choice": [2, 4, 16]},
        "model.quantizers": {"choice": [1, 4]},
    }
    file = sweep_file(tmp_path, **{**GRID, "base": base, "space": space, "concurrent": 1})
    command = ("sweep", file, f"store={store.uri}", "--json")

    def records() -> list[Any]:
        studies = store.list("trials")
        return read_records(store.child(studies[0])) if studies else []

    kill_in_the_middle(start(*command), records, 2)
    before = records()
    outcome = gestray(*command)
    assert outcome.code == 0, outcome.err
    assert "trials have ended before" in outcome.err
    report = outcome.json
    check_resumed(store, before, report)
    assert report["metrics"]["stopped"] >= 2
    artifact = open_artifact(Folder(report["artifact"]))
    page = artifact.folder.read_bytes("report.html").decode()
    assert "Parallel coordinates" in page and "Synthetic" not in page.split("<h1>")[0][-200:]
    best = open_artifact(Folder(report["best_artifact"]), "tokenizer")
    for key in ("codebook_size", "quantizers"):
        assert best.manifest.config["model"][key] == report["metrics"][f"best.model.{key}"]

    # The pipeline finds the model made, and goes on from it.
    run = gestray("run", artifact.folder.path("best.yaml"), "--json")
    assert run.code == 0, run.err
    first, second = run.json["stages"]
    assert (first["stage"], first["up_to_date"], first["artifact"]) == (
        "tokenizer.train", True, best.uri,
    )  # fmt: skip
    assert (second["stage"], second["up_to_date"]) == ("tokenizer.encode", False)
    again = gestray(*command).json
    assert again["up_to_date"] and again["best_artifact"] == best.uri


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_sixteen_trials_with_asha_name_the_winner_of_the_whole_grid(
    store, tmp_path, gestray, start, ray_cluster
):
    """The exhaustive grid is the judge. Two trials at a time, killed in the middle, in 10 min."""
    import time

    file = sweep_file(tmp_path, **GRID)
    command = ("sweep", file, f"store={store.uri}", "--json")

    def records() -> list[Any]:
        studies = store.list("trials")
        return read_records(store.child(studies[0])) if studies else []

    began = time.monotonic()
    kill_in_the_middle(start(*command), records, 8)
    before = records()
    outcome = gestray(*command)
    seconds = time.monotonic() - began
    assert outcome.code == 0, outcome.err
    after = check_resumed(store, before, outcome.json)
    metrics = outcome.json["metrics"]
    print(f"\nASHA: {seconds:.0f} s, {metrics['stopped']} of 16 stopped, {metrics['steps']} steps")
    assert seconds < 600
    assert len(after) == 16 and metrics["stopped"] >= 8

    whole = gestray(*command, "scheduler=none")
    assert whole.code == 0, whole.err
    judge = whole.json["metrics"]
    print(f"grid: {judge['steps']} steps")
    for key in ("best.model.codebook_size", "best.model.quantizers", "best.val.loss"):
        print(key, metrics[key], judge[key])
        assert metrics[key] == judge[key]
    assert (judge["best.model.codebook_size"], judge["best.model.quantizers"]) == (16, 8)
    assert metrics["steps"] < judge["steps"] / 2


@pytest.mark.ray
@pytest.mark.slow
def test_a_population_trains_and_its_best_is_exported(store, tmp_path, gestray, ray_cluster):
    space = {"loop.learning_rate": {"loguniform": [1e-5, 1e-2]}}
    base = {**TINY, "loop": {**TINY["loop"], "steps": 24}}
    file = sweep_file(tmp_path, search="pbt", trials=4, pbt={"every": 12}, space=space, base=base)
    outcome = gestray("sweep", file, f"store={store.uri}", "--json")
    assert outcome.code == 0, outcome.err
    metrics = outcome.json["metrics"]
    assert (metrics["complete"], metrics["steps"]) == (4, 96)
    (study,) = store.list("trials")
    records = read_records(store.child(study))
    changed = [record for record in records if record.changes]
    assert len(changed) == 1
    log = Folder(outcome.json["best_artifact"]).read_bytes("log.jsonl").splitlines()
    assert [json.loads(line)["step"] for line in log][-1] == 24


def test_a_trial_no_node_can_hold_is_refused():
    from jobs.sweep import _check_resources

    nodes = [
        {"Alive": True, "Resources": {"CPU": 8.0}},
        {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}},
    ]
    _check_resources(sweep(resources={"cpus": 8}), nodes)
    with pytest.raises(UserError, match=r"8 CPUs, 0 GPUs.*lower resources"):
        _check_resources(sweep(resources={"gpus": 1}), nodes)
