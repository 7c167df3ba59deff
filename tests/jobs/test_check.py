"""`--check`: what a corpus holds and lacks, the same that an ingest would find."""

from __future__ import annotations

from pathlib import Path

import pytest

from gestray.store import Folder
from tests.corpora.recordings import EMO, GOLD, GRID, MOTION, SEM, write_recording


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Two languages; of the English takes one has no audio, and one is damaged."""
    english, chinese = tmp_path / "beat_english_v2.0.0", tmp_path / "beat_chinese_v2.0.0"
    for take_id in ("2_scott_0_1_1", "2_scott_0_2_2", "4_lu_1_1_1"):
        write_recording(english, take_id)
    (write_recording(english, "2_scott_0_3_3") / MOTION).write_bytes(b"PK")
    (english / "wave16k" / "2_scott_0_2_2.wav").unlink()
    (english / "weights").mkdir()
    (english / "weights" / "model.bin").write_bytes(b"x")
    (english / "train_test_split.csv").write_text(
        "id,type\n2_scott_0_1_1,train\n2_scott_0_2_2,test\n2_scott_0_3_3,val\n2_scott_0_9_9,train\n"
    )
    recording = write_recording(chinese, "12_zhao_2_1_1")
    for part in (SEM, EMO, GOLD, GRID):
        (recording / part).unlink()
    (chinese / "train_test_split.csv").write_text("id,type\n12_zhao_2_1_1,additional\n")
    return tmp_path


def files(root: Path) -> dict[Path, int]:
    return {path: path.lstat().st_mtime_ns for path in root.rglob("*")}


def test_a_check_says_what_is_there_and_writes_nothing(corpus, gestray, monkeypatch):
    monkeypatch.setenv("GESTRAY_STORE", str(corpus / "store"))
    before = files(corpus)
    outcome = gestray("ingest", "beat2", corpus, "--check", "--json")
    assert files(corpus) == before
    assert outcome.code == 1
    found = outcome.json
    assert (found["takes"], found["readable"]) == (5, 4)
    present = {part: row["present"] for part, row in found["parts"].items()}
    assert present == {
        "motion": 4, "translation": 4, "expressions": 4, "audio": 3,
        "words": 3, "semantics": 3, "emotion": 3, "gold": 3,
    }  # fmt: skip
    assert found["parts"]["audio"]["missing"] == 1
    assert found["splits"] == {"additional": 2, "test": 1, "train": 1}
    assert found["languages"] == {"chinese": 1, "english": 3}
    assert found["speakers"] == {"lu": 1, "scott": 2, "zhao": 1}
    assert found["absent"] == ["2_scott_0_9_9"]
    assert found["unlisted"] == ["4_lu_1_1_1"]
    (record,) = found["quarantined"]
    assert record["file"] == "beat_english_v2.0.0/smplxflame_30/2_scott_0_3_3.npz"
    assert found["hours"] == pytest.approx((3 * 2.5 + 2.0) / 3600, abs=1e-4)


def test_a_person_reads_tables(corpus, gestray):
    outcome = gestray("ingest", "beat2", corpus / "beat_chinese_v2.0.0", "--check")
    assert outcome.code == 0
    assert "1 readable takes" in outcome.out and "zhao 1" in outcome.out
    damaged = gestray("ingest", "beat2", corpus / "beat_english_v2.0.0", "--check")
    assert damaged.code == 1
    assert "1 takes an ingest would quarantine" in damaged.out
    assert "2_scott_0_3_3.npz" in damaged.out.replace("\n", "")


@pytest.mark.s3
def test_a_corpus_in_object_storage_is_checked_alike(corpus, gestray, s3, monkeypatch):
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    remote = Folder(f"s3://gestray/{corpus.name}/check")
    remote.upload(corpus)
    there = gestray("ingest", "beat2", remote.uri, "--check", "--json").json
    here = gestray("ingest", "beat2", corpus, "--check", "--json").json
    assert {**there, "source": ""} == {**here, "source": ""}


@pytest.mark.ray
def test_ingest_agrees_with_the_check(corpus, tmp_path, gestray, ray_cluster):
    check = gestray("ingest", "beat2", corpus, "--check", "--json").json
    report = gestray("ingest", "beat2", corpus, "--out", tmp_path / "out", "--json").json
    assert report["rows_in"] == check["takes"]
    assert report["rows_out"] == check["readable"]
    assert report["rows_quarantined"] == len(check["quarantined"])
    assert report["metrics"]["absent"] == len(check["absent"])
    assert report["metrics"]["without_audio"] == check["parts"]["audio"]["missing"]
