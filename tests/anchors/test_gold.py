"""Gold files: both formats say the same, and what is wrong is named by row and column."""

from __future__ import annotations

import csv
import json

import pytest

from gestray.anchors.gold import GoldClip, read_gold
from gestray.errors import UserError
from tests.anchors.test_grounding import RIGHT

CLIPS = [
    GoldClip(
        clip="a",
        transcript='sales "grew", and grew',
        form=RIGHT,
        form_text="It rises.",
        intent="growth",
        intent_text="Sales rise.",
        grader="x",
    ),
    GoldClip(clip="b", transcript="no\nway"),
]


def test_both_formats_say_the_same(tmp_path):
    rows = [clip.model_dump(exclude_defaults=True) for clip in CLIPS]
    (tmp_path / "gold.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with (tmp_path / "gold.csv").open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, list(GoldClip.model_fields))
        writer.writeheader()
        for row in rows:
            writer.writerow(row | {"form": json.dumps(row["form"])} if "form" in row else row)

    for name in ("gold.jsonl", "gold.csv"):
        assert read_gold(str(tmp_path / name)) == CLIPS


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("g.jsonl", '{"clip": "a"}\n{"clip"', "row 2: not JSON"),
        ("g.jsonl", '{"clip": "a", "intent": "wave"}', "row 1: intent: found 'wave'; no intent"),
        ("g.jsonl", '{"clip": "a"}\n\n{"clip": "a"}', "rows 1 and 3 are both of clip 'a'"),
        ("g.jsonl", "[1]", r"row 1: row: found '\[1\]'"),
        ("g.jsonl", "", "found no clips"),
        ("g.csv", "clip,intnet\na,up", "row 2: intnet: found 'up'; Extra inputs"),
        ("g.csv", "clip,form\na,rises", "row 2: form: found 'rises'"),
        ("g.csv", "clip\na,b,c", "row 2: more values than columns"),
        ("g.csv", "clip,intent\n,up", "row 2: clip: .*Field required"),
        ("g.xlsx", "clip", r"end in \.csv or \.jsonl"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, name, text, complaint):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=complaint):
        read_gold(str(tmp_path / name))


def test_no_file(tmp_path):
    with pytest.raises(UserError, match=r"none\.csv: cannot be read"):
        read_gold(str(tmp_path / "none.csv"))
