"""The ingest job: nothing is lost, what is damaged is said, what is missing is null."""

from __future__ import annotations

import json
import pickle
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from gestray.store import Folder

pytestmark = pytest.mark.ray


class Payload:
    """A pickle that leaves a mark when it is loaded."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def __reduce__(self):
        return (open, (self.mark, "w"))


@pytest.fixture
def damaged(synthetic_corpus, tmp_path):
    """A corpus with five damaged takes, one take in parts, and two absent ids."""
    root = tmp_path / "corpus"
    shutil.copytree(synthetic_corpus, root)
    ids = sorted(path.stem for path in (root / "smplxflame_30").glob("*.npz"))
    npz = {take: root / "smplxflame_30" / f"{take}.npz" for take in ids}
    npz[ids[0]].write_bytes(npz[ids[0]].read_bytes()[:5000])
    arrays = dict(np.load(npz[ids[1]]))
    arrays["poses"][17, 3] = np.nan
    np.savez(npz[ids[1]], **arrays)
    grid = root / "textgrid" / f"{ids[2]}.TextGrid"
    grid.write_text(grid.read_text()[:400])
    mark = tmp_path / "executed"
    npz[ids[3]].write_bytes(pickle.dumps(Payload(str(mark))))
    arrays = dict(np.load(npz[ids[4]]))
    arrays["trans"] = arrays["trans"][:-5]
    np.savez(npz[ids[4]], **arrays)
    npz[ids[5]].unlink()
    (root / "sem" / f"{ids[6]}.txt").unlink()
    with (root / "train_test_split.csv").open("a") as file:
        file.write("999_nobody_0_1_1,train\n999_nobody_0_2_2,test\n")
    return root, ids, mark


def test_damaged_takes_are_quarantined_with_file_and_field(damaged, tmp_path, gestray, ray_cluster):
    root, ids, mark = damaged
    outcome = gestray("ingest", "beat2", root, "--out", tmp_path / "store", "--json")
    assert outcome.code == 0, outcome.err
    report = outcome.json
    assert (report["rows_in"], report["rows_out"], report["rows_quarantined"]) == (12, 7, 5)
    assert report["metrics"]["absent"] == 2
    assert report["metrics"]["without_motion"] == 1
    assert report["metrics"]["synthetic"]
    assert not mark.exists()
    folder = Folder(report["artifact"])
    records = [json.loads(line) for line in folder.read_bytes("quarantine.jsonl").splitlines()]
    found = {record["take_id"]: record for record in records}
    assert sorted(found) == ids[:5]
    for take, field in zip(ids, ("archive", "poses", "words", "archive", "trans"), strict=False):
        assert take in found[take]["file"]
        assert "found" in found[take]["reason"] and "expected" in found[take]["reason"]
        if field != "archive":
            assert field in found[take]["field"] + found[take]["reason"]
    assert "17" in found[ids[1]]["reason"]
    rows = pq.read_table(folder.path("shards"), columns=["take_id", "num_frames", "semantics"])
    stored = {row["take_id"]: row for row in rows.to_pylist()}
    assert sorted(stored) == ids[5:]
    assert stored[ids[5]]["num_frames"] is None
    assert stored[ids[6]]["semantics"] is None


def test_strict_fails_and_makes_no_artifact(damaged, tmp_path, gestray, ray_cluster):
    """Also where the same corpus was ingested without it."""
    root, ids, _ = damaged
    assert gestray("ingest", "beat2", root, "--out", tmp_path / "store").code == 0
    outcome = gestray("ingest", "beat2", root, "--out", tmp_path / "store", "--strict")
    assert outcome.code == 1
    assert "--strict: 5 of 12 takes are damaged" in outcome.err
    assert ids[0] in outcome.err
    assert len(list((tmp_path / "store").glob("takes/*/manifest.json"))) == 1


def test_ingest_again_does_nothing_until_a_file_changes(
    synthetic_corpus, tmp_path, gestray, ray_cluster
):
    root = tmp_path / "corpus"
    shutil.copytree(synthetic_corpus, root)
    command = ("ingest", "beat2", root, "--out", tmp_path / "store", "--json")
    first = gestray(*command).json
    again = gestray(*command).json
    assert (first["up_to_date"], again["up_to_date"]) == (False, True)
    assert again["artifact"] == first["artifact"]
    next((root / "sem").iterdir()).write_text("")
    changed = gestray(*command).json
    assert not changed["up_to_date"]
    assert changed["artifact"] != first["artifact"]


def test_small_shards_hold_every_take_once_in_a_seeded_order(
    synthetic_corpus, tmp_path, gestray, ray_cluster
):
    orders = []
    for seed in (0, 0, 1):
        store = tmp_path / str(len(orders))
        report = gestray(
            "ingest", "beat2", synthetic_corpus, "--out", store, "--json", "shard_mb=1",
            f"seed={seed}",
        ).json  # fmt: skip
        shards = sorted((Folder(report["artifact"])).list("shards"))
        assert len(shards) > 1
        names = [
            name
            for shard in shards
            for name in pq.read_table(f"{report['artifact']}/{shard}")["take_id"].to_pylist()
        ]
        assert len(set(names)) == len(names) == 12
        orders.append(names)
    assert orders[0] == orders[1] != orders[2]


@pytest.mark.s3
def test_a_corpus_in_object_storage_is_the_same_corpus(
    synthetic_corpus, tmp_path, gestray, ray_cluster
):
    source = Folder(f"s3://gestray/{tmp_path.name}/corpus")
    source.upload(synthetic_corpus)
    remote = gestray("ingest", "beat2", source.uri, "--out", f"{source.uri}-store", "--json").json
    local = gestray("ingest", "beat2", synthetic_corpus, "--out", tmp_path, "--json").json
    tables = []
    for report in (remote, local):
        folder = Folder(report["artifact"])
        shard = folder.path("shards/00000.parquet")
        tables.append(pq.read_table(shard, filesystem=folder.filesystem))
    assert remote["rows_out"] == 12
    assert tables[0].equals(tables[1])


def test_a_missing_corpus_says_what_was_expected(tmp_path, gestray):
    outcome = gestray("ingest", "beat2", tmp_path / "nowhere", "--out", tmp_path)
    assert outcome.code == 1
    assert "found no folder there" in outcome.err
