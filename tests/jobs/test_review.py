"""`gestray anchors review` as a process: killed and gone on with; and what follows of reviews."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from gestray.anchors.review import Review
from gestray.artifacts import Artifact, StageRun, open_artifact
from gestray.errors import UserError
from gestray.form import Intent
from gestray.store import Folder
from jobs.desk import open_desk
from jobs.reviews import agreement_of, agreements, close_reviews
from jobs.rows import read_rows
from tests.anchors.test_grounding import REST, RIGHT


@contextmanager
def sitting(store: Path, annotator: str) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    """The command as a process, and a client that has opened the address it printed."""
    options = ["--annotator", annotator, "--store", str(store), "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "jobs.cli", "anchors", "review", *options],
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        said = ""
        for line in process.stderr:
            said += line
            if found := re.search(r"(http://127\.0\.0\.1:\d+)(/\?token=\S+)", line):
                break
        else:
            raise AssertionError(said)
        with httpx.Client(base_url=found[1], follow_redirects=True) as client:
            assert client.get(found[2]).status_code == 200
            yield process, client
    finally:
        process.kill()
        process.wait()


def test_a_killed_sitting_loses_nothing_and_a_closed_one_is_an_artifact(anchors, gestray):
    store = Path(anchors.uri).parents[1]
    with sitting(store, "ann") as (process, client):
        for number, decision in enumerate(("accept", "reject", "accept")):
            answer = client.put(f"/api/anchors/{number}", json={"decision": decision})
            assert answer.status_code == 200
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (store / "reviews").exists()

    with sitting(store, "ann") as (process, client):
        found = client.get("/api/session").json()["anchors"]["decision"]
        assert found[:4] == ["accept", "reject", "accept", ""]
        client.delete("/api/anchors/2")
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    report = json.loads(out)
    assert (report["rows_in"], report["rows_out"]) == (2, 2)
    assert (report["metrics"]["accept"], report["metrics"]["reject"]) == (1, 1)
    made = open_artifact(Folder(report["artifact"]), "reviews")
    assert made.input("anchors").uri == anchors.uri

    # The same decisions are the same artifact; further ones are another.
    again = gestray("anchors", "review", "--close", "--store", store, "--json").json
    assert again["up_to_date"] and again["artifact"] == report["artifact"]
    open_desk(Folder(str(store)), anchors, "bo").decide(0, '{"decision": "accept"}')
    other = gestray("anchors", "review", "--close", "--store", store, "--json").json
    assert other["artifact"] != report["artifact"]
    assert other["metrics"]["annotators"] == ["ann", "bo"]


def test_nothing_decided_is_no_artifact(anchors, gestray):
    store = Path(anchors.uri).parents[1]
    outcome = gestray("anchors", "review", "--close", "--store", store, "--json")
    assert (outcome.code, outcome.json["artifact"]) == (0, None)
    refused = gestray("anchors", "review", "--annotator", "../x", "--store", store)
    assert refused.code == 1 and "annotator '../x'" in refused.err


@pytest.fixture
def reviews(anchors: Artifact) -> Artifact:
    """Of two annotators: they agree on all but the second and the third anchor."""
    store = Folder(str(Path(anchors.uri).parents[1]))
    for annotator in ("ann", "bo"):
        desk = open_desk(store, anchors, annotator)
        for number in range(len(desk)):
            desk.decide(number, '{"decision": "accept"}')
    desk.decide(1, '{"decision": "reject"}')
    shown = desk.anchor(2)
    intent = {"label": "negation", "sentence": "No.", "words": [], "confidence": 0.9}
    desk.decide(2, json.dumps({"decision": "edit", "form": shown["form"], "intent": intent}))
    report = close_reviews(store, anchors, "reviews")
    assert report is not None
    return report.artifact


def test_reviews_have_the_last_word_in_training(reviews, anchors, monkeypatch):
    from jobs import encoder
    from jobs.stages import stage_config

    class Begun(Exception):
        """Training would begin now."""

    def begin(_what, task, *_rest):
        raise Begun(task)

    monkeypatch.setattr(encoder, "train_with_progress", begin)
    takes = anchors.input("forms").input("takes")
    inputs = {"takes": takes, "anchors": anchors, "reviews": reviews}
    config = stage_config("encoder.train", {"preset": "sma"}, "test")
    with pytest.raises(Begun) as begun:
        encoder.TRAIN.run(StageRun(Folder(f"{takes.uri}-unused"), config, inputs))
    texts = begun.value.args[0].anchors

    rows = read_rows(anchors.folder).to_pylist()
    first, rejected, edited = (texts[row["phrase_id"]] for row in rows[:3])
    assert first.form == rows[0]["form_text"] and first.intent == (rows[0]["intent_text"] or None)
    assert (rejected.form, rejected.intent) == (None, None)  # nothing is learned from it
    assert edited.intent == "No." != rows[2]["intent_text"]


def test_reviews_are_gold_where_anchors_are_evaluated(reviews, anchors, gestray):
    store = Path(anchors.uri).parents[1]
    outcome = gestray(
        "anchors", "evaluate", "--input", f"reviews={reviews.uri}",
        "--input", f"rules={anchors.uri}", "--store", store, "--json",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    metrics = outcome.json["metrics"]

    cases = 2 * anchors.manifest.rows_out - 1  # of two annotators; one rejected one
    assert metrics["rules.cases"] == metrics["clips"] == cases
    assert metrics["rules.intent_accuracy"] == pytest.approx((cases - 1) / cases)
    assert metrics["rules.handedness"] == 1 and metrics["synthetic"] is True
    assert 0 < metrics["graders.kappa"] < 1


def test_agreement_of_two_annotators_is_a_table(reviews, anchors, gestray):
    store, count = Path(anchors.uri).parents[1], anchors.manifest.rows_out

    found = gestray("anchors", "agreement", "--store", store, "--json").json["agreement"]["ann, bo"]

    assert found["usable"]["agreed"] == pytest.approx((count - 1) / count)
    assert found["intent"]["items"] == count - 1
    assert found["intent"]["agreed"] == pytest.approx((count - 2) / (count - 1))
    low, high = found["intent"]["interval"]
    assert low <= found["intent"]["kappa"] <= high < 1.0001
    assert found["handedness"]["kappa"] in (1, None)
    table = gestray("anchors", "agreement", "--store", store).out
    assert "Agreement of ann, bo" in table and "intent" in table and "synthetic data" in table


def test_hands_are_compared_where_both_say_they_take_part():
    def review(phrase: str, who: str, form, **values) -> Review:
        values = {"decision": "edit", "form": form} | values
        return Review(phrase_id=phrase, annotator=who, **values)

    up = Intent(label="up", sentence="Up.", confidence=0.5)
    decided = [
        review("a", "x", RIGHT, intent=up), review("a", "y", RIGHT),
        review("b", "x", RIGHT), review("b", "y", REST),
        review("c", "x", RIGHT), review("c", "y", None, decision="reject"),
        review("d", "x", RIGHT),
    ]  # fmt: skip

    found = agreement_of(decided, "x", "y")

    cases = {field: score.cases for field, score in found.items()}
    assert (cases["usable"], cases["intent"], cases["handedness"], cases["palm"]) == (3, 2, 2, 1)
    assert found["intent"].agreed == 0.5 and found["palm"].agreed == 1


def test_one_annotator_agrees_with_nobody(anchors):
    store = Folder(str(Path(anchors.uri).parents[1]))
    open_desk(store, anchors, "ann").decide(0, '{"decision": "accept"}')
    report = close_reviews(store, anchors, "reviews")
    with pytest.raises(UserError, match="found decisions of ann, and no phrase"):
        agreements(report.artifact)
