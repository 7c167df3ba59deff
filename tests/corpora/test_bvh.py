"""BVH with a manifest: what rows say becomes takes, bad rows are named and quarantined."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

from gestray.corpora.bvh import BvhSource, describe, inspect_file
from gestray.corpora.manifest import parse_manifest
from gestray.corpora.splits import split_of
from gestray.corpora.take import Take
from gestray.errors import BadInput, UserError
from gestray.motion.bvh import format_bvh
from gestray.motion.bvh_figure import smplx_figure
from gestray.motion.skeleton_map import load_map
from gestray.speech.words import Word
from gestray.store import Folder

GRID = """File type = "ooTextFile"
Object class = "TextGrid"
0 6 <exists> 1
"IntervalTier" "words" 0 6 4
0 1 "" 1 2 "one" 2 3 "two" 3 6 "three"
"""


def swinging(frames: int, fps: float = 60.0) -> tuple[np.ndarray, np.ndarray]:
    """Poses whose left elbow bends by 0.1 rad a second, and a walk of 1 cm a second."""
    seconds = np.arange(frames) / fps
    poses = np.zeros((frames, 165), np.float32)
    poses[:, 18 * 3 + 1] = -0.1 * seconds
    trans = np.stack([0.01 * seconds, np.full(frames, 0.9), np.zeros(frames)], axis=1)
    return poses, trans.astype(np.float32)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Six seconds at 60 frames a second as ``mocap/a.bvh``, with speech and words."""
    root = tmp_path / "corpus"
    (root / "mocap").mkdir(parents=True)
    poses, trans = swinging(361)
    (root / "mocap" / "a.bvh").write_text(format_bvh(smplx_figure(poses, trans, 60.0)))
    with wave.open(str(root / "a.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes((np.arange(6 * 16_000) % 30_000).astype("<i2").tobytes())
    (root / "a.TextGrid").write_text(GRID)
    (root / "a.txt").write_text("02_deictic_l\t1.5\t3.5\t2\t0.7\tone two\n")
    return root


def source(root: Path, text: str, **options: object) -> BvhSource:
    manifest = root / "manifest.csv"
    manifest.write_text(text)
    return BvhSource(str(root), str(manifest), load_map("smplx"), **options)


def takes_of(of: BvhSource) -> dict[str, Take]:
    listing = of.list_takes()
    assert not listing.quarantined
    return {entry.take_id: of.read_take(entry) for entry in listing.entries}


def test_a_whole_recording(corpus: Path) -> None:
    of = source(
        corpus,
        "take_id,path,text,speaker,audio,textgrid,semantics,split,mood,form_text,intent_text\n"
        't1,mocap/a.bvh,"one, two three",ada,a.wav,a.TextGrid,a.txt,val,glad,arm bends,three\n',
    )
    (take,) = takes_of(of).values()
    assert (take.take_id, take.split, take.speaker) == ("t1", "val", "ada")
    assert take.poses.shape == (181, 165) and take.joint_mask.all()
    expected, trans = swinging(181, 30.0)
    np.testing.assert_allclose(take.poses, expected, atol=1e-5)
    np.testing.assert_allclose(take.trans, trans, atol=1e-5)
    assert take.audio == (np.arange(6 * 16_000) % 30_000).astype("<i2").tobytes()
    assert take.words == [Word("one", 1, 2), Word("two", 2, 3), Word("three", 3, 6)]
    (label,) = take.semantics
    assert (label.label, label.start_s, label.end_s, label.score) == ("02_deictic_l", 1.5, 3.5, 0.7)
    (gold,) = take.gold
    assert (gold.form_text, gold.intent_text, gold.form) == ("arm bends", "three", None)
    assert (gold.start_s, gold.end_s) == (0, pytest.approx(181 / 30))
    assert take.extra["mood"] == "glad" and take.extra["text"] == "one, two three"
    figure = take.extra["figure"]
    assert (figure["units"], figure["detected"], figure["at_rest"]) == ("cm", ["units"], [])
    assert of.remark(take) == "55 of 55 joints moved; up y (stated), units cm (detected)"


def test_clips_of_one_recording_keep_motion_sound_and_words_together(corpus: Path) -> None:
    of = source(
        corpus,
        "take_id,path,text,start_s,end_s,audio,textgrid,semantics\n"
        "early,mocap/a.bvh,,,2.5,a.wav,a.TextGrid,a.txt\n"
        "late,mocap/a.bvh,,2.512,,a.wav,a.TextGrid,a.txt\n"
        "label,mocap/a.bvh,,1,2,,,deictic\n",
    )
    takes = takes_of(of)
    early, late = takes["early"], takes["late"]
    assert (early.num_frames, late.num_frames, takes["label"].num_frames) == (75, 106, 30)
    # The clip begins with a frame; sound and words move with it, not with the number given.
    first = 75
    np.testing.assert_allclose(late.poses, swinging(181, 30.0)[0][first:], atol=1e-5)
    sound = (np.arange(6 * 16_000) % 30_000).astype("<i2")
    assert late.audio == sound[first * 16_000 // 30 :].tobytes()
    assert early.audio == sound[: 75 * 16_000 // 30].tobytes()
    assert early.words == [Word("one", 1, 2)]  # the middle of "two" is where the other begins
    assert late.words == [Word("two", 0, 0.5), Word("three", 0.5, 3.5)]
    assert [label.end_s for label in early.semantics] == [2.5]
    assert [(label.start_s, label.end_s) for label in late.semantics] == [(0, 1)]
    (label,) = takes["label"].semantics
    assert (label.label, label.start_s, label.end_s, label.score) == ("deictic", 0, 1, None)
    groups = {entry.group for entry in of.list_takes().entries}
    assert groups == {"mocap/a.bvh"}


def test_text_without_times_is_legal(corpus: Path) -> None:
    (take,) = takes_of(source(corpus, "take_id,path,text\nt,mocap/a.bvh,so big - yes\n")).values()
    assert take.words == [Word("so"), Word("big"), Word("yes")]
    assert take.audio is take.semantics is take.gold is None
    assert take.split == split_of("t")
    (bare,) = takes_of(
        source(corpus, "take_id,path,text\nt,mocap/a.bvh,\n", split="time:0.8")
    ).values()
    assert bare.words is None and bare.split == "time:0.8"


HEADER = "take_id,path,text,start_s,end_s,audio,textgrid,split,semantics"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("../t,mocap/a.bvh,,,,,,,", "row 2, column take_id: found '../t'"),
        (",mocap/a.bvh,,,,,,,", "row 2, column take_id: found ''"),
        ("t,,,,,,,,", "row 2, column path: found nothing"),
        ("t,/etc/passwd,,,,,,,", "row 2, column path: found '/etc/passwd'"),
        ("t,mocap/../../a.bvh,,,,,,,", "row 2, column path"),
        ("t,mocap\\a.bvh,,,,,,,", "within it, with /"),
        ("t,mocap/a.bvh,,,,../a.wav,,,", "row 2, column audio"),
        ("t,mocap/a.bvh,,-1,,,,,", "row 2, column start_s: found '-1', expected seconds"),
        ("t,mocap/a.bvh,,1;5,,,,,", "row 2, column start_s"),
        ("t,mocap/a.bvh,,nan,,,,,", "row 2, column start_s"),
        ("t,mocap/a.bvh,,2,2,,,,", "row 2, column end_s: found 2, expected more than start_s"),
        ("t,mocap/a.bvh,,,,,,dev,", "row 2, column split: found 'dev'"),
        ("t,mocap/a.bvh,,", "row 2: found 4 cells, expected 9"),
        ("t,mocap/a.bvh,a,b,,,,,,,", "row 2: found 11 cells"),
    ],
)
def test_a_bad_row_is_that_take_s_trouble(corpus: Path, row: str, message: str) -> None:
    listing = source(corpus, f"{HEADER}\n{row}\ngood,mocap/a.bvh,,,,,,,\n").list_takes()
    assert [entry.take_id for entry in listing.entries] == ["good"]
    ((take_id, error),) = listing.quarantined
    assert take_id == (row.split(",")[0] or "row 2")
    assert message in str(error) and "manifest.csv" in error.file


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("t,mocap/b.bvh,,,,,,,", "row 2, column path: found 'mocap/b.bvh', which does not exist"),
        ("t,mocap/a.bvh,,,,b.wav,,,", "row 2, column audio: found 'b.wav', which does not exist"),
        ("t,mocap/a.bvh,,,,,b.json,,", "row 2, column textgrid: found 'b.json'"),
        ("t,mocap/a.bvh,,,,,,,b.tsv", "row 2, column semantics: found 'b.tsv'"),
        ("t,mocap/a.bvh,,,6.5,,,,", "row 2, column end_s: found 6.5, expected at most its length"),
        ("t,mocap/a.bvh,,6.01,,,,,", "row 2, column start_s: found 1 frames from 6.01 s"),
        ("t,mocap/a.bvh,,,,a.TextGrid,,,", "a.TextGrid: header"),
        ("t,a.wav,,,,,,,", "a.wav: MOTION: found no line MOTION"),
    ],
)
def test_what_only_reading_shows(corpus: Path, row: str, message: str) -> None:
    of = source(corpus, f"{HEADER}\n{row}\n")
    (entry,) = of.list_takes().entries
    with pytest.raises(BadInput) as error:
        of.read_take(entry)
    assert message in str(error.value)


