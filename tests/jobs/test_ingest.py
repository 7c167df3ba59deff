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


@pytest.fixture(scope="module")
def bvh_corpus(tmp_path_factory):
    """Motion of the synthetic corpus written as BVH at 60 frames a second, with a manifest."""
    from gestray.corpora.beat2 import list_takes, read_take
    from gestray.corpora.synthetic import write_corpus
    from gestray.motion.bvh import format_bvh
    from gestray.motion.bvh_figure import smplx_figure
    from gestray.motion.rotations import resample_axis_angle, resample_linear

    origin = tmp_path_factory.mktemp("origin")
    write_corpus(origin, takes=3, seed=3, seconds=12.0)
    root = tmp_path_factory.mktemp("bvh")
    rows = ["take_id,path,text,textgrid,start_s,end_s,split,form_text"]
    for number, take_id in enumerate(list_takes(origin).take_ids):
        take = read_take(origin, take_id)
        poses = resample_axis_angle(take.poses, 30, 60)
        trans = resample_linear(take.trans, 30, 60)
        (root / f"{number}.bvh").write_text(format_bvh(smplx_figure(poses, trans, 60)))
        grid = origin / "textgrid" / f"{take_id}.TextGrid"
        shutil.copy(grid, root / f"{number}.TextGrid")
        rows.append(f"whole-{number},{number}.bvh,,{number}.TextGrid,,,train,")
        rows.append(f"clip-{number},{number}.bvh,so it goes,,1,6.5,test,a wave")
    (root / "cut.bvh").write_text((root / "0.bvh").read_text()[:-500])
    rows += ["cut,cut.bvh,,,,,,", "gone,gone.bvh,,,,,,", "clip-0,1.bvh,,,,,,", "bad id,0.bvh,,,,,,"]
    manifest = root.parent / "bvh-manifest.csv"
    manifest.write_text("\n".join(rows) + "\n")
    return root, manifest, origin


def test_bvh_with_a_manifest(bvh_corpus, tmp_path, gestray, ray_cluster):
    root, manifest, origin = bvh_corpus
    command = ("ingest", "bvh", root, "--manifest", manifest, "--skeleton", "smplx")
    outcome = gestray(*command, "--out", tmp_path, "--json")
    assert outcome.code == 0, outcome.err
    report = outcome.json
    assert (report["rows_in"], report["rows_out"], report["rows_quarantined"]) == (10, 6, 4)
    assert report["metrics"]["without_word_times"] == 3
    assert "6 takes: 55 of 55 joints moved; up y (stated), units cm (detected)" in outcome.err
    assert "3 of 6 takes have words without times: each is one phrase" in outcome.err
    folder = Folder(report["artifact"])
    records = [json.loads(line) for line in folder.read_bytes("quarantine.jsonl").splitlines()]
    found = {record["take_id"]: record for record in records}
    assert set(found) == {"cut", "gone", "clip-0", "bad id"}
    assert found["cut"]["file"] == "cut.bvh" and found["cut"]["field"].startswith("line")
    assert found["gone"]["field"] == "row 9, column path"
    assert found["clip-0"]["field"] == "row 10, column take_id"
    check = gestray(*command, "--check", "--json")
    assert (check.code, check.json["quarantined"]) == (1, records)
    assert check.json["splits"] == {"test": 3, "train": 3}
    present = {part: row["present"] for part, row in check.json["parts"].items()}
    assert (present["motion"], present["audio"], present["gold"]) == (6, 0, 3)
    (remark,) = check.json["remarks"]
    assert remark in outcome.err
    rows = pq.read_table(folder.path("shards")).to_pylist()
    assert {row["take_id"]: row["num_frames"] for row in rows if "clip" in row["take_id"]} == {
        f"clip-{n}": 165 for n in range(3)
    }
    # The way through a BVH file changes nothing beside the rate.
    from gestray.corpora.beat2 import list_takes, read_take
    from gestray.motion.rotations import resample_axis_angle

    first = read_take(origin, list_takes(origin).take_ids[0])
    stored = next(row for row in rows if row["take_id"] == "whole-0")
    expected = resample_axis_angle(resample_axis_angle(first.poses, 30, 60), 60, 30)
    np.testing.assert_allclose(stored["poses"], expected, atol=1e-5)
    assert [word["word"] for word in stored["words"]] == [word.word for word in first.words]
    assert gestray(*command, "--out", tmp_path, "--json").json["up_to_date"]
    manifest.write_text(manifest.read_text() + "more,0.bvh,,,,,,\n")
    assert not gestray(*command, "--out", tmp_path, "--json").json["up_to_date"]


