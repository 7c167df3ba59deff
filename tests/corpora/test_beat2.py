"""BEAT2 folders: layouts, what is missing, frame rates, and one real recording.

What is damaged or odd is the subject of test_damage.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gestray.corpora.beat2 import list_takes, read_take
from gestray.corpora.splits import split_of
from gestray.errors import BadInput, UserError
from tests.corpora.recordings import (
    AUDIO,
    EMO,
    FRAMES,
    GOLD,
    GRID,
    ID,
    LABELS,
    MOTION,
    SEM,
    WORDS,
    Recording,
    smooth,
    write_npz,
    write_recording,
    write_wav,
)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """One whole take, one listed and absent, in a corpus folder within `tmp_path`."""
    root = tmp_path / "corpus"
    write_recording(root)
    (root / "train_test_split.csv").write_text(f"id,type\n{ID},val\n3_ada_0_2_2,train\n")
    return root


def test_a_whole_take(corpus: Path) -> None:
    take = read_take(corpus, ID)
    expected = smooth(FRAMES)
    assert (take.take_id, take.split, take.speaker_id, take.speaker) == (ID, "val", 3, "ada")
    assert take.language == "english"
    for name in ("poses", "trans", "expressions", "betas"):
        values = getattr(take, name)
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, expected[name].astype(np.float32))
    assert take.joint_mask is not None and take.joint_mask.all()
    assert take.audio is not None and len(take.audio) == 2 * 40_000
    assert take.words == WORDS
    assert take.semantics == LABELS
    assert take.emotion == "neutral"
    assert take.gold is not None and take.gold[0].form.handedness == "none"
    assert take.extra == {"model": "smplx2020", "gender": "neutral"}
    assert take.duration_s == 2.5
    assert read_take(corpus, ID, "time:0.8").split == "time:0.8"


ATTRIBUTES = {
    MOTION: "poses trans expressions betas joint_mask extra",
    AUDIO: "audio",
    GRID: "words",
    SEM: "semantics",
    EMO: "emotion",
    GOLD: "gold",
}


@pytest.mark.parametrize("part", ATTRIBUTES)
def test_a_missing_part_is_null_and_the_rest_is_there(corpus: Path, part: str) -> None:
    (Recording(corpus) / part).unlink()
    take = read_take(corpus, ID)
    for name in " ".join(ATTRIBUTES.values()).split():
        assert (getattr(take, name) is None) == (name in ATTRIBUTES[part].split()), name


# --- frame rates ----------------------------------------------------------


@pytest.mark.parametrize("fps", [24, 25.0, 29.97, 60, 120])
def test_other_rates_are_resampled_on_the_rotations(corpus: Path, fps: float) -> None:
    frames = round(2 * fps)
    write_npz(Recording(corpus) / MOTION, smooth(frames, fps))
    take = read_take(corpus, ID)
    assert take.num_frames == int((frames - 1) * 30 / fps + 1e-6) + 1
    expected = smooth(take.num_frames)
    for name in ("poses", "trans", "expressions"):
        np.testing.assert_allclose(getattr(take, name), expected[name], atol=1e-5)


def test_motion_of_a_day_is_refused(corpus: Path) -> None:
    write_npz(
        Recording(corpus) / MOTION,
        {"poses": np.zeros((21_601, 165)), "mocap_frame_rate": np.array(1)},
    )
    with pytest.raises(BadInput, match="21601 s"):
        read_take(corpus, ID)


# --- listing --------------------------------------------------------------


def test_listing_tells_absent_unlisted_and_unfit_ids_apart(corpus: Path) -> None:
    write_wav(corpus / "wave16k" / "9_new_0_1_1.wav")
    write_wav(corpus / "wave16k" / "bad id.wav")
    (corpus / "train_test_split.csv").write_bytes(
        f"\ufeffid,type\r\n {ID} , test \r\n\r\n3_ada_0_2_2,train\r\n"
        "../../outside,train\r\n/etc/passwd,train\r\na\0b,train\r\n".encode()
    )
    listing = list_takes(corpus)
    assert listing.take_ids == (ID, "9_new_0_1_1")
    assert listing.absent == ("3_ada_0_2_2",)
    assert listing.unlisted == ("9_new_0_1_1",)
    assert set(listing.quarantined) == {"../../outside", "/etc/passwd", "a\0b", "bad id"}
    assert all("take id" in str(reason) for reason in listing.quarantined.values())
    assert listing.splits == {ID: "test", "9_new_0_1_1": "additional"}
    for take_id, split in listing.splits.items():
        assert read_take(corpus, take_id).split == split == read_take(corpus, take_id, split).split


def test_unfit_ids_are_never_opened(corpus: Path) -> None:
    write_wav(corpus.parent / "outside.wav")
    for take_id in ("../../outside", "../outside", "bad id", "a\0b"):
        with pytest.raises(BadInput, match="take id"):
            read_take(corpus, take_id)
    with pytest.raises(BadInput, match="none in this corpus"):
        read_take(corpus, "3_ada_0_2_2")


def test_without_a_split_file_ids_are_hashed(corpus: Path) -> None:
    (corpus / "train_test_split.csv").unlink()
    listing = list_takes(corpus)
    assert listing.splits == {ID: split_of(ID)} and not listing.unlisted
    assert read_take(corpus, ID).split == split_of(ID)


def test_a_parent_of_language_folders(corpus: Path) -> None:
    parent = corpus.parent
    corpus.rename(parent / "beat_english_v2.0.0")
    other = parent / "beat_chinese_v2.0.0"
    (other / "wave16k").mkdir(parents=True)
    write_wav(other / "wave16k" / "12_zhao_2_1_1.wav")
    (parent / "notes").mkdir()
    listing = list_takes(parent)
    assert listing.take_ids == ("12_zhao_2_1_1", ID)
    assert listing.absent == ("3_ada_0_2_2",)
    assert read_take(parent, "12_zhao_2_1_1").language == "chinese"
    assert read_take(parent, ID).words == WORDS
    english = Recording(parent / "beat_english_v2.0.0")
    (english / SEM).write_text("x\t0\t1")
    with pytest.raises(BadInput, match=f"^beat_english_v2.0.0/{english.file(SEM)}: row 1"):
        read_take(parent, ID)
    write_wav(other / "wave16k" / f"{ID}.wav")
    with pytest.raises(UserError, match=r"beat_chinese_v2.0.0 and in beat_english_v2.0.0"):
        list_takes(parent)


@pytest.mark.parametrize(
    ("take_id", "speaker_id", "speaker", "language"),
    [
        ("2_scott_0_1_1", 2, "scott", "english"),
        ("1_wayne_1_2_2", 1, "wayne", "english"),
        ("12_zhao_3_1_2", 12, "zhao", "chinese"),
        ("22_luqi_4_1_1", 22, "luqi", "spanish"),
        ("25_goto_7_1_1", 25, "goto", "japanese"),
        ("my-recording", None, None, None),
    ],
)
def test_speaker_and_language_from_the_id(
    corpus: Path, take_id: str, speaker_id: int | None, speaker: str | None, language: str | None
) -> None:
    write_wav(corpus / "wave16k" / f"{take_id}.wav")
    take = read_take(corpus, take_id)
    assert (take.speaker_id, take.speaker, take.language) == (speaker_id, speaker, language)


def test_a_folder_that_is_no_corpus(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="smplxflame_30"):
        list_takes(tmp_path)
    with pytest.raises(UserError, match="no folder there"):
        list_takes(tmp_path / "nowhere")


# --- a real recording -----------------------------------------------------


@pytest.mark.parametrize("place", ["", "beat_english_v2.0.0"])
def test_a_real_recording(shared_dir: Path, place: str) -> None:
    root = shared_dir / "data" / "beat2" / place
    listing = list_takes(root)
    assert listing.take_ids == ("2_scott_0_1_1", "2_scott_0_2_2")
    assert len(listing.absent) == 116 and not listing.unlisted and not listing.quarantined
    whole, speech = (read_take(root, take_id) for take_id in listing.take_ids)
    assert whole.split == speech.split == "test"
    assert whole.poses is not None and whole.poses.shape == (1906, 165)
    assert whole.trans is not None and whole.expressions is not None and whole.betas is not None
    assert whole.duration_s == pytest.approx(64.0974, abs=1e-3)
    assert whole.words is not None and len(whole.words) == 199
    assert whole.semantics is not None and len(whole.semantics) == 21
    assert whole.emotion == "neutral" and whole.gold is None
    assert speech.poses is None and speech.semantics is None and speech.emotion is None
    assert speech.words and speech.audio and len(speech.audio) == 62 * 32_000
