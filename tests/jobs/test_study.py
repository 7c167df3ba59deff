"""The retrieval study, small: a corpus that speaks, two presets, one seed, and again."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from gestray.encoders.model import DualEncoder

SMALL = (
    "processes=1", "takes=10", "seconds=20", "tokenizer_steps=12", "steps=4", "many=[0]", "few=[]",
    "ablated=[]",
)  # fmt: skip


def gain_in(metrics: dict) -> str:
    """The figure of the headline, whose gain is that of `sma` over `direct`."""
    figure = metrics["gain_of"]
    better, baseline = (metrics[f"{method}.{figure}"] for method in ("sma", "direct"))
    assert metrics["gain_absolute"] == pytest.approx(better - baseline)
    return figure


@pytest.mark.ray
def test_a_small_study_ends_in_a_leaderboard_and_resumes(tmp_path, gestray, ray_cluster) -> None:
    command = ("run", "retrieval_study", f"store={tmp_path}", *SMALL, "--json")
    outcome = gestray(*command)
    assert outcome.code == 0, outcome.err
    report = outcome.json
    assert [stage["up_to_date"] for stage in report["stages"]] == [False] * 12
    metrics = report["metrics"]
    assert metrics["direct.seeds"] == metrics["sma.seeds"] == [0]
    for method in ("direct", "sma"):
        assert 0 <= metrics[f"{method}.text_to_gesture.r50"] <= 1
        assert metrics[f"{method}.text_to_gesture.medr"] >= 1
        assert 0 <= metrics[f"{method}.semantic.map"] <= 1
        assert 0 <= metrics[f"{method}.spotting.accuracy"] <= 1
        assert 0 <= metrics[f"{method}.active_speaker.2"] <= 1
    low, high = metrics["gain_absolute_interval"]
    assert low <= metrics["gain_absolute"] <= high
    # A corpus of fewer than 32 test phrases has not the figure that the study names.
    assert gain_in(metrics) == "text_to_gesture.r1"
    told = " ".join(outcome.err.split())
    assert "there is no meaningful32.text_to_gesture.r1 here" in told
    assert "comparisons: sma has no figure 'batches32.text_to_gesture.r1' (" in told

    folder = Path(report["artifact"])
    board = json.loads((folder / "leaderboard.json").read_text())
    assert board["synthetic"] is True and board["meanings_from"] == "gold"
    assert board["seeds"] == {"direct": [0], "sma": [0]}
    assert set(board["methods"]["sma"]["per_seed"]) == {"0"}
    assert "## Meaning" in (folder / "leaderboard.md").read_text()
    page = (folder / "report.html").read_text()
    assert "The space of sma" in page and "what the first gesture found means" in page

    again = gestray(*command)
    assert all(stage["up_to_date"] for stage in again.json["stages"])
    assert again.json["metrics"] == metrics
    other = gestray(*command, "retrieval-study.figure=semantic.map")
    assert [stage["up_to_date"] for stage in other.json["stages"]] == [True] * 11 + [False]
    assert gain_in(other.json["metrics"]) == "semantic.map"
    # Anchors of other phrases, as many and of the same kinds.

    (right,), (wrong,) = (
        tmp_path.glob(f"anchors/{n}-*/rows.parquet") for n in ("anchors", "shuffled")
    )
    right, wrong = pq.read_table(right), pq.read_table(wrong)
    assert right["phrase_id"] == wrong["phrase_id"]
    assert right["form"] != wrong["form"]
    assert sorted(right["form"].to_pylist()) == sorted(wrong["form"].to_pylist())

    published = tmp_path / "published"
    outcome = gestray("evaluate", "publish", "sma", published, "--store", tmp_path)
    assert outcome.code == 0, outcome.err
    card = (published / "README.md").read_text()
    assert "| Text → gesture |" in card and "**Synthetic data.**" in card
    vectors = DualEncoder.from_pretrained(str(published)).embed_text(["a huge box"])
    assert vectors.shape == (1, 128)
    assert (
        "found no method 'smaa'"
        in gestray("evaluate", "publish", "smaa", published, "--store", tmp_path).err
    )

    gestray("index", "build", "--store", tmp_path)
    found = gestray(
        "index", "search", "a huge box", "-k", 3, "--min-seconds", 1, "--words",
        "--store", tmp_path, "--json",
    ).json  # fmt: skip
    assert [hit["rank"] for hit in found["hits"]] == [1, 2, 3]
    assert set(found["hits"][0]["why"]["words"]) == {"a", "huge", "box"}
    taken = found["hits"][0]["take_id"]
    updated = gestray("index", "update", f"delete_takes=[{taken}]", "--store", tmp_path, "--json")
    assert updated.json["metrics"]["deleted"] == updated.json["rows_quarantined"] > 0
    found = gestray("index", "search", "a huge box", "-k", 50, "--store", tmp_path, "--json").json
    assert taken not in {hit["take_id"] for hit in found["hits"]}
