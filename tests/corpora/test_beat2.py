"""BEAT2 folders: what is missing, what is damaged, what merely looks odd.

`corpus` writes a small whole corpus; each case of the catalogue then spoils or
varies one file of it, and says what must come of it.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.lib import format as npy

from gestray.corpora.beat2 import list_takes, read_take
from gestray.corpora.splits import split_of
from gestray.corpora.take import SemanticLabel, Take
from gestray.errors import BadInput, UserError
from gestray.speech.words import Word

ID = "3_ada_0_1_1"
FRAMES = 60  # two seconds

MOTION = f"smplxflame_30/{ID}.npz"
AUDIO = f"wave16k/{ID}.wav"
GRID = f"textgrid/{ID}.TextGrid"
SEM = f"sem/{ID}.txt"
EMO = f"emo/{ID}.csv"
GOLD = f"gold/{ID}.json"

TEXTGRID = (
    'File type = "ooTextFile"\nObject class = "TextGrid"\n0 2.5 <exists> 1\n'
    '"IntervalTier" "words" 0 2.5 3\n0 0.5 ""\n0.5 1 "it"\n1 1.5 "grows"\n'
)
WORDS = [Word("it", 0.5, 1.0), Word("grows", 1.0, 1.5)]
SEMANTICS = "01_beat_align\t0\t0.5\t0.5\t0.1\t\n05_iconic_l\t0.5\t1.5\t1\t0.5\tgrows\n"
LABELS = [
    SemanticLabel("01_beat_align", 0, 0.5, 0.1),
    SemanticLabel("05_iconic_l", 0.5, 1.5, 0.5, "grows"),
]


def smooth(frames: int, fps: float = 30.0) -> dict[str, np.ndarray]:
    """Motion that can be sampled at any rate: each joint turns evenly about one axis."""
    seconds = np.arange(frames)[:, None] / fps
    return {
        "poses": (seconds * np.linspace(-0.4, 0.4, 165)).astype(np.float32),
        "trans": seconds * np.array([0.1, 0.0, -0.2]),
        "expressions": seconds * np.linspace(0, 1, 100),
        "betas": np.linspace(-1, 1, 300, dtype=np.float32),
        "mocap_frame_rate": np.array(fps),
        "model": np.array("smplx2020"),
        "gender": np.array("neutral"),
    }


def write_npz(path: Path, arrays: dict, **changes: object) -> None:
    """`arrays` with `changes`; None leaves one out."""
    arrays = {k: v for k, v in {**arrays, **changes}.items() if v is not None}
    with open(path, "wb") as file:
        np.savez(file, **arrays)


def write_wav(path: Path, seconds: float = 2.5, rate: int = 16_000, **options: object) -> None:
    sound = 0.3 * np.sin(np.arange(round(seconds * rate)) * 2 * np.pi * 200 / rate)
    if options.pop("stereo", False):
        sound = np.stack([sound, sound], axis=1)
    soundfile.write(path, sound, rate, **{"subtype": "PCM_16", **options})


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """One whole take, one listed and absent, in a corpus folder within `tmp_path`."""
    root = tmp_path / "corpus"
    for folder in ("smplxflame_30", "wave16k", "textgrid", "sem", "emo", "gold"):
        (root / folder).mkdir(parents=True)
    write_npz(root / MOTION, smooth(FRAMES))
    write_wav(root / AUDIO)
    (root / GRID).write_text(TEXTGRID)
    (root / SEM).write_text(SEMANTICS)
    (root / EMO).write_text("00_netural, 0, 2.0, 2.0, 0\n")
    (root / GOLD).write_text(json.dumps([gold_record()]))
    (root / "train_test_split.csv").write_text(f"id,type\n{ID},val\n3_ada_0_2_2,train\n")
    return root


def gold_record(**changes: object) -> dict:
    return {
        "start_s": 0.5,
        "end_s": 1.5,
        "form": {"handedness": "none"},
        "form_text": "Neither hand gestures.",
        "intent": "growth",
        "intent_text": "It grows.",
        **changes,
    }


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


@pytest.mark.parametrize("file", ATTRIBUTES)
def test_a_missing_part_is_null_and_the_rest_is_there(corpus: Path, file: str) -> None:
    (corpus / file).unlink()
    take = read_take(corpus, ID)
    for name in " ".join(ATTRIBUTES.values()).split():
        assert (getattr(take, name) is None) == (name in ATTRIBUTES[file].split()), name


# --- the catalogue --------------------------------------------------------

Spoil = Callable[[Path], object]


def motion(**changes: object) -> Spoil:
    return lambda root: write_npz(root / MOTION, smooth(FRAMES), **changes)


def audio(**options: object) -> Spoil:
    return lambda root: write_wav(root / AUDIO, **options)


def content(file: str, data: str | bytes) -> Spoil:
    data = data.encode() if isinstance(data, str) else data
    return lambda root: (root / file).write_bytes(data)


def cut(file: str, keep: float) -> Spoil:
    def spoil(root: Path) -> None:
        data = (root / file).read_bytes()
        (root / file).write_bytes(data[: int(len(data) * keep)])

    return spoil


def flip(file: str, at: float) -> Spoil:
    def spoil(root: Path) -> None:
        data = bytearray((root / file).read_bytes())
        data[int(len(data) * at)] ^= 0xFF
        (root / file).write_bytes(data)

    return spoil


def with_value(name: str, frame: int, value: float) -> Spoil:
    frames = smooth(FRAMES)[name].copy()
    frames[frame, 2] = value
    return motion(**{name: frames})


def header_of(shape: tuple, descr: str = "<f4") -> bytes:
    buffer = io.BytesIO()
    npy.write_array_header_1_0(buffer, {"shape": shape, "fortran_order": False, "descr": descr})
    return buffer.getvalue()


def member(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("poses.npy", data)
    return buffer.getvalue()


def link(file: str, target: str) -> Spoil:
    def spoil(root: Path) -> None:
        (root / file).rename(root.parent / "outside")
        (root / file).symlink_to(target)

    return spoil


def replace(file: str, make: Callable[[Path], object]) -> Spoil:
    def spoil(root: Path) -> None:
        (root / file).unlink()
        make(root / file)

    return spoil


def poses(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


def gold(**changes: object) -> str:
    return json.dumps([gold_record(), gold_record(**changes)])


DAMAGE: dict[str, tuple[Spoil, str, str]] = {
    # what is done: (how, file named, field named)
    "npz empty": (content(MOTION, b""), MOTION, "file"),
    "npz garbage": (content(MOTION, b"PK\x03\x04garbage"), MOTION, "file"),
    "npz cut short": (cut(MOTION, 0.5), MOTION, "file"),
    "npz cut in its directory": (cut(MOTION, 0.999), MOTION, "file"),
    "npz bit rot": (flip(MOTION, 0.1), MOTION, "poses"),
    "npz is a npy": (lambda r: np.save((r / MOTION).open("wb"), poses(9, 165)), MOTION, "file"),
    "npz is a pickle": (content(MOTION, pickle.dumps([1])), MOTION, "file"),
    "object array": (motion(trans=np.array([None] * 3)), MOTION, "trans"),
    "text for numbers": (motion(trans=np.array(["a"])), MOTION, "trans"),
    "header larger than data": (content(MOTION, member(header_of((9**9, 165)))), MOTION, "poses"),
    "member not npy": (content(MOTION, member(b"poses? no")), MOTION, "poses"),
    "no poses": (motion(poses=None), MOTION, "poses"),
    "no frames": (motion(poses=poses(0, 165)), MOTION, "poses"),
    "one frame": (motion(poses=poses(1, 165)), MOTION, "poses"),
    "SMPL-H width": (motion(poses=poses(FRAMES, 156)), MOTION, "poses"),
    "three axes": (motion(poses=poses(FRAMES, 55, 3)), MOTION, "poses"),
    "NaN in poses": (with_value("poses", 17, np.nan), MOTION, "poses"),
    "degrees for radians": (with_value("poses", 17, 90.0), MOTION, "poses"),
    "infinite trans": (with_value("trans", 4, np.inf), MOTION, "trans"),
    "trans beyond float32": (with_value("trans", 4, 1e300), MOTION, "trans"),
    "NaN in expressions": (with_value("expressions", 59, np.nan), MOTION, "expressions"),
    "trans shorter": (motion(trans=np.zeros((59, 3))), MOTION, "trans"),
    "expressions longer": (motion(expressions=np.zeros((61, 100))), MOTION, "expressions"),
    "betas per frame": (motion(betas=np.zeros((FRAMES, 300))), MOTION, "betas"),
    "NaN in betas": (motion(betas=np.full(300, np.nan)), MOTION, "betas"),
    "fps zero": (motion(mocap_frame_rate=0), MOTION, "mocap_frame_rate"),
    "fps negative": (motion(mocap_frame_rate=-30), MOTION, "mocap_frame_rate"),
    "fps NaN": (motion(mocap_frame_rate=np.nan), MOTION, "mocap_frame_rate"),
    "fps absurd": (motion(mocap_frame_rate=1e6), MOTION, "mocap_frame_rate"),
    "fps a list": (motion(mocap_frame_rate=[30, 30]), MOTION, "mocap_frame_rate"),
    "fps a word": (motion(mocap_frame_rate="thirty"), MOTION, "mocap_frame_rate"),
    "wav garbage": (content(AUDIO, os.urandom(1000)), AUDIO, "header"),
    "wav cut short": (cut(AUDIO, 0.9), AUDIO, "size"),
    "wav without samples": (audio(seconds=0), AUDIO, "samples"),
    "wav NaN": (
        lambda r: soundfile.write(r / AUDIO, np.full(40_000, np.nan), 16_000, subtype="FLOAT"),
        AUDIO,
        "samples",
    ),
    "wav far shorter than motion": (audio(seconds=1.7), AUDIO, "duration"),
    "TextGrid cut short": (content(GRID, TEXTGRID[:-20]), GRID, "tier words, interval 2"),
    "TextGrid binary": (content(GRID, b"ooBinaryFile\x08\xff"), GRID, "text encoding"),
    "TextGrid without words": (content(GRID, TEXTGRID.replace("words", "w")), GRID, "tiers"),
    "words overlap": (
        content(GRID, TEXTGRID.replace("1 1.5", "0.7 1.5")),
        GRID,
        "tier words, interval 3",
    ),
    "words of another take": (
        content(GRID, TEXTGRID.replace("1 1.5", "1 9.5")),
        GRID,
        "tier words",
    ),
    "sem bad score": (content(SEM, SEMANTICS.replace("0.5\tg", "high\tg")), SEM, "row 2, score"),
    "sem score above 1": (content(SEM, SEMANTICS.replace("0.5\tg", "5\tg")), SEM, "row 2, score"),
    "sem NaN": (content(SEM, SEMANTICS.replace("1.5\t1", "nan\t1")), SEM, "row 2, end"),
    "sem backwards": (content(SEM, SEMANTICS.replace("1.5\t1", "0.1\t1")), SEM, "row 2"),
    "sem short row": (content(SEM, SEMANTICS + "05_iconic_l\t1\n"), SEM, "row 3"),
    "sem not text": (content(SEM, b"\xff\xfe\x00"), SEM, "text encoding"),
    "emo empty": (content(EMO, "\n"), EMO, "emotion"),
    "emo bad time": (content(EMO, "00_netural, 0, long, 2, 0"), EMO, "row 1"),
    "gold not JSON": (content(GOLD, "[{"), GOLD, "gold"),
    "gold form": (content(GOLD, gold(form={"handedness": "left"})), GOLD, "1.form"),
    "gold time": (content(GOLD, gold(end_s=0.1)), GOLD, "1"),
    "gold unknown key": (content(GOLD, gold(mood="x")), GOLD, "1.mood"),
    "link out of the corpus": (link(AUDIO, "../../outside"), AUDIO, "location"),
    "link that leads nowhere": (link(SEM, "nothing.txt"), SEM, "location"),
    "link to itself": (link(EMO, f"{ID}.csv"), EMO, "location"),
    "folder for a file": (replace(GRID, Path.mkdir), GRID, "location"),
    "pipe for a file": (replace(AUDIO, os.mkfifo), AUDIO, "location"),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("case", DAMAGE)
def test_damage_names_file_and_field(corpus: Path, case: str) -> None:
    spoil, file, field = DAMAGE[case]
    spoil(corpus)
    assert list_takes(corpus).take_ids == (ID,)
    with pytest.raises(BadInput) as error:
        read_take(corpus, ID)
    assert (error.value.file, error.value.field) == (file, field)


def same_audio(take: Take) -> bool:
    return take.audio is not None and abs(len(take.audio) - 80_000) <= 2


HARMLESS: dict[str, tuple[Spoil, Callable[[Take], bool]]] = {
    "compressed npz": (
        lambda r: np.savez_compressed((r / MOTION).open("wb"), **smooth(FRAMES)),
        lambda t: t.num_frames == FRAMES,
    ),
    "float64 poses in Fortran order": (
        motion(poses=np.asfortranarray(smooth(FRAMES)["poses"], np.float64)),
        lambda t: t.poses is not None and np.array_equal(t.poses, smooth(FRAMES)["poses"]),
    ),
    "poses alone": (
        motion(trans=None, expressions=None, betas=None, mocap_frame_rate=None),
        lambda t: t.num_frames == FRAMES and t.trans is None and t.betas is None,
    ),
    "an object array that is not asked for": (
        motion(note=np.array([None])),
        lambda t: t.num_frames == FRAMES,
    ),
    "wav 8 bit stereo": (audio(subtype="PCM_U8", stereo=True), same_audio),
    "wav 44.1 kHz": (audio(rate=44_100), same_audio),
    "wav float": (audio(subtype="FLOAT"), same_audio),
    "wav much longer": (audio(seconds=30), lambda t: t.duration_s == 30),
    "wav a little shorter": (audio(seconds=1.81), lambda t: t.duration_s == 2.0),
    "TextGrid UTF-16": (content(GRID, TEXTGRID.encode("utf-16")), lambda t: t.words == WORDS),
    "TextGrid CRLF and BOM": (
        content(GRID, TEXTGRID.replace("\n", "\r\n").encode("utf-8-sig")),
        lambda t: t.words == WORDS,
    ),
    "TextGrid a second longer": (
        content(GRID, TEXTGRID.replace("1 1.5", "1 3.4")),
        lambda t: t.duration_s == 3.4,
    ),
    "TextGrid of silence": (
        content(GRID, TEXTGRID.replace('"it"', '"sp"').replace('"grows"', '""')),
        lambda t: t.words == [],
    ),
    "sem CRLF, BOM, spaces, blank lines": (
        content(SEM, SEMANTICS.replace("\t", " \t ").replace("\n", "\r\n\r\n").encode("utf-8-sig")),
        lambda t: t.semantics == LABELS,
    ),
    "sem without the keyword column": (
        content(SEM, "my own label\t0\t1\t1\t1"),
        lambda t: t.semantics == [SemanticLabel("my own label", 0, 1, 1.0)],
    ),
    "sem empty": (content(SEM, ""), lambda t: t.semantics == []),
    "emo of several rows": (
        content(EMO, "01_happiness, 0, 0.5, 0.5, 0\r\n03_sadness, 0.5, 2, 1.5, 0\r\n"),
        lambda t: t.emotion == "sadness",
    ),
    "link within the corpus": (
        lambda r: ((r / SEM).rename(r / "kept"), (r / SEM).symlink_to("../kept")),
        lambda t: t.semantics == LABELS,
    ),
}


@pytest.mark.parametrize("case", HARMLESS)
def test_what_is_merely_odd_is_read(corpus: Path, case: str) -> None:
    spoil, holds = HARMLESS[case]
    spoil(corpus)
    assert holds(read_take(corpus, ID))


class Payload:
    """Creates a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("disguise", ["bare", "object array", "in a zip"])
