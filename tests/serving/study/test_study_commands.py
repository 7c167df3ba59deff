"""`gestray study` as it is typed, and what its sources may be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gestray.artifacts import artifacts_of_kind, open_artifact
from gestray.errors import UserError
from gestray.store import Folder
from jobs.cli import app
from serving.study.desk import Answers, Desk, Said, read_plan
from serving.study.plan import QUESTIONS, showings
from tests.serving.study.studies import write_motion


def study(*arguments: object) -> dict:
    found = CliRunner().invoke(app, ["study", *map(str, arguments), "--json"])
    if found.exception and not isinstance(found.exception, SystemExit):
        raise found.exception
    return json.loads(found.stdout.splitlines()[-1])


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    """`--method` of two folders with three takes in common, one of them with a fourth."""
    write_motion(tmp_path / "ours", 4, 1.2, 0.3)
    write_motion(tmp_path / "theirs", 3, 1.0, 0.5)
    return ["--method", f"ours={tmp_path / 'ours'}", "--method", f"theirs={tmp_path / 'theirs'}"]


def test_from_two_folders_to_a_report(folders: list[str], tmp_path: Path) -> None:
    store = ["--store", tmp_path / "store"]
    with pytest.raises(UserError, match=r"talk00: the methods' speech is 1.20 s and 1.00 s"):
        study("create", *folders, *store, "pairs=0")
    for wav in (tmp_path / "ours").glob("*.wav"):
        wav.unlink()
    made = study("create", *folders, *store, "pairs=0", "ties=true", "participants=3")
    assert made["metrics"]["pairs"] == 3 and made["metrics"]["questions"] == list(QUESTIONS)
    again = study("create", *folders, *store, "pairs=0", "ties=true", "participants=3")
    assert again["up_to_date"]
    artifact = open_artifact(Folder(made["artifact"]), "study")
    plan = read_plan(artifact)
    assert [pair.key for pair in plan.pairs] == ["talk00", "talk01", "talk02"]
    assert all(pair.seconds == (1.0, 1.0) for pair in plan.pairs)  # cut to what both have
    assert plan.pairs[1].text == "this is talk number 1"

    desk = Desk(artifact)
    for who, choice in ((0, "first"), (1, "same"), (2, "first")):
        sheet = desk.sheet(who)
        for place, showing in enumerate(showings(plan, who)):
            first = "right" if showing.swapped else "left"
            said = showing.check or (first if choice == "first" else "same")
            if who == 2 and place == 4:
                break  # is called away
            sheet.add(place, Said(choices=dict.fromkeys(QUESTIONS, said)))
    report = study("report", *store)
    assert (report["rows_in"], report["rows_out"], report["rows_quarantined"]) == (3, 2, 1)
    assert report["metrics"]["overall.share"] == 1.0
    assert report["metrics"]["overall.p_value"] == 0.25  # 2 · ½³
    found = json.loads(Folder(report["artifact"]).read_bytes("report.json"))
    counted = found["overall"]["naturalness"]
    assert (counted["first"], counted["second"], counted["ties"]) == (3, 0, 3)
    assert found["people"] == {
        "links": 3, "began": 3, "finished": 2, "failed attention checks": 0, "counted": 2,
    }  # fmt: skip
    more = study("report", *store, "unfinished=true")
    assert more["rows_out"] == 3 and more["artifact"] != report["artifact"]
    assert len(Answers(artifact).read()) == 3


def test_what_makes_no_study_is_told(folders: list[str], tmp_path: Path) -> None:
    store = ["--store", tmp_path / "store"]
    with pytest.raises(UserError, match="expected two of NAME=URI"):
        study("create", *folders[:2], *store)
    with pytest.raises(UserError, match="two methods need two names"):
        study("create", *folders[:2], *folders[:2], *store)
    with pytest.raises(UserError, match="found 3 that both methods have, expected 20"):
        study("create", *folders, *store)
    for old in (tmp_path / "theirs").iterdir():
        old.rename(old.with_name(old.name.replace("talk", "speech")))
    with pytest.raises(
        UserError, match=r"nothing in common: ours has talk00, .*theirs has speech00"
    ):
        study("create", *folders, *store)
    texts = tmp_path / "texts.txt"
    texts.write_text("hello\n")
    with pytest.raises(UserError, match="texts are for indexes"):
        study("create", *folders, "--texts", texts, *store)


def test_two_indexes_answer_texts(store: Folder, tmp_path: Path) -> None:
    """The same index twice: both sides show the same gesture, and nothing is heard."""
    uri = artifacts_of_kind(store, "index")[0].uri
    texts = tmp_path / "texts.txt"
    texts.write_text("I have no idea\n\na huge amount\n")
    made = study(
        "create", "--method", f"a={uri}", "--method", f"b={uri}", "--texts", texts, "pairs=0",
        "--store", tmp_path / "store",
    )  # fmt: skip
    artifact = open_artifact(Folder(made["artifact"]), "study")
    plan, desk = read_plan(artifact), Desk(artifact)
    assert [pair.text for pair in plan.pairs] == ["I have no idea", "a huge amount"]
    assert "synchrony" not in plan.questions and not plan.pairs[0].has_audio
    assert desk.media("0000-0.turns") == desk.media("0000-1.turns")
    with pytest.raises(UserError, match="an index answers texts"):
        study("create", "--method", f"a={uri}", "--method", f"b={uri}", "--store", tmp_path / "s")