def test_links_out_of_the_corpus_are_not_followed(corpus: Path) -> None:
    outside = corpus.parent / "outside.bvh"
    outside.write_bytes((corpus / "mocap" / "a.bvh").read_bytes())
    (corpus / "link.bvh").symlink_to(outside)
    of = source(corpus, "take_id,path,text\nt,link.bvh,\n")
    with pytest.raises(BadInput, match=r"link\.bvh: location"):
        of.read_take(of.list_takes().entries[0])


def test_a_file_that_changes_is_parsed_anew(corpus: Path) -> None:
    of = source(corpus, "take_id,path,text\nt,mocap/a.bvh,\n")
    assert takes_of(of)["t"].num_frames == 181
    (corpus / "mocap" / "a.bvh").write_text(format_bvh(smplx_figure(*swinging(61), 60.0)))
    assert takes_of(of)["t"].num_frames == 31


def test_the_same_id_again_is_quarantined(corpus: Path) -> None:
    text = "take_id,path,text\nt,mocap/a.bvh,first\nu,mocap/a.bvh,\nt,mocap/a.bvh,second\n"
    listing = source(corpus, text).list_takes()
    assert [(entry.take_id, entry.detail.text) for entry in listing.entries] == [
        ("t", "first"),
        ("u", ""),
    ]
    ((take_id, error),) = listing.quarantined
    assert take_id == "t" and "row 4, column take_id: found 't' again, as in row 2" in str(error)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "an empty file"),
        ("take_id;path;text\nt;a.bvh;\n", "path, text is missing"),
        ("take_id,path\nt,a.bvh\n", "text is missing"),
        ("take_id,path,text,text\n", "columns twice: text"),
        ('take_id,path,text\nt,a.bvh,"open\n', "broken CSV"),
    ],
)
def test_a_broken_manifest_is_the_users_to_fix(corpus: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=r"manifest\.csv") as error:
        source(corpus, text).list_takes()
    assert message in str(error.value) and not isinstance(error.value, BadInput)