def test_a_pickle_is_never_executed(corpus: Path, tmp_path: Path, disguise: str) -> None:
    trap = tmp_path / "executed"
    payload = pickle.dumps(Payload(trap))
    if disguise == "bare":
        (corpus / MOTION).write_bytes(payload)
    elif disguise == "object array":
        write_npz(corpus / MOTION, smooth(FRAMES), poses=np.array([Payload(trap)]))
    else:
        (corpus / MOTION).write_bytes(member(payload))
    with pytest.raises(BadInput):
        read_take(corpus, ID)
    assert not trap.exists()
    pickle.loads(payload)
    assert trap.exists()  # the payload does work


@pytest.mark.parametrize("fps", [24, 25.0, 29.97, 60, 120])
def test_other_rates_are_resampled_on_the_rotations(corpus: Path, fps: float) -> None:
    frames = round(2 * fps)
    write_npz(corpus / MOTION, smooth(frames, fps))
    take = read_take(corpus, ID)
    assert take.num_frames == int((frames - 1) * 30 / fps + 1e-6) + 1
    expected = smooth(take.num_frames)
    for name in ("poses", "trans", "expressions"):
        np.testing.assert_allclose(getattr(take, name), expected[name], atol=1e-5)


def test_motion_of_a_day_is_refused(corpus: Path) -> None:
    write_npz(corpus / MOTION, {"poses": poses(21_601, 165), "mocap_frame_rate": np.array(1)})
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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"id,type\n{ID},val\nx,train\n\n{ID},train\n", "rows 2 and 5"),
        (f"id,type\n{ID},dev\n", "row 2: found '3_ada_0_1_1,dev'"),
        (f"id,type\n{ID}\n", "row 2"),
        (f"{ID},val\n", "header 'id,type'"),
        ("", "empty file"),
        ('id,type\n"x,train\n', "broken CSV"),
    ],
)
def test_a_damaged_split_file_is_the_users_to_fix(corpus: Path, text: str, message: str) -> None:
    (corpus / "train_test_split.csv").write_text(text)
    with pytest.raises(UserError, match=r"train_test_split\.csv") as error:
        list_takes(corpus)
    assert message in str(error.value)


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
    (parent / "beat_english_v2.0.0" / SEM).write_text("x\t0\t1")
    with pytest.raises(BadInput, match=f"^beat_english_v2.0.0/{SEM}: row 1"):
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
