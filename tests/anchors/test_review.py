"""Decisions: kept when made, read back as they were, the last one standing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from pydantic import ValidationError

from gestray.anchors import review as reviewing
from gestray.anchors.review import (
    REVIEWS_SCHEMA,
    Journal,
    Review,
    as_gold,
    check_annotator,
    differ,
    from_row,
    last_words,
    standing,
    to_row,
)
from gestray.errors import UserError
from gestray.form import Intent
from gestray.store import Folder
from tests.anchors.test_grounding import REST, RIGHT

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
GROWTH = Intent(label="growth", sentence="Sales rise.", words=("grew",), confidence=0.9)


def decided(minute: int, phrase: str = "p", annotator: str = "ann", **values) -> Review:
    values = {"decision": "edit", "form": RIGHT, "intent": GROWTH, "text": "it grew"} | values
    if values["decision"] in ("reject", "withdraw"):
        values |= {"form": None, "intent": None}
    at = BEGAN + timedelta(minutes=minute)
    return Review(phrase_id=phrase, annotator=annotator, at=at, **values)


def test_what_was_added_is_there_for_the_next_who_reads(tmp_path, monkeypatch):
    """Of any number of sittings at a time, across files, and in the order it was decided."""
    monkeypatch.setattr(reviewing, "_DECISIONS_PER_FILE", 2)
    ann, bo = (Journal(Folder(str(tmp_path)), "0123") for _ in range(2))
    made = [decided(n, f"p{n}", "ann" if n % 2 else "bo") for n in range(7)]
    for review in made:
        (ann if review.annotator == "ann" else bo).add(review)
        # As a process that was killed right now would leave it.
        assert review in Journal(Folder(str(tmp_path)), "0123").read()

    assert Journal(Folder(str(tmp_path)), "0123").read() == made
    assert len(list(tmp_path.glob("review-journals/0123/ann-*.jsonl"))) == 2
    assert Journal(Folder(str(tmp_path)), "4567").read() == []


def test_a_line_that_is_no_decision_is_named(tmp_path):
    journal = Journal(Folder(str(tmp_path)), "0123")
    journal.add(decided(0))
    [file] = tmp_path.glob("review-journals/0123/*")
    file.write_text(file.read_text() + '{"phrase_id": 1}\n')

    with pytest.raises(UserError, match=rf"{file.name}: line 2: phrase_id: "):
        journal.read()


def test_the_last_decision_stands_until_it_is_withdrawn():
    first, second, other = decided(0), decided(1, decision="reject"), decided(2, annotator="bo")

    assert standing([first, second, other]) == {("p", "ann"): second, ("p", "bo"): other}
    assert last_words([other, first, second]) == {"p": other}
    assert standing([first, decided(3, decision="withdraw")]) == {}


def test_annotators_differ_in_what_they_say_not_in_how():
    said = GROWTH.model_copy(update={"sentence": "They grow.", "confidence": 0.5})
    assert not differ(decided(0), decided(1, decision="accept", intent=said))
    assert differ(decided(0), decided(1, intent=None))
    assert differ(decided(0), decided(1, form=REST))
    assert differ(decided(0), decided(1, decision="reject"))


@pytest.mark.parametrize(
    "review",
    [decided(0), decided(0, intent=None, decision="accept"), decided(0, decision="reject")],
)
def test_rows_say_all_of_it(review):
    table = pa.Table.from_pylist([to_row(review)], REVIEWS_SCHEMA)
    assert from_row(table.to_pylist()[0]) == review


@pytest.mark.parametrize(
    "values", [{"decision": "accept"}, {"decision": "reject", "form": RIGHT}, {"decision": "maybe"}]
)
def test_a_decision_holds_together(values):
    with pytest.raises(ValidationError):
        Review(phrase_id="p", annotator="ann", **values)


def test_gold_is_of_each_annotator_and_knows_of_no_intent():
    reviews = [decided(0), decided(1, annotator="bo", intent=None), decided(2, decision="reject")]

    ann, bo = as_gold(reviews)

    assert (ann.grader, ann.intent, ann.intent_text) == ("ann", "growth", "Sales rise.")
    assert (bo.grader, bo.intent, bo.intent_text) == ("bo", "none", "")
    assert ann.form == RIGHT and ann.form_text.startswith("The right hand")


@pytest.mark.parametrize("name", ["", "a/b", "..", "a b", "a" * 33, "é"])
def test_a_name_is_no_path(name):
    with pytest.raises(UserError, match="annotator"):
        check_annotator(name)
    assert check_annotator("Ann_2-x") == "Ann_2-x"