def test_takes_of_bvh_train_a_tokenizer(bvh_corpus, tmp_path, gestray, ray_cluster):
    root, manifest, _ = bvh_corpus
    command = ("ingest", "bvh", root, "--manifest", manifest, "--skeleton", "smplx")
    assert gestray(*command, "--out", tmp_path).code == 0
    outcome = gestray(
        "tokenizer", "train", "--store", tmp_path, "--json",
        "loop.steps=2", "loop.compute.workers=1",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert outcome.json["stage"] == "tokenizer.train"
    outcome = gestray("tokenizer", "encode", "--store", tmp_path, "--json")
    assert outcome.code == 0, outcome.err
    # Each clip without word times is one phrase; the aligned takes are cut into theirs.
    folder = Folder(outcome.json["artifact"])
    rows = pq.read_table(folder.path("rows.parquet"), columns=["take_id", "text"]).to_pylist()
    clips = [row for row in rows if row["take_id"].startswith("clip")]
    assert [row["text"] for row in clips] == ["so it goes"] * 3
    assert len(rows) > 6


def test_bvh_needs_a_skeleton_that_exists(bvh_corpus, tmp_path, gestray):
    root, manifest, _ = bvh_corpus
    command = ("ingest", "bvh", root, "--manifest", manifest, "--out", tmp_path)
    outcome = gestray(*command, "--skeleton", "vicon")
    assert outcome.code == 1 and "beat, cmu, fingers51, mixamo, smplx" in outcome.err
    outcome = gestray(*command, "--skeleton", "mixamo")
    assert outcome.code == 1 and "none of its" in outcome.err
    assert "joint for pelvis: found none called Hips" in outcome.err


def test_inspecting_a_bvh_file(bvh_corpus, gestray):
    root, _, _ = bvh_corpus
    found = gestray("ingest", "inspect", root / "0.bvh", "--skeleton", "smplx", "--json").json
    assert (found["fps"], found["units"], found["up"], found["dropped"]) == (60, "cm", "y", [])
    listed = gestray("ingest", "skeletons")
    assert all(name in listed.out for name in ("beat", "mixamo", "cmu", "fingers51"))


def test_a_folder_of_smplx_motion(tmp_path, monkeypatch, gestray, ray_cluster):
    """Named by a relative path: tasks run elsewhere."""
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "amass" / "Subject 1"
    root.mkdir(parents=True)
    motion = np.zeros((120, 156))
    motion[:, 0] = np.pi / 2  # upright where z is up
    np.savez(root / "good.npz", poses=motion, trans=np.zeros((120, 3)), mocap_framerate=60)
    np.savez(root / "bad.npz", poses=motion[:, :70], mocap_framerate=60)
    (root / "good.txt").write_text("hello there")
    check = gestray("ingest", "smplx", "amass", "up=z", "--check", "--json")
    assert check.code == 1 and list(tmp_path.iterdir()) == [tmp_path / "amass"]
    assert (check.json["takes"], check.json["readable"], check.json["hours"]) == (2, 1, 0.0006)
    assert check.json["parts"]["words"]["present"] == 1
    assert "60 frames a second, z up" in check.json["remarks"][0]
    outcome = gestray("ingest", "smplx", "amass", "--out", tmp_path / "store", "--json")
    assert outcome.code == 0, outcome.err
    report = outcome.json
    assert (report["rows_in"], report["rows_out"], report["rows_quarantined"]) == (2, 1, 1)
    assert "1 takes: 60 frames a second, z up, 3 joints at rest" in outcome.err
    (row,) = pq.read_table(Folder(report["artifact"]).path("shards")).to_pylist()
    assert (row["take_id"], row["num_frames"]) == ("Subject-1_good", 60)
    np.testing.assert_allclose(row["poses"], 0, atol=1e-6)
    assert [word["word"] for word in row["words"]] == ["hello", "there"]


def test_a_missing_corpus_says_what_was_expected(tmp_path, gestray):
    outcome = gestray("ingest", "beat2", tmp_path / "nowhere", "--out", tmp_path)
    assert outcome.code == 1
    assert "found no folder there" in outcome.err
