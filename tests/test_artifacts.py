"""Artifacts: a stage runs once, a half-written one is never read, no row is lost."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime

import pytest

from gestray.artifacts import (
    MANIFEST,
    Stage,
    StageResult,
    newest,
    open_artifact,
    provenance,
    run_stage,
)
from gestray.config import Config
from gestray.errors import UserError
from gestray.store import Folder


class Numbers(Config):
    count: int = 3


def counting(makes="numbers", needs=None, result=None, **options):
    """A stage that writes a file, and the list of times it ran."""
    calls = []

    def run(context):
        calls.append(context.config)
        context.folder.write_bytes(b"x" * context.config.count, "data")
        return result or StageResult(context.config.count, context.config.count, 0, {"a.b": 1.5})

    return Stage(f"make.{makes}", makes, Numbers, run, needs or {}, **options), calls


@pytest.fixture
def store(tmp_path) -> Folder:
    return Folder(str(tmp_path))


def test_a_stage_that_is_up_to_date_does_nothing(store):
    stage, calls = counting()
    first = run_stage(stage, store, "n", Numbers(), {})
    again = run_stage(stage, store, "n", Numbers(), {})
    assert len(calls) == 1
    assert (first.up_to_date, again.up_to_date) == (False, True)
    assert again.artifact.uri == first.artifact.uri
    run_stage(stage, store, "n", Numbers(count=4), {})
    assert len(calls) == 2


def test_the_manifest_says_what_the_artifact_is(store):
    source, _ = counting()
    made = run_stage(source, store, "n", Numbers(), {}).artifact
    stage, _ = counting("sums", {"numbers": "numbers"})
    report = run_stage(stage, store, "s", Numbers(count=2), {"numbers": made})
    manifest = json.loads(report.artifact.folder.read_bytes(MANIFEST))
    assert manifest["kind"] == "sums"
    assert manifest["config"] == {"count": 2}
    assert manifest["inputs"]["numbers"]["uri"] == made.uri
    assert (manifest["rows_in"], manifest["rows_out"]) == (2, 2)
    assert manifest["metrics"] == {"a.b": 1.5}
    datetime.fromisoformat(manifest["created"])
    assert [a.manifest.kind for a in provenance(report.artifact)] == ["numbers", "sums"]


def test_another_input_makes_another_artifact(store):
    source, _ = counting()
    stage, calls = counting("sums", {"numbers": "numbers"})
    for count in (1, 2):
        made = run_stage(source, store, "n", Numbers(count=count), {}).artifact
        run_stage(stage, store, "s", Numbers(), {"numbers": made})
    assert len(calls) == 2


@pytest.mark.parametrize("resumes", [False, True])
def test_what_a_killed_run_left_is_no_artifact(store, resumes):
    stage, calls = counting(resumes=resumes)
    folder = run_stage(stage, store, "n", Numbers(), {}).artifact.folder
    (folder.filesystem).delete_file(folder.path(MANIFEST))
    folder.write_bytes(b"half", "leftover")
    with pytest.raises(UserError, match=r"found no manifest\.json"):
        open_artifact(folder)
    with pytest.raises(UserError, match="no artifact of kind 'numbers'"):
        newest(store, "numbers")
    run_stage(stage, store, "n", Numbers(), {})
    assert len(calls) == 2
    assert folder.exists("leftover") == resumes


def test_lost_rows_are_an_error_and_leave_no_artifact(store):
    stage, _ = counting(result=StageResult(rows_in=10, rows_out=8, rows_quarantined=1))
    with pytest.raises(RuntimeError, match="10 in, 8 out, 1 quarantined"):
        run_stage(stage, store, "n", Numbers(), {})
    with pytest.raises(UserError):
        newest(store, "numbers")


def test_the_newest_artifact_is_the_default(store):
    stage, _ = counting()
    for count in (3, 1, 2):
        last = run_stage(stage, store, f"n{count}", Numbers(count=count), {}).artifact
    assert newest(store, "numbers").uri == last.uri


def test_inputs_are_checked_by_role_and_kind(store):
    source, _ = counting()
    made = run_stage(source, store, "n", Numbers(), {}).artifact
    stage, _ = counting("sums", {"numbers": "numbers", "words": "words"})
    single, _ = counting("sums", {"numbers": "numbers"})
    with pytest.raises(UserError, match=r"input 'words' \(kind words\) is missing"):
        run_stage(stage, store, "s", Numbers(), {"numbers": made})
    with pytest.raises(UserError, match="of kind numbers; expected kind words"):
        run_stage(stage, store, "s", Numbers(), {"numbers": made, "words": made})
    with pytest.raises(UserError, match="unknown input 'extra'; it takes: numbers"):
        run_stage(single, store, "s", Numbers(), {"numbers": made, "extra": made})


def test_a_stage_that_writes_otherwise_writes_anew(store):
    """An index of an older format is no index: the same command makes it again."""
    stage, calls = counting()
    made = [
        run_stage(replace(stage, revision=revision), store, "n", Numbers(), {}).artifact.uri
        for revision in (None, 2, 2, 3)
    ]
    assert len(calls) == 3 and made[1] == made[2] and len(set(made)) == 3


def test_what_lies_outside_the_store_is_part_of_the_identity(store, tmp_path):
    outside = {"file": 1}
    stage, calls = counting(fingerprint=lambda config: outside)
    run_stage(stage, store, "n", Numbers(), {})
    outside["file"] = 2
    run_stage(stage, store, "n", Numbers(), {})
    assert len(calls) == 2
