"""`gestray corpus synth` as a person and a script see it."""

from __future__ import annotations

import json

from gestray.corpora.beat2 import list_takes
from gestray.corpora.synthetic.vocabulary import GESTURES
from jobs.corpus import processes


def test_summary_for_a_script_counts_the_corpus(gestray, tmp_path):
    outcome = gestray("corpus", "synth", tmp_path / "c", "--takes", 5, "--seconds", 15, "--json")
    assert outcome.code == 0
    summary = outcome.json
    assert len(list_takes(tmp_path / "c").take_ids) == summary["takes"] == 5
    assert summary["splits"] == {"train": 3, "val": 1, "test": 1}
    assert summary["types"].keys() == GESTURES.keys()
    assert sum(summary["types"].values()) == summary["semantic_gestures"]
    assert sum(summary["kinds"].values()) == summary["phrases"]
    assert 0 < summary["speaking_s"] < summary["seconds"] == 75
    assert json.loads((tmp_path / "c" / "corpus.json").read_text())["speech"] is False
    readme = (tmp_path / "c" / "README.txt").read_text()
    assert f"{summary['plain_share']:.0%} of the speaking time" in readme and "{s" not in readme


def test_tables_for_people_name_shares_and_types(gestray, tmp_path):
    outcome = gestray("corpus", "synth", tmp_path / "c", "--takes", 1, "--seconds", 10)
    assert outcome.code == 0
    assert "synthetic corpus" in outcome.out and "beats or no" in outcome.out
    assert "semantic gestures by type" in outcome.out
    assert "1/1" in outcome.err  # progress


def test_a_folder_with_something_in_it_is_refused(gestray, tmp_path):
    (tmp_path / "mine").write_text("dear")
    outcome = gestray("corpus", "synth", tmp_path)
    assert outcome.code == 1 and "not empty" in outcome.err
    assert (tmp_path / "mine").read_text() == "dear"


def test_processes_are_started_only_where_it_pays():
    assert processes(1) == processes(20) == 1
    assert 1 <= processes(10_000) <= 10_000 // 16
