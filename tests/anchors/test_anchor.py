"""The anchor record: what must hold together, and its Parquet rows."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from gestray.anchors.anchor import Anchor, anchor_schema, from_row, to_row
from gestray.form import HandForm, Intent, Location, PhysicalForm, Trajectory

FORM = PhysicalForm(
    handedness="right",
    right=HandForm(
        location=Location(zone="centre", height="chest", side="right", reach="medium"),
        palm="up",
        shape="flat",
        trajectory=Trajectory(
            path="arc", direction="up", repetitions=1, amplitude="medium", speed="slow"
        ),
    ),
)
INTENT = Intent(label="growth", sentence="Sales rise.", words=("grew",), confidence=0.9)
GROUNDED = {
    "phrase_id": "take#3",
    "form": FORM,
    "form_text": "The right hand rises.",
    "intent": INTENT,
    "intent_text": "Sales rise.",
    "status": "grounded",
    "grounder": "vllm",
    "model": "some/model",
    "revision": "abc",
    "prompt_hash": "0123456789ab",
    "sampling": '{"temperature": 0.0}',
}
UNGROUNDED = GROUNDED | {
    "intent": None,
    "intent_text": "",
    "status": "ungrounded",
    "reason": "no label fits",
}
FAILED = UNGROUNDED | {"status": "failed", "reason": "cut off", "raw": '{"handed'}


@pytest.mark.parametrize("values", [GROUNDED, UNGROUNDED, FAILED])
def test_row_round_trip_through_parquet(tmp_path, values):
    anchor = Anchor(**values)
    table = pa.Table.from_pylist([to_row(anchor)], schema=anchor_schema())
    pq.write_table(table, tmp_path / "anchors.parquet")

    stored = pq.read_table(tmp_path / "anchors.parquet")

    assert stored.schema.equals(anchor_schema())
    assert from_row(stored.to_pylist()[0]) == anchor


def test_schema_covers_the_record_and_only_intent_is_nullable():
    assert set(anchor_schema().names) == set(Anchor.model_fields)
    assert [field.name for field in anchor_schema() if field.nullable] == ["intent"]


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        (GROUNDED | {"intent": None, "intent_text": ""}, "status 'grounded'"),
        (UNGROUNDED | {"intent": INTENT, "intent_text": INTENT.sentence}, "status 'ungrounded'"),
        (GROUNDED | {"intent_text": "Something else."}, "intent_text"),
        (GROUNDED | {"reason": "because"}, "reason"),
        (UNGROUNDED | {"reason": ""}, "reason"),
        (UNGROUNDED | {"raw": "{}"}, "raw"),
        (GROUNDED | {"sampling": "[]"}, "sampling"),
        (GROUNDED | {"sampling": "{"}, "sampling"),
        (GROUNDED | {"grounder": "guess"}, "grounder"),
        (GROUNDED | {"provenance": "?"}, "provenance"),
    ],
)
def test_contradictions_are_refused(values, complaint):
    with pytest.raises(ValidationError, match=complaint):
        Anchor(**values)