def test_manifests_of_spreadsheets() -> None:
    text = 'take_id , path,text\r\n\r\nt, ./mocap/a.bvh ,"two\nlines"\r\n'
    for data in (text.encode("utf-8-sig"), text.encode("utf-16")):
        (row,) = parse_manifest(data, "m").rows
        assert (row.take_id, row.path, row.text) == ("t", "mocap/a.bvh", "two\nlines")


def test_words_without_times_cannot_be_cut(corpus: Path) -> None:
    (corpus / "w.json").write_text('[{"word": "one"}, {"word": "two"}]')
    header = "take_id,path,text,start_s,textgrid\n"
    with_text = source(corpus, f"{header}t,mocap/a.bvh,two,3,w.json\n")
    assert takes_of(with_text)["t"].words == [Word("two")]
    without = source(corpus, f"{header}t,mocap/a.bvh,,3,w.json\n")
    with pytest.raises(BadInput, match="whose words have no times"):
        without.read_take(without.list_takes().entries[0])


def test_inspecting_a_file(corpus: Path) -> None:
    found = inspect_file(corpus / "mocap" / "a.bvh", "smplx")
    assert (found["frames"], found["fps"], found["joints"], found["up"]) == (361, 60, 55, "y")
    assert found["mapped"]["left_wrist"] == "left_wrist"
    assert "units cm (detected)" in describe(found)
    with pytest.raises(BadInput, match="joint for pelvis"):
        inspect_file(corpus / "mocap" / "a.bvh", "mixamo")
    with pytest.raises(UserError, match="no such file"):
        inspect_file(corpus / "b.bvh", "smplx")


@pytest.mark.s3
def test_a_corpus_in_object_storage(corpus: Path, s3: dict[str, str], monkeypatch) -> None:
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    local = source(corpus, "take_id,path,text,audio\nt,mocap/a.bvh,yes,a.wav\n")
    folder = Folder(f"s3://gestray/{corpus.parent.name}/bvh")
    folder.upload(corpus)
    remote = BvhSource(folder.uri, f"{folder.uri}/manifest.csv", local.skeleton)
    (here,), (there,) = takes_of(local).values(), takes_of(remote).values()
    assert here.to_table().equals(there.to_table())
    nowhere = BvhSource(folder.uri, f"{folder.uri}/none.csv", local.skeleton)
    with pytest.raises(UserError, match="no such file"):
        nowhere.list_takes()
