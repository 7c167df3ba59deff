"""Anchors beside gold: of a file's clips from end to end, and phrases beside a corpus's gold."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gestray.anchors.gold import GoldClip
from gestray.artifacts import Artifact, Stage, StageResult, run_stage
from gestray.config import Config
from gestray.errors import UserError
from gestray.store import Folder
from jobs.anchors import FORMS_SCHEMA
from jobs.intents import GoldIntent, gold_of_phrases, grader_agreement
from tests.anchors.engines import GOOD, Server, completion
from tests.anchors.test_grounding import RIGHT

FORM = RIGHT.model_dump(mode="json")
CLIPS = [
    {"clip": "a", "transcript": "it grew", "form": FORM, "intent": "growth",
     "intent_text": "Sales rose.", "grader": "x"},
    {"clip": "b", "transcript": "it fell", "form": FORM, "intent": "decline", "grader": "x"},
    {"clip": "c", "transcript": "up there", "form": FORM, "intent": "up", "grader": "x"},
    {"clip": "a", "transcript": "it grew", "form": FORM, "intent": "growth", "grader": "y"},
    {"clip": "d", "transcript": "words alone", "intent": "growth", "grader": "x"},
]  # fmt: skip


def reply(body):
    """Growth, very surely, for whatever rises or falls; and nothing otherwise."""
    answer = json.loads(GOOD)
    user = body["messages"][1]["content"]
    if "grew" not in user and "fell" not in user:
        answer["intent"]["label"] = "none"
    return 200, completion(json.dumps(answer))


def test_clips_of_a_file_from_gold_to_scores(tmp_path, gestray):
    file = tmp_path / "clips.jsonl"
    file.write_text("\n".join(map(json.dumps, CLIPS)))
    store = ("--store", tmp_path / "store", "--json")

    forms = gestray("anchors", "gold", file, *store).json
    assert (forms["rows_in"], forms["rows_out"], forms["rows_quarantined"]) == (4, 3, 1)
    with Server(reply) as server:
        anchors = gestray(
            "anchors", "ground", "--grounder", "openai", "--model", "m",
            f"openai.url={server.url}", *store,
        ).json  # fmt: skip
    outcome = gestray(
        "anchors", "evaluate", f"gold={file}", "--input", f"m={anchors['artifact']}", *store
    )
    assert outcome.code == 0, outcome.err
    metrics = outcome.json["metrics"]

    assert metrics["m.cases"] == 5
    assert (metrics["m.grounded"], metrics["m.ungrounded"], metrics["m.absent"]) == (3, 1, 1)
    assert metrics["m.intent_accuracy"] == pytest.approx(2 / 5)
    # growth: 2 right of 3 gold and 3 found; decline and up: none.
    assert metrics["m.intent_macro_f1"] == pytest.approx((2 / 3) / 3)
    assert metrics["m.calibration_error"] == pytest.approx(0.7 - 2 / 3)
    assert metrics["m.sentence_similarity"] == pytest.approx(1, abs=1e-5)
    assert metrics["m.handedness"] == 1
    page = (Path(outcome.json["artifact"]) / "report.html").read_text()
    assert "Intents against gold" in page and "Synthetic data" not in page

    table = gestray("anchors", "evaluate", f"gold={file}", "--input", f"m={anchors['artifact']}",
                    "--store", tmp_path / "store").out  # fmt: skip
    assert "Intents against gold, percent" in table and "40.0" in table


def test_gold_of_other_clips_is_refused(tmp_path, gestray):
    store = ("--store", tmp_path / "store", "--json")
    file, other = tmp_path / "clips.jsonl", tmp_path / "other.csv"
    file.write_text(json.dumps(CLIPS[0]))
    other.write_text("clip,intent\nz,up\n")
    gestray("anchors", "gold", file, *store)
    with Server() as server:
        anchors = gestray(
            "anchors", "ground", "--grounder", "openai", "--model", "m",
            f"openai.url={server.url}", *store,
        ).json["artifact"]  # fmt: skip

    outcome = gestray("anchors", "evaluate", f"gold={other}", "--input", f"m={anchors}", *store)
    assert outcome.code == 1
    assert "found no anchor of a phrase with a gold intent" in outcome.err


def made(store: Folder, kind: str, rows: pa.Table, **inputs: Artifact) -> Artifact:
    """An artifact of a kind with these rows and inputs."""

    def write(run):
        with run.folder.open_output("rows.parquet") as out:
            pq.write_table(rows, out)
        return StageResult(len(rows), len(rows))

    needs = {role: artifact.manifest.kind for role, artifact in inputs.items()}
    stage = Stage(f"make.{kind}", kind, Config, write, needs)
    return run_stage(stage, store, kind, Config(), inputs).artifact


def test_a_phrase_means_what_its_stroke_does(tmp_path):
    store = Folder(str(tmp_path))
    spans = {
        "by stroke": (0.0, 4.0, 3.0, 4.0),
        "by phrase": (0.0, 4.0, None, None),
        "none there": (8.0, 9.0, None, None),
    }
    rows = [
        {"phrase_id": name, "take_id": "t", "start_s": start, "end_s": end,
         "stroke_start_s": first, "stroke_end_s": last}
        for name, (start, end, first, last) in spans.items()
    ]  # fmt: skip
    takes = made(store, "takes", pa.table({"x": [1]}))
    forms = made(store, "forms", pa.Table.from_pylist(rows, FORMS_SCHEMA), takes=takes)
    anchors = made(store, "anchors", pa.table({"x": [1]}), forms=forms)
    golds = {
        "t": [
            {"start_s": 0.0, "end_s": 2.5, "intent": "up", "intent_text": "Up."},
            {"start_s": 2.8, "end_s": 4.0, "intent": "down", "intent_text": None},
            {"start_s": 0.0, "end_s": 9.0, "intent": None, "intent_text": ""},
        ]
    }

    assert gold_of_phrases(anchors, takes, golds) == [
        GoldIntent("by stroke", "down", ""),
        GoldIntent("by phrase", "up", "Up."),
    ]
    others = made(Folder(str(tmp_path / "other")), "takes", pa.table({"x": [1]}))
    with pytest.raises(UserError, match="was not made from"):
        gold_of_phrases(anchors, others, golds)


def test_graders_are_compared_where_both_have_graded():
    def clip(name, intent, grader):
        return GoldClip(clip=name, intent=intent, grader=grader)

    ours = [clip("a", "up", "x"), clip("b", "down", "x"), clip("only x", "up", "x")]
    theirs = [clip("a", "up", "y"), clip("b", "down", "y")]

    assert grader_agreement(ours + theirs) == 1
    assert grader_agreement(ours) != grader_agreement(ours)  # NaN: there is no pair
